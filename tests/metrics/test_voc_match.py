"""Counts of VOC images add up: however images are shared out and put together again, AP is the same to the bit."""

from __future__ import annotations

import random

import numpy as np
import pytest

from rtx.errors import BadValue
from rtx.metrics.coco import Detections
from rtx.metrics.voc import COUNTED, counted_ap
from rtx.metrics.voc_match import THRESHOLDS, VocCounts, VocTruth
from rtx.results.evidence_file import to_bytes
from tests.metrics.scores import voc_ap, voc_evidence, voc_metric

CLASSES = 5


def tied_world(seed: int, n_images: int = 15) -> tuple[list[VocTruth], list[Detections]]:
    """Objects of four of five classes, and detections of which many share a score."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for image in range(n_images):
        n = int(rng.integers(0, 6))
        corner = rng.integers(0, 60, (n, 2))
        boxes = np.concatenate([corner, corner + rng.integers(0, 40, (n, 2))], axis=1).astype(np.float32)
        labels = rng.integers(0, CLASSES - 1, n)
        truths.append(VocTruth(f"{image:03d}", boxes, labels, rng.random(n) < 0.25))
        near = np.repeat(boxes, 3, axis=0) + rng.normal(0, rng.choice([0.0, 0.05, 4.0]), (3 * n, 4)).astype(np.float32)
        scores = (np.ceil(rng.random(3 * n) * 5) / 5).astype(np.float32)
        guesses = np.where(rng.random(3 * n) < 0.7, np.repeat(labels, 3), rng.integers(0, CLASSES, 3 * n))
        found.append(Detections(f"{image:03d}", near, scores, guesses))
    return truths, found


def put_together(parts: list[VocCounts], rng: random.Random) -> VocCounts:
    """Add up in pairs drawn at random until one is left."""
    while len(parts) > 1:
        first, second = (parts.pop(rng.randrange(len(parts))) for _ in range(2))
        parts.append(first + second)
    return parts[0]


@pytest.mark.parametrize("seed", range(6))
def test_any_parts_in_any_order_give_the_same_bits(seed: int) -> None:
    truths, found = tied_world(seed)
    whole = counted_ap(voc_metric(truths, found, CLASSES)._cell()[0])
    rankings = to_bytes(voc_evidence(truths, found, CLASSES))
    rng = random.Random(seed)
    for _ in range(5):
        pairs = list(zip(truths, found, strict=True))
        rng.shuffle(pairs)
        cuts = sorted(rng.sample(range(1, len(pairs)), rng.randint(0, 6)))
        parts = [pairs[a:b] for a, b in zip([0, *cuts], [*cuts, len(pairs)], strict=True)]
        counts = put_together(
            [VocCounts.merged((VocCounts.of(*pair, CLASSES) for pair in part), CLASSES) for part in parts], rng
        )
        assert counted_ap(counts) == whole, "equal to the last bit, not nearly"
        shuffled = zip(*pairs, strict=True)
        assert to_bytes(voc_evidence(*shuffled, CLASSES)) == rankings
    assert len(set(whole.values())) == len(COUNTED) and all(0 < value < 1 for value in whole.values())


def test_equal_scores_keep_the_order_of_names_and_of_the_detectors_list() -> None:
    box, far = [10.0, 10.0, 29.0, 29.0], [60.0, 60.0, 79.0, 79.0]
    truths = [VocTruth(name, np.array([box]), np.array([0]), np.array([False])) for name in "ab"]

    def ap(first: list[float], second: list[float]) -> float:
        boxes = {"a": [first, second], "b": [far]}
        found = [Detections(k, np.array(v), np.full(len(v), 0.5), np.zeros(len(v), int)) for k, v in boxes.items()]
        return voc_ap(truths, found[::-1], 1)["AP50_area"]

    assert ap(box, far) == 1 / 2, "a hit, then two mistakes"
    assert ap(far, box) == 1 / 4


def test_a_class_that_is_predicted_and_never_there_counts_as_each_definition_says() -> None:
    """In the evidence too: it holds mistakes of a class without an object."""
    truths = [VocTruth("a", np.array([[10.0, 10, 29, 29]]), np.array([0]), np.array([False]))]
    found = [Detections("a", np.array([[10.0, 10, 29, 29]] * 2), np.array([0.9, 0.8]), np.array([0, 1]))]
    scores = voc_ap(truths, found, 2)
    assert (scores["AP50_07"], scores["AP_d2"]) == (1, 1 / 2)
    evidence = voc_evidence(truths, found, 2)
    assert set(evidence.rankings) == {*THRESHOLDS, "coco_bbox"}
    assert evidence.rankings["mmdet"].starts.tolist() == [0, 1, 1], "no resampling can make its mistakes count"


def test_what_does_not_belong_together_is_refused() -> None:
    (truth, *_), (found, *_) = tied_world(0)
    one = VocCounts.of(truth, found, CLASSES)
    with pytest.raises(BadValue, match="'000' was scored twice"):
        one + one
    with pytest.raises(BadValue, match="over 4 and over 5 classes"):
        VocCounts(5) + VocCounts(4)
    assert (VocCounts(CLASSES) + one).images == one.images, "no image adds nothing"
    assert counted_ap(VocCounts(0)) == dict.fromkeys(COUNTED, 0.0)
