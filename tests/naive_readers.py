"""What data and results mean, read plainly: json, xml, csv, Pillow and NumPy, and none of rtx's own readers.

Each function returns a value, or raises whatever plain reading raises: then there is no value, and rtx must say so.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

Box = tuple[float, float, float, float]
TWENTY = set(
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant "
    "sheep sofa train tvmonitor".split()
)


def load(path: Path) -> Any:
    """A JSON file of UTF-8, with or without a byte-order mark."""
    return json.loads(path.read_text(encoding="utf-8-sig"))


def coco_ap(truth: Path, results: Path, *, masks: bool = False) -> float:
    """AP as pycocotools gives it; annotations are numbered anew, an area that is not stated is that of the box."""
    from pycocotools import mask as codec
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    content, found = load(truth), load(results)
    found = found["annotations"] if isinstance(found, dict) else found
    sizes = {row["id"]: row for row in content["images"]}
    objects = []
    for row in content.get("annotations", []):
        left, top, width, height = row["bbox"]
        area = width * height if row.get("area") is None else row["area"]
        objects.append({**row, "bbox": [left, top, width, height], "area": area, "iscrowd": row.get("iscrowd", 0)})
    rows = []
    for row in found:
        mine = {
            "image_id": row["image_id"],
            "category_id": row["category_id"],
            "iscrowd": 0,
            "score": float(row["score"]),
        }
        if not masks:
            left, top, width, height = map(float, row["bbox"])
            mine |= dict(area=width * height, bbox=[left, top, width, height])
        rows.append(mine)
    for side, source in ((objects, content.get("annotations", [])), (rows, found)) if masks else ():
        for row, given in zip(side, source, strict=True):
            if row["image_id"] in sizes:
                row["segmentation"] = run_lengths(given["segmentation"], sizes[row["image_id"]])
                row.setdefault("area", float(codec.area(row["segmentation"])))
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for part in (objects, rows):
            side = COCO()
            side.dataset = {**content, "annotations": [{**row, "id": n} for n, row in enumerate(part, 1)]}
            side.createIndex()
            sides.append(side)
        scored = COCOeval(*sides, "segm" if masks else "bbox")
        scored.params.catIds = list(dict.fromkeys(row["id"] for row in content["categories"]))
        scored.params.imgIds = list(dict.fromkeys(row["id"] for row in content["images"]))
        scored.evaluate()
        scored.accumulate()
        precision = scored.eval["precision"][:, :, :, 0, 2]
    defined = precision[precision > -1]
    return float(defined.mean()) if defined.size else math.nan


def run_lengths(shape: Any, image: dict[str, Any]) -> Any:
    """A mask as compressed run lengths, each number of it looked at before pycocotools gets it."""
    from pycocotools import mask as codec

    height, width = image["height"], image["width"]
    if isinstance(shape, list):
        rings = [ring for ring in shape if len(ring) >= 6]
        assert all(abs(v) < 1e6 for ring in shape for v in ring)
        rings = rings or [[0.0] * 6]
        return codec.merge(codec.frPyObjects([list(map(float, ring)) for ring in rings], height, width))
    assert list(shape["size"]) == [height, width]
    if isinstance(shape["counts"], list):
        assert sum(shape["counts"]) == height * width and min(shape["counts"]) >= 0
        return codec.frPyObjects({"size": [height, width], "counts": shape["counts"]}, height, width)
    found = {"size": [height, width], "counts": shape["counts"].encode()}
    assert codec.decode(found).shape == (height, width)
    return found


def coco_objects(path: Path) -> dict[str, list[tuple[Box, str, bool]]]:
    """Image file -> box (left, top, right, bottom), class and crowd of each object that detectors are trained on."""
    content = load(path)
    names = {row["id"]: row["name"] for row in content["categories"]}
    images = {row["id"]: row for row in content["images"]}
    found: dict[str, list[tuple[Box, str, bool]]] = {row["file_name"]: [] for row in images.values()}
    for row in content["annotations"]:
        left, top, width, height = row["bbox"]
        if row["image_id"] not in images or row["category_id"] not in names or row.get("ignore", False):
            continue
        image = images[row["image_id"]]
        seen = min(left + width, image["width"]) > max(left, 0) and min(top + height, image["height"]) > max(top, 0)
        if seen and row["area"] > 0 and width >= 1 and height >= 1:
            box = (left, top, left + width, top + height)
            found[image["file_name"]].append((box, names[row["category_id"]], bool(row.get("iscrowd", False))))
    return found


def voc_objects(home: Path, split: str) -> dict[str, list[tuple[str, Box, bool]]]:
    """Image -> name, corners from 0, and whether it is difficult, of each object of a split."""
    found = {}
    for line in (home / "ImageSets" / "Main" / f"{split}.txt").read_bytes().decode("utf-8-sig").split("\n"):
        stem = re.sub(r"\s+-?[01]$", "", line.strip())
        if not stem:
            continue
        assert stem not in found
        rows = []
        for node in ElementTree.parse(home / "Annotations" / f"{stem}.xml").getroot().findall("object"):
            texts = [node.find(f"bndbox/{side}").text for side in ("xmin", "ymin", "xmax", "ymax")]  # type: ignore[union-attr]
            box = tuple(int(float(text or "")) - 1 for text in texts)
            name, difficult = node.findtext("name"), node.find("difficult")
            assert name is not None and name.strip()
            rows.append((name, box, difficult is not None and bool(int(difficult.text or ""))))
        found[stem] = rows
    return found


def voc_ap(objects: dict[str, list[tuple[str, Box, bool]]], found: Iterable[tuple[str, str, float, Box]]) -> float:
    """AP50 at 11 points, mean over the classes that have an object that counts; detections in corners from 0."""
    detections = list(found)
    values = []
    for name in sorted({label for rows in objects.values() for label, _, difficult in rows if not difficult}):
        mine = {stem: [(b, d) for label, b, d in rows if label == name] for stem, rows in objects.items()}
        total = sum(not difficult for rows in mine.values() for _, difficult in rows)
        rows = [(np.float32(score), stem, box) for stem, label, score, box in detections if label == name]
        rows.sort(key=lambda row: (-row[0], row[1]))
        hit, taken = [], set()
        for _, stem, box in rows:
            overlaps = [(_overlap(box, other), not hard, -n) for n, (other, hard) in enumerate(mine[stem])]
            best = max(overlaps, default=(0.0, False, 0))
            place, counts = -best[2], best[1]
            if best[0] >= 0.5 and not counts:
                continue
            hit.append(best[0] >= 0.5 and (stem, place) not in taken)
            taken |= {(stem, place)} if best[0] >= 0.5 else set()
        right = np.cumsum(hit) if hit else np.zeros(0)
        recall, precision = right / total, right / np.arange(1, len(right) + 1)
        points = np.arange(0, 1 + 1e-3, 0.1)
        values.append(sum(precision[recall >= p].max(initial=0) for p in points) / 11)
    return float(np.mean(values)) if values else 0.0


def _overlap(a: Box, b: Box) -> float:
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return wide * high / (sum(areas) - wide * high)


def label_map(path: Path) -> Any:
    """A label map of one channel."""
    with Image.open(path) as image:
        assert image.mode in ("L", "P", "I", "I;16", "I;16B", "1")
        return np.asarray(image).astype(np.int64)


def maps_in(folder: Path) -> dict[str, Path]:
    """File name without suffix -> label map, at any depth."""
    ends = (".png", ".bmp", ".tif", ".tiff")
    files = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in ends]
    assert len({p.stem for p in files}) == len(files)
    return {p.stem: p for p in files}


def mean_iou(truth: Path, predictions: Path, n_classes: int) -> float:
    """Mean IoU where labels 0 and 255 do not count and class n is label n + 1."""
    labels, found = maps_in(truth), maps_in(predictions)
    assert labels and labels.keys() == found.keys()
    both, union = np.zeros(n_classes), np.zeros(n_classes)
    for stem, path in labels.items():
        label, guess = label_map(path), label_map(found[stem])
        assert label.shape == guess.shape
        counted = (label != 0) & (label != 255)
        label, guess = label[counted] - 1, guess[counted]
        assert ((0 <= label) & (label < n_classes)).all() and ((0 <= guess) & (guess < n_classes)).all()
        for index in range(n_classes):
            both[index] += ((label == index) & (guess == index)).sum()
            union[index] += ((label == index) | (guess == index)).sum()
    there = union > 0
    return float((both[there] / union[there]).mean()) if there.any() else math.nan


def class_table(path: Path) -> dict[int, str]:
    """Number in the label maps -> class name, of tables that state the numbers; those of ADE20K where there is none."""
    if not path.is_file():
        from mmseg.datasets import ADE20KDataset

        return dict(enumerate(ADE20KDataset.METAINFO["classes"], 1))
    content = load(path)
    rows = content["classes"] if isinstance(content, dict) and "classes" in content else content
    if isinstance(rows, dict):
        table = {(int(k) if str(k).lstrip("-").isdigit() else int(v)): k for k, v in rows.items()}
        return {n: str(rows[k]) if str(k).lstrip("-").isdigit() else str(k) for n, k in table.items()}
    key = next(k for k in ("label", "id", "index", "trainId", "train_id") if all(k in row for row in rows))
    found = {int(row[key]): str(row["name"]) for row in rows}
    assert len(found) == len(rows) and len(set(found.values())) == len(rows)
    return found


def labelled_files(root: Path) -> dict[str, str]:
    """Image below the root, without suffix -> its class folder."""
    ends = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
    files = [p.relative_to(root) for p in root.rglob("*") if p.suffix.lower() in ends]
    return {p.with_suffix("").as_posix(): p.parts[0] for p in files if not any(x.startswith(".") for x in p.parts)}


def top1(labels: dict[str, str], results: Path) -> float:
    """Share of the images whose first guess in a .csv file of image, class, class ... is right."""
    guesses = {}
    with results.open(encoding="utf-8-sig", newline="") as stream:
        for row in csv.reader(stream):
            words = [cell.strip() for cell in row]
            if words and words[0]:
                image = words[0] if words[0] in labels else words[0].rpartition(".")[0]
                assert image in labels and image not in guesses
                guesses[image] = words[1]
    assert guesses.keys() == labels.keys()
    return sum(guesses[image] == name for image, name in labels.items()) / len(labels)


def kept_detections(path: Path) -> list[tuple[Any, str, float, Box]]:
    """Image, class, score and box of each detection of a kept file (`.npz`)."""
    with np.load(path, allow_pickle=False) as arrays:
        head = json.loads(arrays["head"].tobytes())
        assert head["format"] == "rtx.predictions/1"
        counts, boxes, scores, labels = (arrays[n] for n in ("counts", "boxes", "scores", "labels"))
    assert counts.dtype.kind in "iu" and labels.dtype.kind in "iu" and (counts >= 0).all()
    assert sum(map(int, counts)) == len(scores)
    images = [image for image, count in zip(head["image_ids"], counts, strict=True) for _ in range(count)]
    rows = zip(images, labels, scores, boxes, strict=True)
    assert all(0 <= label < len(head["classes"]) for label in labels)
    return [(i, head["classes"][n], float(s), (*map(float, b),)) for i, n, s, b in rows]


def cells(folder: Path) -> dict[str, dict[str, float]]:
    """Condition -> metrics of every cell file, NaN where a metric is null; files that are no cells are left out."""
    found = {}
    for path in (folder / "cells").glob("*.json"):
        with contextlib.suppress(Exception):
            row = load(path)
            name = "clean" if row["corruption"] == "clean" else f"{row['corruption']}_{row['severity']}"
            values = {k: math.nan if v is None else float(v) for k, v in row["metrics"].items()}
            found[path.stem] = values if name == path.stem else {}
    return found
