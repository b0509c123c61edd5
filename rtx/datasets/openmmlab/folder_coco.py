"""mmdet's COCO data set and metric for folders that have no COCO file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric
from mmengine.registry import DATASETS, METRICS

from rtx.datasets.annotated import Annotated, read_annotated


class FolderCocoDataset(CocoDataset):
    """`CocoDataset` whose annotations are those of a split of `data_root`, see `rtx.datasets.annotated`.

    Args:
        split: which one.
        **kwargs: of `CocoDataset`, without `ann_file`.
    """

    layout: ClassVar[str]
    ann_file: str

    def __init__(self, *, split: str, **kwargs: Any) -> None:
        self.split = split
        super().__init__(**{**kwargs, "ann_file": ""})

    @property
    def annotated(self) -> Annotated:
        """What the folder says."""
        return read_annotated(Path(self.data_root), self.layout, self.split)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry for each image."""
        with self.annotated.as_file() as self.ann_file:
            rows: list[dict[str, Any]] = super().load_data_list()
        self.ann_file = ""
        return rows


@DATASETS.register_module()
class YoloDataset(FolderCocoDataset):
    """YOLO's layout."""

    layout = "yolo"


@DATASETS.register_module()
class CityscapesInstances(FolderCocoDataset):
    """Cityscapes' layout, its 8 classes with instances."""

    layout = "cityscapes"


@METRICS.register_module()
class FolderCocoMetric(CocoMetric):
    """`CocoMetric` against a split of a folder.

    Args:
        layout: key of `rtx.datasets.annotated.READERS`.
        data_root: the folder.
        split: which one.
        **kwargs: of `CocoMetric`, without `ann_file`.
    """

    def __init__(self, *, layout: str, data_root: str, split: str, **kwargs: Any) -> None:
        with read_annotated(Path(data_root), layout, split).as_file() as path:
            super().__init__(ann_file=path, **kwargs)
