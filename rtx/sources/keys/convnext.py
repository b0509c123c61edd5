"""ConvNeXt's key names in OpenMMLab, as those of the original repository, which timm reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_NAMES = (("depthwise_conv.", "dwconv."), ("pointwise_conv1.", "pwconv1."), ("pointwise_conv2.", "pwconv2."))


def to_original(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The original names; keys of others are unchanged.

    OpenMMLab, and the segmenters of PIR-AT, norm each output; the last of these norms takes the place of the published
    final one, the others no classifier has.
    """
    if "norm0.weight" not in state and "stages.0.0.depthwise_conv.weight" not in state:
        return dict(state)
    found = {}
    for key, value in state.items():
        for theirs, original in _NAMES:
            key = key.replace(theirs, original, 1)
        if key.startswith("norm3."):
            key = key.replace("norm3.", "norm.", 1)
        if not key.startswith(("norm0.", "norm1.", "norm2.")):
            found[key] = value
    return found
