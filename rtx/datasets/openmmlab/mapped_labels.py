"""A segmentation data set whose label maps are numbered in their own way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset


@DATASETS.register_module()
class MappedSegDataset(BaseSegDataset):
    """`BaseSegDataset` with an explicit table from the numbers in the label maps to class indices.

    mmseg has such a table only for subsets of a data set class's own names. With it, void is 255 everywhere behind the
    loader, whatever its number on disk.

    Args:
        label_map: pairs (number in the label maps, class index or 255); numbers that are not listed stay.
        **kwargs: of `BaseSegDataset`; `metainfo` must have the classes.
    """

    def __init__(self, *, label_map: Sequence[Sequence[int]], **kwargs: Any) -> None:
        self._given = {int(old): int(new) for old, new in label_map}
        super().__init__(**kwargs)

    def get_label_map(self, new_classes: Sequence[str] | None = None) -> dict[int, int]:
        """Return the given table; called by the base class."""
        return self._given
