"""rtx scores COCO as pycocotools does, to the last bit; hotcoco does too, and faster-coco-eval to 1e-9."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtx.metrics.coco import Detections
from rtx.metrics.coco_truth import CocoTruth, encode_mask, read_truth
from rtx.results.resample import scores
from tests.metrics.coco_worlds import CATEGORIES, FAMILIES, world
from tests.metrics.reference_scorers import PACKAGES, REFERENCE, reference_ap
from tests.metrics.scores import coco_ap, coco_evidence

KINDS = ("bbox", "segm")
EQUAL = (REFERENCE, "hotcoco")
"""Packages that give rtx's numbers to the last bit, where they are installed."""


def unequal(truth: CocoTruth, found: list[Detections], categories: Iterable[int]) -> list[str]:
    """Numbers of the packages that are not rtx's: bit for bit for those of `EQUAL`, to 1e-9 for others."""
    pytest.importorskip("pycocotools")
    mine = coco_ap(truth, found, list(categories), kinds=KINDS)
    wrong = []
    for package in PACKAGES:
        if package != REFERENCE and util.find_spec(package.replace("-", "_")) is None:
            continue
        row = reference_ap(package, truth, found, list(categories), kinds=KINDS)
        assert row.keys() == mine.keys()
        wrong += [
            f"{package} {metric}: {value!r}, rtx {mine[metric]!r}"
            for metric, value in row.items()
            if not (math.isnan(value) and math.isnan(mine[metric]))
            and not (value == mine[metric] if package in EQUAL else abs(value - mine[metric]) <= 1e-9)
        ]
    return wrong


@pytest.mark.parametrize("seed", range(2 * len(FAMILIES)))
def test_rtx_equals_the_packages_to_the_last_bit(seed: int) -> None:
    family, content, found = world(seed)
    assert unequal(read_truth(content, quiet=True), found, CATEGORIES) == [], family


@pytest.mark.slow
@pytest.mark.parametrize("family", range(len(FAMILIES)), ids=FAMILIES)
def test_rtx_equals_the_packages_to_the_last_bit_on_520_data_sets(family: int) -> None:
    for seed in range(family, 40 * len(FAMILIES), len(FAMILIES)):
        _, content, found = world(seed)
        assert unequal(read_truth(content, quiet=True), found, CATEGORIES) == [], seed


def test_the_worlds_hold_what_they_claim() -> None:
    seen: Counter[str] = Counter()
    defined = []
    for seed in range(2 * len(FAMILIES)):
        _, content, found = world(seed)
        rows = content["annotations"]
        shapes = [a["segmentation"] for a in rows]
        lengths = [type(shape["counts"]) for shape in shapes if isinstance(shape, dict)]
        per_class = [Counter(d.labels.tolist()).most_common(1)[0][1] for d in found if len(d.labels)]
        ranks = [s for d in found for s in d.scores.tolist()]
        seen["crowd"] += any(a["iscrowd"] for a in rows)
        seen["polygon"] += any(isinstance(shape, list) for shape in shapes)
        seen["compressed"] += bytes in lengths
        seen["uncompressed"] += list in lengths
        seen["more than 100"] += max(per_class, default=0) > 100
        seen["ties"] += len(set(ranks)) < len(ranks) / 2
        seen["image without objects"] += len({a["image_id"] for a in rows}) < len(found)
        seen["image without detections"] += any(not len(d.scores) for d in found)
        seen["no detections"] += not ranks
        seen["no objects"] += not rows
        seen["equal in float32"] += len(set(np.float32(ranks).tolist())) < len(set(ranks))
        defined += coco_ap(read_truth(content, quiet=True), found, CATEGORIES, kinds=KINDS).values()
    assert min(seen.values()) >= 1 and len(seen) == 11, seen
    values = np.array([v for v in defined if not math.isnan(v)])
    assert 0.1 < np.mean(values > 0.02) and len(set(values.round(6))) > 100, "numbers that can differ"
    assert 0 < np.mean(np.isnan(defined)) < 0.5


def guesses(truth: CocoTruth, categories: tuple[int, ...], seed: int) -> list[Detections]:
    """A detector that finds most objects about right, with masks from their moved boxes."""
    rng = np.random.default_rng(seed)
    found = []
    for image_id, image in truth.images.items():
        rows: list[tuple[Any, int, Any]] = []
        for a in truth.annotations:
            if a["image_id"] != image_id:
                continue
            for _ in range(rng.integers(0, 4)):
                box = np.array(a["bbox"]) + rng.normal(size=4) * rng.choice([0, 2, 8])
                box[2:] = np.maximum(box[2:], 1)
                mask = np.zeros((image["height"], image["width"]), np.uint8)
                left, top, right, bottom = np.r_[box[:2], box[:2] + box[2:]].round().astype(int).clip(0)
                mask[top:bottom, left:right] = 1
                label = categories.index(a["category_id"]) if rng.random() < 0.9 else int(rng.integers(len(categories)))
                rows.append((np.r_[box[:2], box[:2] + box[2:]], label, encode_mask(mask)))
        ranks = np.round(rng.random(len(rows)), 2)
        boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
        found.append(Detections(image_id, boxes, ranks, np.array([r[1] for r in rows], np.int64), [r[2] for r in rows]))
    return found


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("coco_subset", "val"),
        ("coco_fruits_nuts", "val"),
        pytest.param("coco_subset", "train", marks=pytest.mark.slow),
        pytest.param("coco_fruits_nuts", "train", marks=pytest.mark.slow),
    ],
)
def test_rtx_equals_the_packages_on_real_annotations(real_data: Path, name: str, split: str) -> None:
    paths = sorted((real_data / name / "annotations").glob(f"*{split}*.json"))
    assert len(paths) == 1
    for path in paths:
        content = json.loads(path.read_text())
        truth = read_truth(content, quiet=True)
        categories = tuple(truth.categories)
        found = guesses(truth, categories, 0)
        assert unequal(truth, found, categories) == [], path
        expected = coco_ap(truth, found, categories, kinds=KINDS)
        assert 0.05 < expected["bbox_mAP"] < 0.95 and expected["segm_mAP"] > 0.01
        evidence = coco_evidence(truth, found, categories, kinds=KINDS)
        whole = np.ones((1, len(truth.images)), np.uint16)
        for metric in evidence.metrics:
            assert scores(evidence, whole, metric)[0] == pytest.approx(expected[metric], abs=1e-12, nan_ok=True)


def test_names_of_images_may_be_text() -> None:
    _, content, found = world(1)
    names = {image["id"]: f"{image['id']:05d}" for image in content["images"]}
    other = {
        **content,
        "images": [{**image, "id": names[image["id"]]} for image in content["images"]],
        "annotations": [{**a, "image_id": names[a["image_id"]]} for a in content["annotations"]],
    }
    renamed = [Detections(names[d.image_id], d.boxes, d.scores, d.labels, d.masks) for d in found]  # type: ignore[index]
    assert unequal(read_truth(other, quiet=True), renamed, CATEGORIES) == []
    expected = coco_ap(read_truth(content, quiet=True), found, CATEGORIES, kinds=KINDS)
    assert str(coco_ap(read_truth(other, quiet=True), renamed, CATEGORIES, kinds=KINDS)) == str(expected)
