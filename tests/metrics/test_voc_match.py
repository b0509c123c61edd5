"""VOC AP and its evidence: the order in which images come changes no bit."""

from __future__ import annotations

import random

import numpy as np
import pytest

from rtx.metrics.coco import Detections
from rtx.metrics.voc import DEFINITIONS
from rtx.metrics.voc_match import THRESHOLDS, VocTruth
from rtx.results.arrays import to_bytes
from tests.metrics.scores import voc_ap, voc_evidence

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


@pytest.mark.parametrize("seed", range(6))
def test_images_in_any_order_give_the_same_bits(seed: int) -> None:
    truths, found = tied_world(seed)
    whole, rankings = voc_ap(truths, found, CLASSES), to_bytes(voc_evidence(truths, found, CLASSES))
    pairs = list(zip(truths, found, strict=True))
    for _ in range(3):
        random.Random(seed).shuffle(pairs)
        shuffled = list(zip(*pairs, strict=True))
        assert voc_ap(*shuffled, CLASSES) == whole, "equal to the last bit, not nearly"
        assert to_bytes(voc_evidence(*shuffled, CLASSES)) == rankings
    assert len(set(whole.values())) == len(DEFINITIONS) and all(0 < value < 1 for value in whole.values())


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
