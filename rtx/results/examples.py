"""Example images for a report: a few images of the test set with truth and predictions of every cell.

Written beside the cells when an evaluation keeps its predictions. The images are the same for every model on the same
data, since a report lays models side by side; corrupted pixels are not kept, because the original, the condition and
the seed on the protocol card give them again. The format is read by `rtx.reports.strips.examples`.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtx.files import write_atomic, write_whole
from rtx.metrics.coco import Detections
from rtx.results.predictions import encode_map, read_detections, read_map, read_maps
from rtx.results.subset import stratified
from rtx.types import Condition

log = logging.getLogger(__name__)

FORMAT = "rtx.examples/1"
POOL = 16
"""How many images are kept: enough for a median and a worst one, few enough to read twenty models in seconds."""
POOL_BYTES = 24_000_000
"""Of originals: image files are copied as they are, and some test sets hold large ones."""
SHOWN = 0.3
"""Predictions below this score are not drawn, so they are not kept either."""
IGNORED = 255

Labels = NDArray[np.uint8]


def write_examples(
    out: Path,
    dataset: Any,
    indices: Sequence[int],
    conditions: Sequence[Condition],
    *,
    key: str | None = None,
    names: Sequence[str] = (),
) -> Path | None:
    """Write `examples/` from the predictions in an output folder.

    Args:
        out: the folder, with `predictions/` in it.
        dataset: the built test set.
        indices: the images that were evaluated.
        conditions: the cells; those without predictions are left out.
        key: of the protocol that made the predictions; a reader takes no pictures of another one.
        names: what the labels are called; the data set's classes when empty.

    Returns:
        The index file; None where there is nothing to draw: no predictions, no classes, or a classifier's.
    """
    files = {c: path for c in conditions for path in (out / "predictions").glob(f"{c.key}.*")}
    classes = [str(name) for name in names or (getattr(dataset, "metainfo", None) or {}).get("classes") or ()]
    maps = all(path.suffix == ".zip" for path in files.values())
    if not files or not classes or not (maps or all(path.suffix == ".npz" for path in files.values())):
        return None
    infos = pool(dataset, indices)
    if not infos or any("gt_label" in info for info in infos):
        return None
    root = out / "examples"
    shutil.rmtree(root, ignore_errors=True)
    rows = [_row(root, number, info, maps=maps) for number, info in enumerate(infos)]
    keys = [Path(info["img_path"]).stem if maps else str(info["img_id"]) for info in infos]
    for condition, path in files.items():
        found = _maps(root, condition, path, keys) if maps else _boxes(path, keys)
        for name, row in zip(keys, rows, strict=True):
            if name in found:
                row["conditions"][condition.key] = found[name]
    task = "segmentation" if maps else "detection"
    table = {"format": FORMAT, "key": key, "task": task, "classes": classes, "evaluated": len(indices), "images": rows}
    write_atomic(root / "index.json", json.dumps(table, separators=(",", ":")) + "\n")
    log.info("examples: %d of %d images with %d cells in %s", len(rows), len(indices), len(files), root)
    return root / "index.json"


def pool(
    dataset: Any, indices: Sequence[int], most: int = POOL, most_bytes: int = POOL_BYTES
) -> list[Mapping[str, Any]]:
    """The images that are kept, as the data set describes them; the data alone decide, not the model."""
    infos = [dataset.get_data_info(n) for n in indices]
    infos = [info for info in infos if Path(str(info.get("img_path", ""))).is_file()]
    held = [
        {int(row["bbox_label"]) for row in info.get("instances", ()) if not row.get("ignore_flag")} for info in infos
    ]
    # Nothing can be hit or missed in an image without objects.
    kept = [n for n, classes in enumerate(held) if classes] or list(range(len(infos)))
    infos, held = [infos[n] for n in kept], [held[n] for n in kept]
    chosen = stratified([Path(info["img_path"]).stem for info in infos], held, most, 0)
    found: list[Mapping[str, Any]] = []
    total = 0
    for n in chosen:
        total += Path(infos[n]["img_path"]).stat().st_size
        if found and total > most_bytes:
            break
        found.append(infos[n])
    return found


def _row(root: Path, number: int, info: Mapping[str, Any], *, maps: bool) -> dict[str, Any]:
    """One image: its original, its size and its truth."""
    path = Path(info["img_path"])
    name = f"{number:02d}{path.suffix.lower()}"
    write_whole(root / name, path.read_bytes())
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)  # turned as its EXIF data say, like the evaluated one
    height, width = image.shape[:2] if image is not None else (info.get("height", 1), info.get("width", 1))
    row: dict[str, Any] = {"id": path.stem, "original": name, "width": int(width), "height": int(height)}
    if maps:
        row["truth_map"] = f"{number:02d}_truth.png"
        write_whole(root / row["truth_map"], encode_map(truth_map(info).astype(np.int64)))
    else:
        boxes = info.get("instances", ())
        row["truth"] = [_truth(box, (int(height), int(width))) for box in boxes if not box.get("ignore_flag")]
        crowds = [{"bbox": _rounded(b["bbox"]), "label": int(b["bbox_label"])} for b in boxes if b.get("ignore_flag")]
        if crowds:
            row["ignored"] = crowds
    return {**row, "conditions": {}}


def truth_map(info: Mapping[str, Any]) -> Labels:
    """The label map of an image as a loader of the data set gives it: class indices, 255 where nothing counts."""
    labels = read_map(Path(info["seg_map_path"]), str(info["seg_map_path"]))
    for old, new in (info.get("label_map") or {}).items():
        labels[labels == old] = new
    if info.get("reduce_zero_label"):
        labels = np.where(labels == 0, IGNORED, labels - 1)
        labels[labels == IGNORED - 1] = IGNORED
    return np.clip(labels, 0, IGNORED).astype(np.uint8)


def _truth(row: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    box: dict[str, Any] = {"bbox": _rounded(row["bbox"]), "label": int(row["bbox_label"])}
    mask = row.get("mask")
    if isinstance(mask, list):
        box["polygons"] = [_rounded(ring) for ring in mask if len(ring) >= 6]
    elif isinstance(mask, Mapping):
        box["polygons"] = outlines(mask, size)
    return box


def _boxes(path: Path, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    found, _ = read_detections(path)
    wanted = set(keys)
    return {str(d.image_id): {"predictions": _predictions(d)} for d in found if str(d.image_id) in wanted}


def _predictions(found: Detections) -> list[dict[str, Any]]:
    rows = []
    for n in np.flatnonzero(found.scores >= SHOWN).tolist():
        row: dict[str, Any] = {
            "bbox": _rounded(found.boxes[n]),
            "label": int(found.labels[n]),
            "score": round(float(found.scores[n]), 3),
        }
        if found.masks is not None:
            row["polygons"] = outlines(found.masks[n], tuple(found.masks[n]["size"]))
        rows.append(row)
    return rows


def _maps(root: Path, condition: Condition, path: Path, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    wanted = {key: n for n, key in enumerate(keys)}
    rows = {}
    for name, labels in read_maps(path):
        if name in wanted:
            file = f"{wanted[name]:02d}_{condition.key}.png"
            write_whole(root / file, encode_map(np.clip(labels, 0, IGNORED)))
            rows[name] = {"map": file}
    return rows


def outlines(mask: Mapping[str, Any], size: tuple[int, int]) -> list[list[int]]:
    """The outer borders of a run-length mask, [x, y, x, y, ...] each, as exact as a tile of 400 pixels can show."""
    from pycocotools import mask as codec

    rle = dict(mask)
    if isinstance(rle["counts"], list):
        rle = dict(codec.frPyObjects(rle, *size))
    pixels = np.ascontiguousarray(codec.decode(rle), np.uint8)
    rings, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    straight = [cv2.approxPolyDP(ring, max(1.0, size[1] / 400), True).reshape(-1) for ring in rings]
    return [[int(v) for v in ring] for ring in straight if len(ring) >= 6]


def _rounded(values: Any) -> list[float]:
    return [round(float(v), 1) for v in values]
