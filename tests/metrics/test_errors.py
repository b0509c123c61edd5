"""Error types: every mistake is of one type, every lost object is missed or can be regained, and all fixed is AP 1."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rtx.metrics.coco import CocoAP, Detections, coco_columns
from rtx.metrics.coco_match import THRESHOLDS, match
from rtx.metrics.coco_pairs import pair
from rtx.metrics.coco_truth import category_ids, encode_mask, read_truth
from rtx.metrics.error_names import SPECIAL, TYPES
from rtx.metrics.errors import Sorted, sort_errors
from tests.metrics.coco_worlds import CATEGORIES, world
from tests.metrics.reference_scorers import PACKAGES
from tests.metrics.scores import by_image, coco_metric

SIZE = (100, 200)
CAT, DOG = 0, 1
OBJECT = (20, 20, 40, 40)  # left, top, width, height
ONE = pytest.approx(1, abs=1e-12)

# A detection beside a right one of OBJECT: box, class -> what it is.
SECOND = {
    "duplicate": ((20, 20, 40, 38), CAT),
    "localisation": ((40, 20, 40, 40), CAT),  # IoU 1/3
    "classification": ((20, 20, 40, 38), DOG),
    "both": ((40, 20, 40, 40), DOG),
    "background": ((150, 60, 30, 30), CAT),
}


def mask(box: tuple[int, ...]) -> dict[str, Any]:
    area = np.zeros(SIZE, np.uint8)
    left, top, width, height = box
    area[top : top + height, left : left + width] = 1
    return encode_mask(area)


def metric(objects: list[tuple[tuple[int, ...], int]], found: list[tuple[tuple[int, ...], int, float]]) -> CocoAP:
    """One image of cats and dogs."""
    rows = [
        {"id": n, "image_id": 1, "category_id": label, "bbox": list(box), "segmentation": mask(box)}
        for n, (box, label) in enumerate(objects)
    ]
    source = {
        "images": [{"id": 1, "file_name": "1.jpg", "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": CAT, "name": "cat"}, {"id": DOG, "name": "dog"}],
        "annotations": rows,
    }
    boxes = np.array([box for box, *_ in found], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores, labels = np.array([s for *_, s in found], np.float32), np.array([c for _, c, _ in found], np.int64)
    detections = Detections(1, boxes, scores, labels, [mask(box) for box, *_ in found])
    return coco_metric(read_truth(source), [detections], (CAT, DOG), kinds=("bbox", "segm"))


def errors(*args: Any) -> dict[str, Any]:
    found = metric(*args).diagnosis()["errors"]
    box, shape = found["bbox"], found["segm"]
    assert box == shape, "these masks fill their boxes"
    assert sum(box["counts"].values()) == box["counts"]["hits"] + sum(box["counts"][name] for name in TYPES)
    return dict(box)


@pytest.mark.parametrize("name", SECOND)
def test_each_type_is_counted_once(name: str) -> None:
    box, label = SECOND[name]
    found = errors([(OBJECT, CAT)], [(OBJECT, CAT, 0.5), (box, label, 0.9)])
    assert {key: n for key, n in found["counts"].items() if n} == {name: 1, "hits": 1}
    # Mistakes in front of the hit cost precision where they are of a class with objects.
    assert found["AP50"] == pytest.approx(0.5 if label == CAT and name != "duplicate" else 1)
    others = {key: gain for key, gain in found["dAP"].items() if key in TYPES and key != name}
    assert set(others.values()) == {0.0}
    assert found["dAP"][name] == pytest.approx(1 - found["AP50"])


def test_a_missed_object_is_counted_once_and_fixed_by_leaving_it_out() -> None:
    found = errors([(OBJECT, CAT), ((120, 20, 40, 40), CAT)], [(OBJECT, CAT, 0.5)])
    assert {key: n for key, n in found["counts"].items() if n} == {"missed": 1, "hits": 1}
    assert found["AP50"] == pytest.approx(51 / 101)
    assert found["dAP"]["missed"] == found["dAP"]["false_negative"] == pytest.approx(50 / 101)


@pytest.mark.parametrize("name", ["localisation", "classification"])
def test_an_object_that_a_mistake_points_at_is_not_missed(name: str) -> None:
    box, label = SECOND[name]
    found = errors([(OBJECT, CAT)], [(box, label, 0.9), (box, label, 0.8)])
    assert {key: n for key, n in found["counts"].items() if n} == {name: 2}
    assert found["dAP"][name] == ONE, "the better of both becomes the hit"
    assert found["dAP"]["missed"] == 0 and found["dAP"]["false_negative"] == ONE


def test_a_detector_that_finds_nothing_has_lost_all_to_missed_objects() -> None:
    found = errors([(OBJECT, CAT), (OBJECT, DOG)], [])
    assert found["counts"] == {**dict.fromkeys(TYPES, 0), "missed": 2, "hits": 0}
    assert found["AP50"] == 0 and found["dAP"]["missed"] == 1


def test_without_objects_nothing_is_said_but_mistakes_are_counted() -> None:
    found = errors([], [(OBJECT, CAT, 0.9)])
    assert found["counts"]["background"] == 1 and found["objects"] == 0
    assert found["AP50"] is None and set(found["dAP"].values()) == {None}


def worlds(n: int) -> list[Any]:
    return [pytest.param(seed, id=f"{seed} {world(seed)[0]}") for seed in range(n)]


def sides(seed: int, kind: str) -> tuple[CocoAP, Sorted]:
    _, content, found = world(seed)
    truth = read_truth(content, quiet=True)
    ids = category_ids(truth, [str(i) for i in CATEGORIES])
    metric = coco_metric(truth, found, ids, kinds=("bbox", "segm"))
    images = {i: next((d for d in found if d.image_id == i), None) for i in truth.images}
    pairs = pair(*coco_columns(truth, images, ids, kind), len(images), ids, 100)
    return metric, sort_errors(pairs, match(pairs, THRESHOLDS[:1]))


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("seed", worlds(26))
def test_types_part_mistakes_and_losses_and_all_fixed_is_one(seed: int, kind: str) -> None:
    metric, found = sides(seed, kind)
    ranking = match(found.pairs, THRESHOLDS[:1])
    counts = found.counts()
    mistakes = int(((ranking.hits == 0) & (ranking.ignored == 0)).sum())
    assert sum(counts[name] for name in TYPES[:5]) == mistakes
    regained = found.regains[found.regains >= 0]
    assert len(set(regained.tolist())) == len(regained), "an object is regained by one mistake"
    lost = int(found.objects.sum()) - counts["hits"]
    assert counts["missed"] + len(regained) == lost
    whole = found.ap()
    known = metric.compute()[f"{kind}_mAP_50"]
    if np.isnan(known):
        assert np.isnan(whole)
        return
    assert whole == pytest.approx(known, abs=1e-12)
    assert found.ap(TYPES) == ONE
    for name in (*TYPES, *SPECIAL):
        assert whole - 1e-2 <= found.ap([name]) <= 1 + 1e-12  # 101 recall points: fixing may cost one of them
    block = metric.diagnosis()["errors"][kind]
    assert all(0 <= block["dAP"][name] <= 1 for name in TYPES)


def test_a_perfect_detector_has_no_errors() -> None:
    _, content, _ = world(0)
    truth = read_truth(content, quiet=True)
    perfect = []
    for image in truth.images:
        rows = [a for a in truth.annotations if a["image_id"] == image and not a["iscrowd"]]
        boxes = np.array([a["bbox"] for a in rows], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([CATEGORIES.index(a["category_id"]) for a in rows], np.int64)
        perfect.append(Detections(image, boxes, np.ones(len(rows)), labels))
    block = coco_metric(truth, perfect, CATEGORIES).diagnosis()
    found = block["errors"]["bbox"]
    assert found["AP50"] == ONE and set(found["dAP"].values()) <= {0.0, found["dAP"]["false_positive"]}
    assert found["counts"] == {**dict.fromkeys(TYPES, 0), "hits": found["objects"]}
    assert block["calibration"]["bbox"]["D-ECE"] == 0
    assert block["calibration"]["bbox"]["LaECE"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", [1, 2, 9])
def test_the_order_of_images_changes_nothing(seed: int) -> None:
    _, content, found = world(seed)
    truth = read_truth(content, quiet=True)
    ids = category_ids(truth, [str(i) for i in CATEGORIES])
    blocks = [coco_metric(truth, order, ids, kinds=("bbox", "segm")).diagnosis() for order in (found, found[::-1])]
    assert blocks[0] == blocks[1]


def test_the_best_of_several_mistakes_wins_across_classes() -> None:
    """A class error of higher score takes the object; the localisation error of the same object then only goes."""
    shifted, wrong = SECOND["localisation"][0], SECOND["classification"][0]
    found = errors([(OBJECT, CAT)], [(shifted, CAT, 0.5), (wrong, DOG, 0.9)])
    assert found["dAP"]["localisation"] == 0 and found["dAP"]["classification"] == ONE
    found = errors([(OBJECT, CAT)], [(shifted, CAT, 0.9), (wrong, DOG, 0.5)])
    # With the class fixed, the mistake goes and its object stays untaken.
    assert found["dAP"]["localisation"] == ONE and found["dAP"]["classification"] == 0


def test_ignored_objects_and_what_lies_on_them_are_no_errors() -> None:
    _, content, found = world(1)
    assert world(1)[0] == "crowds"
    truth = read_truth(content, quiet=True)
    ids = category_ids(truth, [str(i) for i in CATEGORIES])
    block = coco_metric(truth, found, ids).diagnosis()["errors"]["bbox"]
    crowds = sum(a["iscrowd"] for a in truth.annotations)
    assert crowds and block["objects"] == len(truth.annotations) - crowds
    everything = sum(len(d.scores) for d in found)
    ignored = everything - sum(n for name, n in block["counts"].items() if name != "missed")
    assert ignored > 0


def test_pairs_of_types_and_orders_of_fixing_end_alike() -> None:
    _, found = sides(0, "bbox")
    for one, two in itertools.combinations(TYPES, 2):
        assert found.ap([one, two]) == found.ap([two, one])


TIDE = {
    "bbox": (0.323432, (0.055061, 0.153635, 0.004936, 0, 0.095867, 0.13628, 0.191419, 0.324375), (2, 7, 2, 4, 20, 5)),
    "segm": (0.258683, (0.015622, 0.197168, 0.003905, 0, 0.050998, 0.199906, 0.160459, 0.350464), (1, 8, 3, 2, 23, 6)),
}
"""AP50, dAP and counts that tidecv 1.0.1 gives for world 34, with what `rtx.metrics.errors` departs from taken over."""


@pytest.mark.parametrize("kind", TIDE)
def test_they_are_those_of_tidecv(kind: str) -> None:
    metric, _ = sides(34, kind)
    block = metric.diagnosis()["errors"][kind]
    whole, gains, counts = TIDE[kind]
    assert block["AP50"] == pytest.approx(whole, abs=1e-6)
    assert [block["dAP"][name] for name in (*TYPES, *SPECIAL)] == pytest.approx(gains, abs=1e-6)
    assert tuple(block["counts"][name] for name in TYPES) == counts


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("seed", [0, 3, 4, 6, 7, 8, 9, 11, 13, 16])
def test_they_and_d_ece_are_those_of_hotcoco(seed: int, kind: str) -> None:
    """Without crowds, which it takes for objects here, and without equal scores, which it orders otherwise."""
    pytest.importorskip("hotcoco")
    _, content, found = world(seed)
    content["annotations"] = [row for row in content["annotations"] if not row["iscrowd"]]
    truth, firsts = read_truth(content, quiet=True), np.cumsum([0, *(len(d.scores) for d in found)])
    found = [
        replace(d, scores=0.3 + 0.69 * np.minimum(d.scores, 1) + 1e-7 * (first + np.arange(len(d.scores))))
        for d, first in zip(found, firsts, strict=False)
    ]
    ids = category_ids(truth, [str(i) for i in CATEGORIES])
    images = by_image(truth, found)
    order = sorted(images, key=lambda i: (str(type(i)), i))
    sizes = [{key: truth.images[i][key] for key in ("height", "width")} for i in order]
    head = {"images": [{"id": n + 1, **size} for n, size in enumerate(sizes)]}
    head["categories"] = [{"id": i, "name": str(i)} for i in sorted(ids)]
    evaluation = PACKAGES["hotcoco"](kind, head, *coco_columns(truth, images, ids, kind))
    evaluation.params.maxDets = [100]
    evaluation.evaluate()
    theirs, calibration = evaluation.tide_errors(), evaluation.calibration(n_bins=20)
    mine = coco_metric(truth, found, ids, kinds=(kind,)).diagnosis()
    block = mine["errors"][kind]
    assert mine["calibration"][kind]["D-ECE"] == pytest.approx(calibration["ece"], abs=1e-12)
    assert [block["counts"][name] for name in TYPES] == [theirs["counts"][name] for name in SHORT[:6]]
    assert block["AP50"] == pytest.approx(theirs["ap_base"], abs=1e-12)
    gains = [block["dAP"][name] for name in (*TYPES, *SPECIAL)]
    assert gains == pytest.approx([max(0, theirs["delta_ap"][name]) for name in SHORT], abs=1e-12)


SHORT = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss", "FP", "FN")
