"""A classification target as an mmpretrain data set: what `rtx.datasets.target_data` reads, or a small part of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, TRANSFORMS

from rtx.datasets.label_subset import choose
from rtx.datasets.layout import Layout
from rtx.datasets.openmmlab.image_loader import LoadImageChecked
from rtx.datasets.openmmlab.nodes import ConfigLayout, Findings, fit_heads, split_data_sets
from rtx.datasets.target_data import TargetData, open_target
from rtx.errors import DataError, some

_READING = ("subset", "caltech_split", "split_seed")


@DATASETS.register_module()
class TargetDataset(BaseDataset):
    """One split of a target, or so many images of it.

    Args:
        target: a row of `rtx.datasets.classification`.
        data_root: the data folder.
        split: "train" or "test".
        subset, caltech_split, split_seed: see `rtx.datasets.target_data.open_target`.
        images: how many images, None for all; see `rtx.datasets.label_subset.choose`.
        images_seed, images_rule: decide which.
        classes_sha256: `classes_hash` of the classes that the folder must have, where they are known. Their names in a
            config would cost seconds at each start: mmengine formats it several times.
        options: those of mmengine's `BaseDataset` (pipeline, metainfo, test_mode, ...).

    Raises:
        DataError: the folder has other classes; or see `open_target`.
        BadValue, UnknownName: see `open_target` and `choose`.
    """

    def __init__(
        self,
        *,
        target: str,
        data_root: str,
        split: str,
        subset: bool = False,
        caltech_split: str = "first",
        split_seed: int = 0,
        images: int | None = None,
        images_seed: int = 0,
        images_rule: str = "stratified",
        classes_sha256: str | None = None,
        metainfo: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.data = open_target(
            target, Path(data_root), split, subset=subset, caltech_split=caltech_split, split_seed=split_seed
        )
        _check_classes(self.data, classes_sha256)
        everything = np.arange(len(self.data))
        self.chosen = everything if images is None else choose(self.data.labels, images, images_seed, images_rule)
        options = {"test_mode": split == "test", "data_prefix": {}, **options}
        super().__init__(
            data_root=data_root,
            metainfo={**(metainfo or {}), "classes": self.data.classes},
            **options,
        )

    @property
    def img_prefix(self) -> str:
        """Where names of images start."""
        return str(self.data_root)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry for each image, in the order chosen."""
        data = self.data
        return [
            {"img_path": str(data.path(n)), "gt_label": int(data.labels[n]), "target_index": n}
            for n in self.chosen.tolist()
        ]

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """The entry of an image; that of an archive also holds its pixels, RGB uint8 (h, w, 3), and their size."""
        info: dict[str, Any] = super().get_data_info(idx)
        if self.data.archive is not None:
            image = self.data.image(info["target_index"])
            info.update(img=image, height=image.shape[0], width=image.shape[1])
        return info


@TRANSFORMS.register_module()
class LoadTargetImage(LoadImageChecked):
    """`LoadImageChecked` for files; for an image out of an archive, its pixels in mmcv's order of channels."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Put the image into `results["img"]`, uint8 (H, W, 3) BGR."""
        if "img" not in results:
            return super().transform(results)
        image = np.ascontiguousarray(results["img"][..., ::-1])
        results.update(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        return results


def opened(node: Any, root: Path | None = None) -> TargetData:
    """The split that a `TargetDataset` config names, in another folder where one is given."""
    options = {name: node[name] for name in _READING if name in node}
    return open_target(node["target"], root or Path(node["data_root"]), node["split"], **options)


def classes_hash(classes: Sequence[str]) -> str:
    """Hex digits that stand for names of classes and their order."""
    return hashlib.sha256(json.dumps(list(classes)).encode()).hexdigest()[:16]


def _check_classes(data: TargetData, known: str | None) -> None:
    if known is not None and classes_hash(data.classes) != known:
        raise DataError(
            f"{data.root}: holds {len(data.classes)} classes ({some(data.classes)}), which are not those that the "
            "config was made for; give the same --data-root as in training"
        )


def _adapt(cfg: Config, root: Path) -> list[str]:
    """Point the data sets of a config at another folder with the same target; heads follow its classes."""
    classes: Sequence[str] = ()
    for node in [*split_data_sets(cfg, "train"), *split_data_sets(cfg, "val")]:
        data = opened(node, root)
        _check_classes(data, node.get("classes_sha256"))
        classes, node["data_root"] = data.classes, str(root)
    if cfg.get("data_preprocessor"):
        cfg.data_preprocessor.num_classes = len(classes)
    if cfg.model.get("head"):
        cfg.model.head.num_classes = len(classes)
    return [f"{len(classes)} classes", *fit_heads(cfg, len(classes))]


def _check(node: Any, split: str, found: Findings) -> None:
    """Look for damaged image files among those that are used; archives were read whole."""
    data = opened(node)
    chosen = range(len(data))
    if node.get("images") is not None:
        rule = node.get("images_rule", "stratified")
        chosen = choose(data.labels, node["images"], node.get("images_seed", 0), rule).tolist()
    found.any_size = True
    if data.archive is None:
        found.images = [data.path(n) for n in chosen]
    else:
        found.in_archives = len(chosen)


ROW = ConfigLayout(
    Layout("target", "a classification target", lambda root: False, lambda root, split: None),
    types=(TargetDataset.__name__,),
    task="classification",
    adapt=_adapt,
    check=_check,
    wanted="the target's published folder (rtx targets list)",
)
