"""The result files that the robust-detection benchmark published, as evaluations of our own format.

The files hold one entry for each corruption (15 of the benchmark and 4 held-out ones) and severity 0 to 5. Detectors on
COCO and Cityscapes have one row of COCO statistics for boxes and, if there are masks, one for masks; detectors on VOC
have one `ap` (at IoU 0.5) for each class, whose mean is the score. Severity 0 is the clean images, repeated under each
corruption. All numbers are fractions. The card says what the files do not say.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtx.corruptions import CORRUPTIONS
from rtx.errors import BadValue, some, unknown_name
from rtx.files import file_sha256, read_json
from rtx.metrics.robustness import Grid
from rtx.results.cell import Cell
from rtx.types import CLEAN, SEVERITIES, Condition

log = logging.getLogger(__name__)

COCO_ITEMS = {"AP": "mAP", "AP50": "mAP_50", "AP75": "mAP_75", "APs": "mAP_s", "APm": "mAP_m", "APl": "mAP_l"}
"""Name of a COCO statistic in the files -> its name after `bbox_` or `segm_` here."""
_FOLDERS = {"coco": "coco_val2017", "pascal_voc": "voc2007_test", "cityscapes": "cityscapes_val"}
_METHODS = (
    ("cascade_mask_rcnn", "Cascade Mask R-CNN"),
    ("cascade_rcnn", "Cascade R-CNN"),
    ("faster_rcnn", "Faster R-CNN"),
    ("mask_rcnn", "Mask R-CNN"),
    ("retinanet", "RetinaNet"),
    ("htc", "HTC"),
)
_BACKBONES = (
    ("x101_64x4d", "resnext101_64x4d"),
    ("x101_32x4d", "resnext101_32x4d"),
    ("r101", "resnet101"),
    ("r50", "resnet50"),
)
# The end of a file's name says what the detector was trained on; s stands for the stylised copy.
_TRAINING = {
    "coco": "COCO",
    "scoco": "stylised COCO",
    "cocoscoco": "COCO and stylised COCO",
    "city": "Cityscapes",
    "scity": "stylised Cityscapes",
    "cityscity": "Cityscapes and stylised Cityscapes",
    "voc0712": "VOC 07+12",
    "vocsvoc0712": "VOC 07+12 and stylised VOC",
}
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
MOST_PUBLISHED = 2**27
"""Bytes of a published result file; with scores by class some have tens of megabytes."""
UNDEFINED = -1.0
"""What pycocotools writes for a statistic that no object defines, e.g. the AP of small objects where there is none."""
UNKNOWN = (
    "number of images",
    "corruption seed",
    "version of the corruption library",
    "channel order (mmdet's reader gives BGR)",
    "precision",
    "weights hash",
    "library versions",
)


@dataclass(frozen=True)
class Imported:
    """One published detector.

    Attributes:
        name: the file's name without its ending.
        path: the file.
        headline: the metric that P and mPC are made of.
        cells: every condition of the file.
        card: what is known, and what is not.
    """

    name: str
    path: Path
    headline: str
    cells: Mapping[Condition, Cell]
    card: dict[str, Any]


def import_folder(root: Path) -> dict[str, Imported]:
    """Every detector below a folder, by the name of its output folder: test set and file.

    Other JSON files are named in the log and left out.

    Raises:
        BadValue: there is no result file, one is damaged, or two would be written to one folder.
    """
    paths = [root] if root.is_file() else sorted(root.rglob("*_results.json"))
    if not paths:
        raise BadValue(f"{str(root)!r} holds no *_results.json; give the folder of the published results")
    others = [] if root.is_file() else sorted(set(root.rglob("*.json")) - set(paths))
    if others:
        names = some((path.relative_to(root) for path in others), 8)
        log.info("left out, as their names do not end in _results.json: %s", names)
    folders: dict[str, Imported] = {}
    for one in map(import_file, paths):
        name = f"{one.card['labels']['data']}_{one.name.removesuffix('_results')}"
        if name in folders:
            raise BadValue(
                f"{folders[name].path} and {one.path} would both be written to {name!r}; "
                "rename one, or import their folders one by one, each with its own --out"
            )
        folders[name] = one
    return folders


def import_file(path: Path) -> Imported:
    """Read one result file.

    Raises:
        BadValue: it is none, or holds a score that is no fraction.
        UnknownName: it holds a corruption that is none of the benchmark's.
    """
    grids, by_class = read_result_file(path)
    headline = "bbox_mAP" if "bbox_mAP" in grids else next(iter(grids))
    for condition in grids[headline]:
        if condition != CLEAN and condition.corruption not in CORRUPTIONS:
            raise unknown_name(
                f"{path}: corruption", condition.corruption, place="rtx.corruptions", choices=CORRUPTIONS
            )
    for number, grid in enumerate(by_class):
        _check(path, f"AP of class {number}", grid, undefined=False)
    if len(by_class) == len(VOC_CLASSES):
        grids |= {f"AP50/{name}": grid for name, grid in zip(VOC_CLASSES, by_class, strict=True)}
    for metric, grid in grids.items():
        _check(path, metric, grid, undefined=True)
    card = _card(path, headline, named=len(by_class) == len(VOC_CLASSES))
    cells = {}
    for condition in grids[headline]:
        metrics = {name: math.nan if grid[condition] == UNDEFINED else grid[condition] for name, grid in grids.items()}
        cells[condition] = Cell(condition, metrics, 0, card)
    log.info("%s: %d cells, headline %s", path.name, len(cells), headline)
    return Imported(path.stem, path, headline, cells, card)


def read_result_file(path: Path) -> tuple[dict[str, Grid], list[Grid]]:
    """Read one result file, whichever of the two layouts it has.

    Returns:
        Metric name -> grid: `bbox_mAP`, `bbox_mAP_50` ... and `segm_mAP` ... for COCO statistics, `AP50` (the mean over
        classes) for VOC; and for VOC one grid of AP50 for each class, in the file's order.

    Raises:
        BadValue: the file is not in one of these layouts, or its copies of the clean row differ.
    """
    rows: dict[Condition, tuple[dict[str, float], list[float]]] = {}
    for condition, row in _read_rows(path).items():
        try:
            aps = [float(item["ap"]) for item in row] if isinstance(row, list) else []
            rows[condition] = _coco_statistics(row), aps
        except (KeyError, TypeError, ValueError) as error:
            raise BadValue(f"{path}: the row of {condition.key} has another layout ({error!r})") from error
    statistics, aps = rows[CLEAN]
    if not statistics and not aps:
        raise BadValue(f"{path}: holds no COCO statistic ({', '.join(COCO_ITEMS)}) and no list of class APs")
    for condition, (found, classes) in rows.items():
        if statistics.keys() - found.keys() or len(classes) != len(aps):
            raise BadValue(f"{path}: the row of {condition.key} has another layout than that of the clean images")
    if aps:
        mean = {condition: math.fsum(classes) / len(classes) for condition, (_, classes) in rows.items()}
        return {"AP50": mean}, [{c: classes[n] for c, (_, classes) in rows.items()} for n in range(len(aps))]
    return {name: {c: found[name] for c, (found, _) in rows.items()} for name in statistics}, []


def _coco_statistics(row: Any) -> dict[str, float]:
    return {
        f"{kind}_{name}": float(items[item])
        for kind, items in (row.items() if isinstance(row, Mapping) else ())
        if isinstance(items, Mapping)
        for item, name in COCO_ITEMS.items()
        if item in items
    }


def _read_rows(path: Path) -> dict[Condition, Any]:
    try:
        table = read_json(path, most=MOST_PUBLISHED)
        cells = [(name, int(level), row) for name, levels in table.items() for level, row in levels.items()]
    except (OSError, ValueError, AttributeError) as error:
        raise BadValue(f"{path}: not a result file of the robust-detection benchmark ({error})") from error
    rows: dict[Condition, Any] = {}
    for name, level, row in cells:
        if level in SEVERITIES:
            rows[Condition(name, level)] = row
        elif level == 0 and rows.setdefault(CLEAN, row) != row:
            raise BadValue(f"{path}: the clean row (severity 0) under {name!r} differs from the one before it")
    if CLEAN not in rows:
        raise BadValue(f"{path}: has no severity 0, so no clean score")
    return rows


def _check(path: Path, metric: str, grid: Mapping[Condition, float], *, undefined: bool) -> None:
    """Refuse scores that are no fractions; -1 may stand for a statistic, not for a class that is part of a mean."""
    wrong = [c for c, value in grid.items() if not (0 <= value <= 1 or (undefined and value == UNDEFINED))]
    if wrong:
        raise BadValue(
            f"{path}: {metric} of {wrong[0].key} is {grid[wrong[0]]:g} ({len(wrong)} cells like it); scores must be "
            f"fractions from 0 to 1{', or -1 where COCO defines none' if undefined else ''}: divide percent by 100"
        )


def _card(path: Path, headline: str, *, named: bool) -> dict[str, Any]:
    stem = path.stem.removesuffix("_results")
    kind = next((word for mark, word in _METHODS if stem.startswith(mark)), "unknown")
    arch = next((word for mark, word in _BACKBONES if mark in stem), "unknown")
    end = re.split(r"_fpn_\dx_?", stem)[-1]
    dataset = _FOLDERS.get(path.parent.name, f"unknown ({path.parent.name})")
    unknown = [*UNKNOWN, *(["names of the classes: taken in VOC's usual order"] if named else [])]
    return {
        "origin": "published result file of the robust-detection benchmark",
        "unknown": unknown,
        "corruption_engine": "imagecorruptions",
        "corruption_engine_version": "unknown",
        "channel_order": "unknown",
        "corruption_seed": "unknown",
        "corruption_at": "original_resolution",
        "image_key": "unknown",
        "limit": None,
        "n_images": None,
        "data_sha256": "unknown",
        "metric": {"scorer": "unknown", "ap": "AP at IoU 0.5" if headline == "AP50" else "COCO AP, IoU .50:.95"},
        "precision": "unknown",
        "weights_sha256": "unknown",
        "config_sha256": "unknown",
        "source": None,
        "transfer": None,
        "freeze_map": {"backbone": {"arch": arch + ("_dcn" if "dconv" in stem else "")}},
        "labels": {
            "name": _name(kind, arch, stem, end),
            "data": dataset,
            "method": kind,
            "training": _TRAINING.get(end, "as the folder's test set"),
            "file": path.name,
            "file_sha256": file_sha256(path),
        },
        "versions": {},
    }


def _name(kind: str, arch: str, stem: str, end: str) -> str:
    """What people call the detector, e.g. "Faster R-CNN X101-64 DCN"; what it was trained on where that is unusual."""
    short = {"resnet50": "R50", "resnet101": "R101", "resnext101_32x4d": "X101-32", "resnext101_64x4d": "X101-64"}
    parts = [kind, short.get(arch, arch), *(["DCN"] if "dconv" in stem else [])]
    if "stylised" in _TRAINING.get(end, ""):
        parts.append("+ stylised" if " and " in _TRAINING[end] else "stylised only")
    elif end == "coco":  # a second run of a detector that is there without this ending, too
        parts.append("(second file)")
    return " ".join(parts) if kind != "unknown" else stem
