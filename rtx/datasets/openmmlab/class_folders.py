"""Labelled images in class folders: `ROOT/<class>/**/<image>`, with the classes in an order that a model decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from rtx.datasets.class_folders import check_stems, class_folders, labelled_images


@DATASETS.register_module()
class ClassFolders(BaseDataset):
    """Class folders whose labels follow a given list of classes, which may hold more than the folder does.

    Args:
        data_root: holds one folder for each class.
        metainfo: `classes`, the folder names in the model's order; the folders sorted by name when it is left out.
        options: those of mmengine's `BaseDataset`.

    Raises:
        DataError: there is no class folder, a folder is named after no class, there is no image, or two of one name.
    """

    def __init__(self, data_root: str, metainfo: dict[str, Any] | None = None, **options: Any) -> None:
        classes = tuple((metainfo or {}).get("classes") or class_folders(Path(data_root)))
        options = {"test_mode": True, "data_prefix": {}, **options}
        super().__init__(data_root=data_root, metainfo={**(metainfo or {}), "classes": classes}, **options)

    @property
    def img_prefix(self) -> str:
        """Where names of images start."""
        return str(self.data_root)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry for each image, by class and name."""
        rows = labelled_images(Path(self.data_root), list(self.metainfo["classes"]))
        check_stems(path for path, _ in rows)
        return [{"img_path": str(path), "gt_label": label} for path, label in rows]
