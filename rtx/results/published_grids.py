"""Read the result files that the robust-detection benchmark published, and aggregate them again.

The files hold one entry for each corruption (15 of the benchmark and 4 held-out ones) and severity 0 to 5. Detectors on
COCO and Cityscapes have one row of COCO statistics for boxes and, if there are masks, one for masks; detectors on VOC
have one `ap` (at IoU 0.5) for each class, whose mean is the score. Severity 0 is the clean images, repeated under each
corruption. All numbers are fractions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rtx.errors import BadValue
from rtx.metrics.robustness import Grid, Summary, summarise
from rtx.types import CLEAN, SEVERITIES, Condition

COCO_ITEMS = {"AP": "mAP", "AP50": "mAP_50", "AP75": "mAP_75", "APs": "mAP_s", "APm": "mAP_m", "APl": "mAP_l"}
"""Name of a COCO statistic in the files -> its name after `bbox_` or `segm_` here."""

Row = Mapping[str, Any] | list[Any]


def read_result_file(path: Path) -> dict[str, Grid]:
    """Read one result file, whichever of the two layouts it has.

    Returns:
        Metric name -> grid: `bbox_mAP`, `bbox_mAP_50` ... and `segm_mAP` ... for COCO statistics, `AP50` (the mean over
        classes) for VOC.

    Raises:
        BadValue: the file is not in one of these layouts, or its copies of the clean row differ.
    """
    rows = _read_rows(path)
    first = rows[CLEAN]
    if not isinstance(first, Mapping | list):
        first = {}
    if isinstance(first, list):
        return {"AP50": _grid(rows, lambda row: math.fsum(_class_aps(row)) / len(row), path)}

    def item_of(kind: str, item: str) -> Callable[[Any], Any]:
        return lambda row: row[kind][item]

    kinds = {kind: items for kind, items in first.items() if isinstance(items, Mapping)}
    readers = {
        f"{kind}_{name}": (kind, item) for kind in kinds for item, name in COCO_ITEMS.items() if item in kinds[kind]
    }
    if not readers:
        raise BadValue(f"{path}: holds no COCO statistic ({', '.join(COCO_ITEMS)}) and no list of class APs")
    return {metric: _grid(rows, item_of(kind, item), path) for metric, (kind, item) in readers.items()}


def read_class_grids(path: Path) -> list[Grid]:
    """One grid of AP50 for each class of a VOC result file, in the file's order.

    Raises:
        BadValue: the file has no row for each class.
    """
    rows = _read_rows(path)
    if not isinstance(rows[CLEAN], list):
        raise BadValue(f"{path}: is not a VOC result file, it has no list of class APs")

    def class_ap(index: int) -> Callable[[Any], float]:
        return lambda row: _class_aps(row)[index]

    return [_grid(rows, class_ap(i), path) for i in range(len(rows[CLEAN]))]


def recompute(path: Path) -> dict[str, Summary]:
    """P, mPC, rPC and drops of every metric in a result file, over the 15 benchmark corruptions.

    Raises:
        BadValue: as `read_result_file`.
    """
    return {metric: summarise(grid) for metric, grid in read_result_file(path).items()}


def _read_rows(path: Path) -> dict[Condition, Row]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        cells = [(name, int(level), row) for name, levels in table.items() for level, row in levels.items()]
    except (OSError, ValueError, AttributeError) as error:
        raise BadValue(f"{path}: not a result file of the robust-detection benchmark ({error})") from error
    rows: dict[Condition, Row] = {}
    for name, level, row in cells:
        if level in SEVERITIES:
            rows[Condition(name, level)] = row
        elif level == 0 and rows.setdefault(CLEAN, row) != row:
            raise BadValue(f"{path}: the clean row (severity 0) under {name!r} differs from the one before it")
    if CLEAN not in rows:
        raise BadValue(f"{path}: has no severity 0, so no clean score")
    return rows


def _class_aps(row: Any) -> list[float]:
    return [float(item["ap"]) for item in row]


def _grid(rows: Mapping[Condition, Row], value: Callable[[Any], float], path: Path) -> Grid:
    grid = {}
    for condition, row in rows.items():
        try:
            grid[condition] = float(value(row))
        except (KeyError, IndexError, TypeError, ZeroDivisionError) as error:
            raise BadValue(f"{path}: the row of {condition.key} has another layout ({error!r})") from error
    return grid
