from __future__ import annotations

import math
import types
from typing import Any

import numpy as np
import pytest

from rtx.errors import BadValue, DataError, UnknownName
from rtx.metrics.coco import Detections
from rtx.metrics.voc import DEFINITIONS, VocAP, VocTruth, absent_classes
from tests.metrics.scores import voc_ap

BOX = [10, 10, 29, 29]
MATCHED_BY_PIXELS = ("AP50_07", "AP50_area", "AP_d2", "AP50_d2", "AP75_d2")


def truth(image: Any, *rows: tuple[list[float], int] | tuple[list[float], int, bool]) -> VocTruth:
    return VocTruth(
        image,
        np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[1] for row in rows], np.int64),
        np.array([len(row) == 3 for row in rows], bool),
    )


def found(image: Any, *rows: tuple[list[float], float, int]) -> Detections:
    return Detections(
        image,
        np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[1] for row in rows], np.float32),
        np.array([row[2] for row in rows], np.int64),
    )


def world(seed: int, n_images: int = 12, n_classes: int = 4) -> tuple[list[VocTruth], list[Detections]]:
    """Integer objects and jittered detections; all scores differ, also when rounded to 3 decimals."""
    rng = np.random.default_rng(seed)
    scores = iter(rng.permutation(999) / 1000 + 0.001)
    truths, detections = [], []
    for image in range(n_images):
        objects: list[Any] = []
        guesses: list[Any] = []
        for _ in range(rng.integers(0, 7)):
            left, top, width, height = (int(v) for v in rng.integers((0, 0, 3, 3), (60, 60, 40, 40)))
            box = [left, top, left + width, top + height]
            label = int(rng.integers(n_classes))
            objects.append((box, label, True) if rng.random() < 0.2 else (box, label))
            for _ in range(rng.integers(0, 4)):
                scale = rng.choice([0.0, 1.0, 5.0])
                near = [float(v) for v in np.array(box) + scale * rng.normal(size=4)]
                guesses.append((near, next(scores), label if rng.random() < 0.8 else int(rng.integers(n_classes))))
        truths.append(truth(f"{image:06d}", *objects))
        detections.append(found(f"{image:06d}", *guesses))
    return truths, detections


def test_a_perfect_detector_scores_one_under_every_definition() -> None:
    scores = voc_ap(
        [truth("a", (BOX, 0)), truth("b", (BOX, 1))], [found("a", (BOX, 0.9, 0)), found("b", (BOX, 0.4, 1))], 2
    )
    assert scores == dict.fromkeys(DEFINITIONS, pytest.approx(1))


def test_one_of_two_objects_found() -> None:
    """Recall ends at one half: 6 of 11 points, half the area, 51 of COCO's 101 points."""
    scores = voc_ap([truth("a", (BOX, 0), ([50, 50, 69, 69], 0))], [found("a", (BOX, 0.9, 0))], 1)
    assert scores["AP50_07"] == scores["AP_d2"] == pytest.approx(6 / 11)
    assert scores["AP50_area"] == pytest.approx(1 / 2)
    assert scores["AP_coco"] == pytest.approx(51 / 101)


def test_an_overlap_of_exactly_one_half_is_a_hit_for_mmdet_and_coco_and_a_miss_for_detectron2() -> None:
    objects, half = [truth("a", ([0, 0, 9, 9], 0))], [found("a", ([0, 0, 9, 4], 0.9, 0))]
    scores = voc_ap(objects, half, 1)
    assert (scores["AP50_07"], scores["AP50_area"], scores["AP50_d2"]) == (1, 1, 0)
    assert scores["AP50_coco"] == 0, "without the + 1 it covers 36 of 81"


def test_detectron2_keeps_one_decimal_of_a_box_and_three_of_a_score() -> None:
    near = [[0.04, 0.04, 9.04, 9.04], [50, 50, 59, 59]]
    objects = [truth("a", ([0, 0, 9, 9], 0), ([50, 50, 59, 59], 0))]
    tied = [found("a", ([90, 90, 99, 99], 0.5001, 0), (near[0], 0.5002, 0), (near[1], 0.4999, 0))]
    scores = voc_ap(objects, tied, 1)
    # To 3 decimals all three scores are equal, so they stay in the detector's order and the mistake comes first.
    assert scores["AP50_07"] == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert scores["AP50_d2"] == pytest.approx(2 / 3)
    tight = voc_ap([truth("a", ([0, 0, 9, 9], 0))], [found("a", ([0.04, 0, 9.04, 9], 0.9, 0))], 1)
    assert tight["AP_d2"] == 1


def test_a_second_detection_of_an_object_is_a_mistake() -> None:
    objects = [truth("a", (BOX, 0), ([50, 50, 69, 69], 0))]
    twice = [found("a", (BOX, 0.9, 0), (BOX, 0.8, 0), ([50, 50, 69, 69], 0.7, 0))]
    scores = voc_ap(objects, twice, 1)
    assert scores["AP50_area"] == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert scores["AP50_07"] == scores["AP50_d2"] == pytest.approx((6 + 5 * 2 / 3) / 11)


def test_difficult_objects_are_neither_hit_nor_miss() -> None:
    plain = [truth("a", (BOX, 0))]
    hard = [truth("a", (BOX, 0), ([50, 50, 69, 69], 0, True))]
    hit = found("a", (BOX, 0.5, 0), ([50, 50, 69, 69], 0.9, 0), ([50, 50, 69, 69], 0.8, 0))
    assert voc_ap(hard, [hit], 1) == dict.fromkeys(DEFINITIONS, pytest.approx(1))
    assert voc_ap(plain, [hit], 1)["AP50_area"] == pytest.approx(1 / 3)


def test_absent_classes_follow_each_definition() -> None:
    truths = [truth("a", (BOX, 0), ([50, 50, 69, 69], 2, True))]
    scores = voc_ap(truths, [found("a", (BOX, 0.9, 0), (BOX, 0.8, 1))], 4)
    assert absent_classes(truths, 4) == [1, 2, 3]
    assert (scores["AP50_07"], scores["AP50_area"], scores["AP_coco"]) == (1, 1, pytest.approx(1)), "left out"
    assert scores["AP_d2"] == pytest.approx(1 / 4), "zeros"


def test_nothing_predicted_is_zero() -> None:
    for nothing in ([], [found("a")]):
        assert voc_ap([truth("a", (BOX, 0))], nothing, 2) == dict.fromkeys(DEFINITIONS, 0)


def test_no_object_at_all() -> None:
    scores = voc_ap([truth("a")], [found("a", (BOX, 0.9, 0))], 2)
    assert all(scores[name] == 0 for name in MATCHED_BY_PIXELS)
    assert math.isnan(scores["AP_coco"])


def test_a_box_of_zero_area_covers_one_pixel_and_never_crashes() -> None:
    flat = [truth("a", ([10, 10, 10, 10], 0), ([30, 5, 30, 40], 1))]
    scores = voc_ap(flat, [found("a", ([10, 10, 10, 10], 0.9, 0), ([30, 5, 30, 40], 0.8, 1))], 2)
    assert {scores[name] for name in MATCHED_BY_PIXELS} == {1.0}
    assert scores["AP_coco"] == 0, "by COCO's widths it has no area, so nothing can overlap it"


def test_images_must_be_the_evaluated_ones() -> None:
    truths = [truth("a", (BOX, 0))]
    with pytest.raises(BadValue, match="image 'b', which is not among"):
        voc_ap(truths, [found("b", (BOX, 0.9, 0))], 1)
    with pytest.raises(BadValue, match="twice"):
        voc_ap(truths, [found("a"), found("a")], 1)
    with pytest.raises(BadValue, match="twice"):
        voc_ap(truths * 2, [found("a")], 1)
    with pytest.raises(BadValue, match="no image"):
        voc_ap([], [], 1)
    with pytest.raises(BadValue, match="image 'a': labels 3 to 3 of 2"):
        voc_ap(truths, [found("a", (BOX, 0.9, 3))], 2)
    with pytest.raises(UnknownName, match="AP50_07"):
        VocAP(truths, ["a"], headline="AP50_70")
    with pytest.raises(DataError, match="image 'a'"):
        VocTruth("a", np.zeros((2, 4)), np.zeros(1, int), np.zeros(2, bool))


def test_order_of_images_changes_nothing() -> None:
    truths, detections = world(3)
    assert voc_ap(truths[::-1], detections[::-1], 4) == voc_ap(truths, detections, 4)


@pytest.mark.parametrize("seed", range(6))
def test_detectron2_definition_equals_a_literal_transcription(seed: int) -> None:
    truths, detections = world(seed)
    scores = voc_ap(truths, detections, 5)
    thresholds = [percent / 100 for percent in range(50, 100, 5)]
    table = [[literal_d2(truths, detections, label, t) for label in range(5)] for t in thresholds]
    assert scores["AP_d2"] == pytest.approx(np.mean(table), abs=1e-12)
    assert scores["AP50_d2"] == pytest.approx(np.mean(table[0]), abs=1e-12)
    assert scores["AP75_d2"] == pytest.approx(np.mean(table[5]), abs=1e-12)
    assert 0.05 < scores["AP_d2"] < scores["AP50_d2"] < 0.9


def literal_d2(truths: list[VocTruth], detections: list[Detections], label: int, threshold: float) -> float:
    """The definition in words, one detection at a time, through lines of text."""
    lines = [
        (image.image_id, f"{score:.3f}", *(f"{corner + 1:.1f}" for corner in box))
        for image in detections
        for box, score, found_label in zip(image.boxes, image.scores, image.labels, strict=True)
        if found_label == label
    ]
    lines.sort(key=lambda line: -float(line[1]))
    objects = {
        t.image_id: [
            ([corner + 1 for corner in box], bool(hard))
            for box, other, hard in zip(t.boxes.tolist(), t.labels, t.difficult, strict=True)
            if other == label
        ]
        for t in truths
    }
    n_objects = sum(not hard for rows in objects.values() for _, hard in rows)
    taken, hits, mistakes, curve = set(), 0, 0, []
    for image_id, _, *corners in lines:
        box = [float(corner) for corner in corners]
        best, which = -1.0, -1
        for n, (other, _) in enumerate(objects[image_id]):
            width = min(box[2], other[2]) - max(box[0], other[0]) + 1
            height = min(box[3], other[3]) - max(box[1], other[1]) + 1
            common = max(width, 0) * max(height, 0)
            areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (box, other)]
            if common / (sum(areas) - common) > best:
                best, which = common / (sum(areas) - common), n
        if best > threshold:
            if not objects[image_id][which][1]:
                if (image_id, which) in taken:
                    mistakes += 1
                else:
                    taken.add((image_id, which))
                    hits += 1
        else:
            mistakes += 1
        curve.append((hits / max(n_objects, 1), hits / max(hits + mistakes, 1)))
    return sum(max([p for r, p in curve if r >= k * 0.1], default=0) for k in range(11)) / 11 if n_objects else 0.0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mode", ["11points", "area"])
def test_equals_mmdet_eval_map(seed: int, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mean_ap = pytest.importorskip("mmdet.evaluation.functional.mean_ap")
    truths, detections = world(seed)
    n_classes = 5  # the last one is absent
    rows = [
        [np.column_stack([d.boxes[d.labels == c], d.scores[d.labels == c]]) for c in range(n_classes)]
        for d in detections
    ]
    annotations = [
        {
            "bboxes": t.boxes[~t.difficult],
            "labels": t.labels[~t.difficult],
            "bboxes_ignore": t.boxes[t.difficult],
            "labels_ignore": t.labels[t.difficult],
        }
        for t in truths
    ]
    name = "AP50_07" if mode == "11points" else "AP50_area"
    mine = voc_ap(truths, detections, n_classes)[name]

    def theirs() -> float:
        more: dict[str, Any] = {"iou_thr": 0.5, "use_legacy_coordinate": True, "eval_mode": mode}
        return float(mean_ap.eval_map(rows, annotations, logger="silent", nproc=1, **more)[0])

    assert mine == pytest.approx(theirs(), abs=1e-6), "mmdet adds up in float32"
    wide = types.SimpleNamespace(**{**vars(np), "float32": np.float64})
    monkeypatch.setattr(mean_ap, "np", wide)
    assert mine == pytest.approx(theirs(), abs=1e-9), "and agrees further once it adds in float64"
    assert 0.1 < mine < 0.95
