"""Engines: which code makes the pixels, by a name that goes into every protocol card."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rtx.corruptions import reference
from rtx.types import Condition

Image = NDArray[np.uint8]
Engine = Callable[[Image, Condition, np.random.Generator], Image]


def own(image: Image, condition: Condition, rng: np.random.Generator, *, cifar10c: bool = False) -> Image:
    """Apply a kernel of rtx.

    Args:
        image: RGB uint8 (H, W, 3), both sides at least 32.
        condition: a corruption at severity 1 to 5.
        rng: where every random number comes from.
        cifar10c: the constants of CIFAR-10-C, tuned for 32 x 32 pixels, in place of ImageNet-C's.
    """
    # Imported here: numba costs half a second that `import rtx.corruptions` should not.
    from rtx.corruptions.kernels import KERNELS

    kernel = KERNELS[condition.corruption]
    return kernel(np.ascontiguousarray(image), condition.severity, rng, cifar10c=cifar10c)


def own_cifar10c(image: Image, condition: Condition, rng: np.random.Generator) -> Image:
    """Apply a kernel of rtx with the constants of CIFAR-10-C."""
    return own(image, condition, rng, cifar10c=True)


ENGINES: dict[str, Engine] = {"rtx": own, "rtx-cifar10c": own_cifar10c, "imagecorruptions": reference.apply}
