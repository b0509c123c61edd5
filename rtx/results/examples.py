"""Example images for a report: a few images of the test set with truth and predictions of every cell.

Written beside the cells when an evaluation keeps its predictions. The images are the same for every model on the same
data, since a report lays models side by side; corrupted pixels are not kept, because the original, the condition and
the seed on the protocol card give them again.

An evaluation folder may hold `examples/index.json`, with the image files beside it:

    {"format": "rtx.examples/1", "task": "detection" | "segmentation", "classes": ["person", ...], "evaluated": 5000,
     "images": [{"id": "000000000139", "original": "00.jpg", "width": 640, "height": 426,
                 "truth": [{"bbox": [x1, y1, x2, y2], "label": 0, "polygons": [[x, y, ...]]}],   # detection
                 "ignored": [{"bbox": [x1, y1, x2, y2], "label": 0}],   # crowds, difficult objects; may be left out
                 "truth_map": "139_truth.png",                                                   # segmentation
                 "conditions": {"clean": {"image": "139_clean.jpg",
                                          "predictions": [{"bbox": [...], "label": 0, "score": 0.9, "polygons": [...]}],
                                          "map": "139_clean_map.png"}, "fog_3": {...}}}]}

A condition without an `image` is the `original` under the engine, seed and channel order of the protocol card; `id` is
what seeds its noise. `rtx corrupt_eval --keep-predictions` writes folders of that kind, other tools may store pictures.
Boxes are in pixels of `width` and `height`. Label maps are 8-bit PNG files of class indices, 255 where nothing counts.
A strip needs the clean image and all five severities of a corruption. `key`, where it is there, is the protocol's: with
another one than the card's the examples are left out.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rtx.corruptions import ENGINES
from rtx.corruptions.settings import CHANNEL_ORDERS, Settings
from rtx.errors import BadValue
from rtx.files import read_json, write_atomic, write_whole
from rtx.metrics.miou import reduced
from rtx.results.folder import EXAMPLES, INDEX, predictions_path
from rtx.results.predictions import encode_map, read_detections, read_map, read_maps
from rtx.results.protocol import protocol_key
from rtx.results.subset import stratified
from rtx.types import CLEAN, Condition

if TYPE_CHECKING:
    from rtx.metrics.coco import Detections

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


def settings_of(card: Mapping[str, Any]) -> Settings | None:
    """What makes the pixels of a run again, from its protocol card; None where that cannot be done here."""
    known = card.get("corruption_engine") in ENGINES and card.get("channel_order", "rgb") in CHANNEL_ORDERS
    place, seed = card.get("corruption_at", "original_resolution"), card.get("corruption_seed", 0)
    usual = place == "original_resolution" and card.get("view") is None and card.get("image_key") == "file_stem"
    if not known or not usual or not isinstance(seed, int):
        return None
    return Settings(card["corruption_engine"], seed, card.get("channel_order", "rgb"))


@dataclass(frozen=True)
class Box:
    """One object, predicted or true.

    Attributes:
        bbox: left, top, right, bottom in pixels.
        label: index into the classes.
        score: 1 for a true one.
        polygons: outlines of its mask, each [x, y, x, y, ...].
    """

    bbox: tuple[float, float, float, float]
    label: int
    score: float
    polygons: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class ExampleView:
    """One image under one condition, with what a model says about it; without a picture, the original gives it."""

    image: Path | None
    boxes: tuple[Box, ...]
    map: Path | None


@dataclass(frozen=True)
class Example:
    """One image of the test set under several conditions."""

    id: str
    width: int
    height: int
    truth: tuple[Box, ...]
    truth_map: Path | None
    views: Mapping[Condition, ExampleView]
    original: Path | None = None
    settings: Settings | None = None
    ignored: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Examples:
    """The examples of one run: of what task, with which images, out of how many that were evaluated."""

    task: str
    classes: tuple[str, ...]
    images: Mapping[str, Example]
    evaluated: int = 0
    settings: Settings | None = None


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
    files = {c: path for c in conditions if (path := predictions_path(out, c))}
    classes = [str(name) for name in names or (getattr(dataset, "metainfo", None) or {}).get("classes") or ()]
    maps = all(path.suffix == ".zip" for path in files.values())
    if not files or not classes or not (maps or all(path.suffix == ".npz" for path in files.values())):
        return None
    infos = pool(dataset, indices)
    if not infos or any("gt_label" in info for info in infos):
        return None
    root = out / EXAMPLES
    shutil.rmtree(root, ignore_errors=True)
    rows = [_row(root, number, info, maps=maps) for number, info in enumerate(infos)]
    keys = [Path(info["img_path"]).stem if maps else str(info["img_id"]) for info in infos]
    for condition, path in files.items():
        if maps:
            found = _maps(root, condition, path, keys)
        else:
            shown = (d for d in read_detections(path)[0] if str(d.image_id) in keys)
            found = {str(d.image_id): {"predictions": _predictions(d)} for d in shown}
        for name, row in zip(keys, rows, strict=True):
            if name in found:
                row["conditions"][condition.key] = found[name]
    task = "segmentation" if maps else "detection"
    table = {"format": FORMAT, "key": key, "task": task, "classes": classes, "evaluated": len(indices), "images": rows}
    write_atomic(root / INDEX, json.dumps(table, separators=(",", ":")) + "\n")
    log.info("examples: %d of %d images with %d cells in %s", len(rows), len(indices), len(files), root)
    return root / INDEX


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
    import cv2  # a report reads examples without OpenCV

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
    given = labels.copy()
    for old, new in (info.get("label_map") or {}).items():
        labels[given == old] = new
    if info.get("reduce_zero_label"):
        labels = reduced(labels)
    return np.clip(labels, 0, IGNORED).astype(np.uint8)


def _truth(row: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    box: dict[str, Any] = {"bbox": _rounded(row["bbox"]), "label": int(row["bbox_label"])}
    mask = row.get("mask")
    if isinstance(mask, list):
        box["polygons"] = [_rounded(ring) for ring in mask if len(ring) >= 6]
    elif isinstance(mask, Mapping):
        box["polygons"] = outlines(mask, size)
    return box


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
    import cv2
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


def read_examples(folder: Path, card: Mapping[str, Any] | None = None) -> Examples | None:
    """The examples of an evaluation folder, None where there are none.

    Args:
        folder: the evaluation.
        card: its protocol card, which says how corrupted pixels are made again.

    Raises:
        BadValue: the index is damaged, or names a file outside the folder or one that is not there.
    """
    root = folder / EXAMPLES
    path = root / INDEX
    if not path.is_file():
        return None
    try:
        table = read_json(path)
        if table["format"] != FORMAT:
            raise ValueError(f"format {table['format']!r}")
        if card and table.get("key") not in (None, protocol_key(card)):
            log.warning("%s: its pictures are of another protocol than the cells, so they are left out", path)
            return None
        settings = settings_of(card or {})
        images = [_example(row, root, settings) for row in table["images"]]
        classes = tuple(map(str, table["classes"]))
        evaluated = int(table.get("evaluated") or len(images))
        return Examples(str(table["task"]), classes, {image.id: image for image in images}, evaluated, settings)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadValue(f"{path}: not an index of examples ({error}); delete the folder or make it again") from error


def _example(row: Mapping[str, Any], root: Path, settings: Settings | None) -> Example:
    original = _file(root, row["original"]) if row.get("original") else None
    again = original is not None and settings is not None
    views = {
        Condition.from_key(key): ExampleView(
            _file(root, view["image"]) if view.get("image") else None,
            tuple(_box(b) for b in view.get("predictions", ())),
            _file(root, view["map"]) if view.get("map") else None,
        )
        for key, view in row["conditions"].items()
        if again or view.get("image") or (original and key == CLEAN.key)
    }
    truth_map = _file(root, row["truth_map"]) if row.get("truth_map") else None
    truth = tuple(_box(b) for b in row.get("truth", ()))
    ignored = tuple(_box(b) for b in row.get("ignored", ()))
    size = int(row["width"]), int(row["height"])
    return Example(str(row["id"]), *size, truth, truth_map, views, original, settings, ignored)


def _file(root: Path, name: str) -> Path:
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()) or not path.is_file():
        raise ValueError(f"file {name!r} is not in the folder")
    return path


def _box(row: Mapping[str, Any]) -> Box:
    left, top, right, bottom = (float(v) for v in row["bbox"])
    polygons = tuple(tuple(float(v) for v in ring) for ring in row.get("polygons") or ())
    return Box((left, top, right, bottom), int(row["label"]), float(row.get("score", 1.0)), polygons)
