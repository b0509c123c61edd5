"""Small data sets in the layouts of YOLO and Cityscapes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rtx.metrics.coco import Detections
from rtx.metrics.coco_truth import CocoTruth, rle

TRAIN_IDS = dict(
    zip((7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33), range(19), strict=True)
)
"""Label id -> train id, as cityscapesScripts publishes them."""


def to_yolo(coco: Path, root: Path, *, outlines: bool = False, most_digits: bool = True) -> dict[str, dict[str, Any]]:
    """A COCO folder in YOLO's layout, without crowds; returns split -> the same objects as COCO tables.

    Args:
        coco: the folder to convert.
        root: where to write.
        outlines: write the objects that have one polygon, as polygons; else every object as a box.
        most_digits: every digit of the fractions; else six, as tools write them.
    """
    found = {}
    for file in sorted((coco / "annotations").glob("instances_*.json")):
        name = file.stem.removeprefix("instances_")
        split = name.removesuffix("2017")
        tables = json.loads(file.read_text())
        numbers = {row["id"]: n for n, row in enumerate(tables["categories"])}
        images = {row["id"]: row for row in tables["images"]}
        rows = [row for row in tables["annotations"] if not row["iscrowd"]]
        if outlines:
            rows = [row for row in rows if isinstance(row["segmentation"], list) and len(row["segmentation"]) == 1]
        for part in ("images", "labels"):
            (root / part / split).mkdir(parents=True)
        lines: dict[Any, list[str]] = {key: [] for key in images}
        for row in rows:
            image = images[row["image_id"]]
            width, height = image["width"], image["height"]
            left, top, w, h = row["bbox"]
            values = [(left + w / 2) / width, (top + h / 2) / height, w / width, h / height]
            if outlines:
                outline = row["segmentation"][0]
                values = [value / (height if n % 2 else width) for n, value in enumerate(outline)]
                xs, ys = outline[::2], outline[1::2]
                row["bbox"] = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
                after = zip(xs, ys, [*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True)
                row["area"] = abs(sum(a * d - b * c for a, b, c, d in after)) / 2
            else:
                row["area"] = w * h
                del row["segmentation"]
            written = (repr(value) if most_digits else f"{value:.6f}" for value in values)
            lines[row["image_id"]].append(" ".join([str(numbers[row["category_id"]]), *written]))
        for key, image in images.items():
            source = next(p for p in (coco / name, coco / split) if p.is_dir()) / image["file_name"]
            shutil.copyfile(source, root / "images" / split / source.name)
            text = "".join(f"{line}\n" for line in lines[key])
            (root / "labels" / split / f"{source.stem}.txt").write_text(text)
        found[split] = {**tables, "annotations": rows}
    names = {n: row["name"] for n, row in enumerate(tables["categories"])}
    splits = "".join(f"{split}: images/{split}\n" for split in found)
    listed = "".join(f"  {n}: {name}\n" for n, name in names.items())
    (root / "data.yaml").write_text(f"path: .\n{splits}names:\n{listed}")
    return found


def make_cityscapes(root: Path, *, splits: Mapping[str, int] | None = None, size: tuple[int, int] = (64, 96)) -> Path:
    """Write leftImg8bit and gtFine as they are published, with labelTrainIds as cityscapesScripts adds them.

    Every image has road and sky, two cars (the second one in front of the first), a person, a group of bicycles, a
    caravan, which is not evaluated, and an ego vehicle.
    """
    rng = np.random.default_rng(0)
    height, width = size
    for split, n_images in (splits or {"train": 3, "val": 2}).items():
        for n in range(n_images):
            city = ("aachen", "ulm")[n % 2]
            stem = f"{city}_{n:06d}_000019"
            image = root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png"
            truth = root / "gtFine" / split / city
            for folder in (image.parent, truth):
                folder.mkdir(parents=True, exist_ok=True)
            objects = [
                ("sky", 23, (0, 0, width - 1, 20)),
                ("road", 7, (0, 21, width - 1, height - 1)),
                ("car", 26000, (10, 20 + n, 40, 50)),
                ("car", 26001, (30, 25, 60, 45)),
                ("person", 24000, (70, 15, 78, 55)),
                ("bicyclegroup", 33, (80, 40, 90, 55)),
                ("caravan", 29000, (62, 30, 68, 40)),
                ("ego vehicle", 1, (0, 58, width - 1, height - 1)),
            ]
            instances = np.zeros(size, np.int32)
            rows = []
            for label, number, (left, top, right, bottom) in objects:
                instances[top : bottom + 1, left : right + 1] = number
                rows.append(dict(label=label, polygon=[[left, top], [right, top], [right, bottom], [left, bottom]]))
            rows.append(dict(label="license plate", polygon=[[11, 30], [14, 30], [14, 33]]))
            rows.append(dict(label="car", deleted=1, polygon=[[0, 0], [9, 0], [9, 9]]))
            labels = np.where(instances >= 1000, instances // 1000, instances).astype(np.uint8)
            table = np.full(256, 255, np.uint8)
            for label_id, train_id in TRAIN_IDS.items():
                table[label_id] = train_id
            pixels = rng.integers(0, 80, (*size, 3)).astype(np.uint8)
            pixels[instances >= 1000] += 120
            Image.fromarray(pixels).save(image)
            Image.fromarray(instances.astype(np.uint16)).save(truth / f"{stem}_gtFine_instanceIds.png")
            Image.fromarray(labels).save(truth / f"{stem}_gtFine_labelIds.png")
            Image.fromarray(table[labels]).save(truth / f"{stem}_gtFine_labelTrainIds.png")
            text = json.dumps(dict(imgHeight=height, imgWidth=width, objects=rows))
            (truth / f"{stem}_gtFine_polygons.json").write_text(text)
    return root


def jittered(truth: CocoTruth, order: Sequence[int], *, masks: bool = False) -> list[Detections]:
    """Detections near the objects of ground truth, some missed, some of another class, and some of nothing."""
    rng = np.random.default_rng(0)
    by_image: dict[Any, list[dict[str, Any]]] = {key: [] for key in truth.images}
    for row in truth.annotations:
        by_image[row["image_id"]].append(row)
    found = []
    for key, rows in by_image.items():
        boxes, scores, labels, shapes = [], [], [], []
        for row in rows:
            left, top, width, height = (round(value, 3) for value in row["bbox"])
            moved = np.array([left, top, left + width, top + height]) + rng.normal(0, 0.04, 4) * max(width, height)
            if rng.random() < 0.85:
                boxes.append(moved)
                scores.append(round(float(rng.random()), 2))
                label = order.index(row["category_id"])
                labels.append(label if rng.random() < 0.9 else int(rng.integers(len(order))))
                shapes.append(rle(row, truth) if masks else None)
        boxes.append(np.array([5.0, 5, 30, 40]))
        scores.append(0.5)
        labels.append(int(rng.integers(len(order))))
        shapes.append(shapes[0] if masks and shapes else None)
        if masks and shapes[-1] is None:
            boxes, scores, labels, shapes = [], [], [], []
        arrays = np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(labels, np.int64)
        found.append(Detections(key, *arrays, shapes if masks else None))
    return found
