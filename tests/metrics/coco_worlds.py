"""Generated COCO data sets: every family of cases that COCO scorers have been seen to disagree on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from rtx.metrics.coco import Detections
from rtx.metrics.coco_truth import encode_mask

CATEGORIES = (90, 3, 7, 1)  # neither sorted nor dense
FAMILIES = (
    "plain",
    "crowds",
    "ties",
    "close scores",
    "empty images",
    "no predictions",
    "polygons",
    "compressed",
    "uncompressed",
    "many detections",
    "exact overlaps",
    "odd shapes",
    "no objects",
)


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    """Run lengths as a list of numbers."""
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])))
    return {"size": list(mask.shape), "counts": np.diff(np.concatenate([[0], edges])).tolist()}


def disc(size: tuple[int, int], box: np.ndarray) -> np.ndarray:
    """An ellipse that fills a box."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    left, top, width, height = box
    x, y = (columns + 0.5 - left) / max(width, 1e-6) * 2 - 1, (rows + 0.5 - top) / max(height, 1e-6) * 2 - 1
    return (x * x + y * y <= 1).astype(np.uint8)


def world(seed: int, n_images: int = 6) -> tuple[str, dict[str, Any], list[Detections]]:
    """Family, annotation file and detections number `seed`."""
    family = FAMILIES[seed % len(FAMILIES)]
    rng = np.random.default_rng(seed)
    forms = (
        [family] if family in ("polygons", "compressed", "uncompressed") else ["polygons", "compressed", "uncompressed"]
    )
    images, rows, found = [], [], []
    for image in range(n_images):
        size = (int(rng.integers(120, 200)), int(rng.integers(120, 260)))
        images.append({"id": 1000 - 7 * image, "file_name": f"{image}.jpg", "height": size[0], "width": size[1]})
        objects: list[tuple[np.ndarray, int]] = []
        blank = family == "empty images" and rng.random() < 0.6
        for _ in range(0 if blank or family == "no objects" else rng.integers(0, 7)):
            scale = rng.choice([12, 50, 140])  # small, medium and large
            box = np.concatenate([rng.random(2) * (size[1] - 20, size[0] - 20), 2 + rng.random(2) * scale])
            box[2:] = np.minimum(box[2:], np.array([size[1], size[0]]) - box[:2])
            if family in ("exact overlaps", "odd shapes"):
                box = np.maximum(np.round(box), [0, 0, 1, 1])
            if family == "odd shapes" and rng.random() < 0.2:
                box[2] = 0  # an object without area
            crowd = int(rng.random() < (0.5 if family == "crowds" else 0.05))
            label = int(rng.integers(len(CATEGORIES) - 1))
            form = str(rng.choice(forms))
            mask = disc(size, box)
            shape: Any = encode_mask(mask) if form == "compressed" else uncompressed(mask)
            if form == "polygons":
                angles = np.linspace(0, 2 * np.pi, 9)[:-1]
                ring = np.stack([np.cos(angles), np.sin(angles)], 1) * box[2:] / 2 + box[:2] + box[2:] / 2
                shape = [ring.reshape(-1).tolist()]
                if rng.random() < 0.3:
                    shape.append((ring + 5).reshape(-1).tolist())
            area = float(mask.sum()) if rng.random() < 0.8 else float(box[2] * box[3] * rng.choice([0.7, 1.4]))
            row = {"id": len(rows), "image_id": images[-1]["id"], "category_id": CATEGORIES[label], "iscrowd": crowd}
            rows.append({**row, "bbox": box.tolist(), "area": area, "segmentation": shape})
            objects.append((box, label))
        silent = family == "no predictions" and (seed // len(FAMILIES) % 2 == 0 or rng.random() < 0.7)
        found.append(_guess(rng, family, images[-1]["id"], size, objects, silent))
    content = {
        "images": images,
        "categories": [{"id": i, "name": str(i)} for i in CATEGORIES],
        "annotations": rows,
    }
    return family, content, found


def _guess(
    rng: np.random.Generator,
    family: str,
    image_id: int,
    size: tuple[int, int],
    objects: list[tuple[np.ndarray, int]],
    silent: bool,
) -> Detections:
    boxes: list[np.ndarray] = []
    labels: list[int] = []
    if not silent:
        for box, label in objects:
            for _ in range(rng.integers(0, 4)):
                step = rng.normal(size=4) * rng.choice([0.5, 3, 12])
                if family == "exact overlaps":
                    step = rng.integers(-2, 3, 4) * rng.choice([0, 1, 5])
                guess = box + step
                guess[2:] = np.maximum(guess[2:], 0 if family == "odd shapes" else 1)
                boxes.append(guess)
                labels.append(label if rng.random() < 0.85 else int(rng.integers(len(CATEGORIES))))
        more = 260 if family == "many detections" and rng.random() < 0.5 else int(rng.integers(0, 6))
        for _ in range(more):
            near = objects and family == "many detections" and rng.random() < 0.5
            box = objects[rng.integers(len(objects))][0] + rng.normal(size=4) * 4 if near else rng.random(4) * 80
            boxes.append(np.concatenate([box[:2], np.maximum(box[2:], 1)]))
            labels.append(int(rng.integers(2)))
    scores = rng.random(len(boxes))
    if family in ("ties", "close scores", "many detections") or rng.random() < 0.2:
        scores = np.ceil(scores * 4) / 4
    if family == "close scores":  # equal in float32, not in float64
        scores += rng.integers(0, 5, len(boxes)) * 1e-9
    wide = np.array(boxes, np.float64).reshape(-1, 4)
    corners = np.concatenate([wide[:, :2], wide[:, :2] + wide[:, 2:]], axis=1).astype(np.float32)
    masks = [encode_mask(disc(size, box) if rng.random() > 0.03 else np.zeros(size)) for box in wide]
    return Detections(image_id, corners, scores, np.array(labels, np.int64), masks)


def write_annotations(path: Path, content: dict[str, Any]) -> Path:
    """A world's ground truth as an annotation file."""
    for row in content["annotations"]:
        shape = row["segmentation"]
        if isinstance(shape, dict) and isinstance(shape["counts"], bytes):
            shape["counts"] = shape["counts"].decode()
    path.write_text(json.dumps(content))
    return path


def results(found: list[Detections], **more: Any) -> list[dict[str, Any]]:
    """The same detections as a COCO result file has them."""
    rows = []
    for d in found:
        assert d.masks is not None
        for box, score, label, mask in zip(
            d.boxes.tolist(), d.scores.tolist(), d.labels.tolist(), d.masks, strict=True
        ):
            left, top, right, bottom = box
            row = {"image_id": d.image_id, "category_id": CATEGORIES[label], "score": score}
            code = {"size": list(mask["size"]), "counts": mask["counts"].decode()}
            rows.append({**row, "bbox": [left, top, right - left, bottom - top], "segmentation": code, **more})
    return rows
