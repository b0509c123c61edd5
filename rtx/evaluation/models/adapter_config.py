"""`evaluate`: P, mPC and rPC of an adapted function or module on a data folder, without a config file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from rtx.datasets.class_folders import class_folders
from rtx.datasets.openmmlab.class_folders import ClassFolders
from rtx.datasets.openmmlab.image_loader import with_checked_images
from rtx.datasets.openmmlab.with_data import layout_of, with_data
from rtx.errors import BadValue
from rtx.evaluation.evaluate import evaluate_corruptions
from rtx.evaluation.models.adapters import Adapter, Classifier, Detector, Segmenter, place_of
from rtx.metrics.coco_truth import category_ids, read_truth

_KEYS = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")


def evaluate(
    adapter: Adapter,
    data: str | Path,
    out: str | Path,
    *,
    annotations: str | Path | None = None,
    classes: Sequence[str] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Score an adapted model on clean and corrupted images.

    Args:
        adapter: a `Detector`, `Segmenter` or `Classifier`.
        data: a folder in the layout of COCO or VOC (detectors), of ADE20K (segmenters), or of class folders
            (classifiers); with `annotations`, the folder of the images.
        out: the output folder; what it holds under the same protocol is not computed again.
        annotations: a COCO annotation file, where the data have no layout that is known.
        classes: names of the classes that count, for COCO and VOC; all of the data's when None.
        options: `corruptions`, `severities`, `limit`, `batch_size`, `workers`, `keep_predictions` ..., see
            `rtx.evaluation.evaluate.plan_evaluation`.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        RtxError: data or predictions that do not fit; the message names place and remedy.
    """
    cfg = config_for(adapter, data, annotations=annotations, classes=classes)
    given: dict[str, Any] = {"labels": {"run": adapter.name, "method": adapter.name}, **options}
    return evaluate_corruptions(cfg, adapter, Path(out), **given)


def config_for(
    adapter: Adapter, data: str | Path, *, annotations: str | Path | None = None, classes: Sequence[str] | None = None
) -> Config:
    """The config of such an evaluation; the adapter is told which classes the data have.

    Raises:
        BadValue: the layout of the folder is not one that this kind of adapter is scored on.
        DataError: the data cannot be used as they are.
    """
    root = place_of(data)
    layout = "coco" if annotations else layout_of(root)
    makers = {
        (Detector, "coco"): _coco,
        (Detector, "voc"): _voc,
        (Segmenter, "ade"): _ade,
        (Classifier, None): _classes,
    }
    make = next((m for (kind, name), m in makers.items() if isinstance(adapter, kind) and name == layout), None)
    if make is None:
        known = [name or "class folders" for (kind, name) in makers if isinstance(adapter, kind)]
        raise BadValue(
            f"data folder {str(data)!r} has the layout of {layout or 'class folders'}; a {type(adapter).__name__} is "
            f"scored on {' or '.join(known)}" + ("" if layout else ", or give annotations=FILE")
        )
    if classes is not None and layout not in ("coco", "voc"):
        raise BadValue(f"classes={list(classes)}: the classes that count can be chosen for COCO and VOC only")
    cfg, names = make(adapter, root, None if annotations is None else Path(annotations), classes)
    adapter.bind(names)
    return with_checked_images(cfg)


def _config(adapter: Adapter, dataset: dict[str, Any], evaluator: dict[str, Any]) -> Config:
    loader = dict(dataset=dataset)
    return Config(
        dict(
            default_scope=adapter.scope,
            model=adapter.identity(),
            test_dataloader=loader,
            test_evaluator=evaluator,
        )
    )


def _detection(packing: str = "PackDetInputs") -> list[dict[str, Any]]:
    return [dict(type="LoadImageFromFile"), dict(type=packing, meta_keys=_KEYS)]


def _coco(
    adapter: Any, root: Path, annotations: Path | None, classes: Sequence[str] | None
) -> tuple[Config, Sequence[str]]:
    evaluator = dict(type="CocoMetric", metric=["bbox", "segm"] if adapter.masks else "bbox", ann_file="")
    dataset: dict[str, Any] = dict(type="CocoDataset", ann_file="", test_mode=True, pipeline=_detection())
    cfg = _config(adapter, dataset, evaluator)
    if annotations is None:
        cfg = with_data(cfg, root)
    else:
        where = dict(data_root="", ann_file=str(annotations.absolute()), data_prefix=dict(img=str(root.absolute())))
        cfg.test_dataloader.dataset.update(where)
        cfg.test_evaluator.ann_file = str(annotations.absolute())
    truth = read_truth(Path(cfg.test_evaluator.ann_file), quiet=True)
    order = {name: n for n, name in enumerate(truth.categories.values())}
    wanted = sorted(classes or order, key=lambda name: order.get(name, len(order)))
    names = [truth.categories[i] for i in category_ids(truth, wanted)]  # labels count through the annotation file
    cfg.test_dataloader.dataset.metainfo = dict(classes=names)
    return cfg, names


def _voc(
    adapter: Any, root: Path, annotations: Path | None, classes: Sequence[str] | None
) -> tuple[Config, Sequence[str]]:
    dataset = dict(type="VOCDataset", ann_file="", test_mode=True, pipeline=_detection())
    cfg = with_data(_config(adapter, dataset, dict(type="VOCMetric", metric="mAP", eval_mode="11points")), root)
    names = _names(cfg)
    if classes is None:
        return cfg, names
    absent = [name for name in classes if name not in names]
    if absent:
        raise BadValue(f"classes: {absent[0]!r} is none of the data's ({', '.join(names)})")
    names = [name for name in names if name in classes]
    cfg.test_dataloader.dataset.metainfo = dict(classes=names)
    return cfg, names


def _ade(
    adapter: Any, root: Path, annotations: Path | None, classes: Sequence[str] | None
) -> tuple[Config, Sequence[str]]:
    steps = [
        dict(type="LoadImageFromFile"),
        dict(type="LoadAnnotations", reduce_zero_label=True),
        dict(type="PackSegInputs"),
    ]
    dataset = dict(type="ADE20KDataset", test_mode=True, pipeline=steps)
    cfg = with_data(_config(adapter, dataset, dict(type="IoUMetric", iou_metrics=["mIoU"])), root)
    return cfg, _names(cfg)


def _classes(
    adapter: Any, root: Path, annotations: Path | None, classes: Sequence[str] | None
) -> tuple[Config, Sequence[str]]:
    class_folders(root)
    steps = [
        dict(type="LoadImageFromFile"),
        *([dict(type="ResizeEdge", scale=adapter.resize, edge="short")] if adapter.resize else []),
        *([dict(type="CenterCrop", crop_size=adapter.crop)] if adapter.crop else []),
        dict(type="PackInputs"),
    ]
    dataset = dict(
        type=ClassFolders.__name__, data_root=str(root), metainfo=dict(classes=adapter.classes), pipeline=steps
    )
    topk = (1, 5) if len(adapter.classes) >= 5 else (1,)
    return _config(adapter, dataset, dict(type="Accuracy", topk=topk, thrs=None)), adapter.classes


def _names(cfg: Config) -> Sequence[str]:
    """The classes that the test set has once it is built."""
    init_default_scope(cfg.default_scope)
    dataset = DATASETS.build({**cfg.test_dataloader.dataset, "lazy_init": True, "pipeline": []})
    return list(dataset.metainfo["classes"])
