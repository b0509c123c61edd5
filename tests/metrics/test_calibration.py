"""Calibration errors: 0 where confidences are how often they are right, and known values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rtx.metrics.calibration import BINS, OUTSIDE, Bins, empty, of_classes
from rtx.metrics.coco import Detections
from rtx.metrics.coco_truth import read_truth
from tests.metrics.scores import coco_metric


def test_what_is_right_as_often_as_it_is_sure_has_no_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.random(200_000)
    right = rng.random(200_000) < confidence
    assert Bins.of(confidence, right, BINS).error < 0.01
    sure = Bins.of(np.sqrt(confidence), right, BINS)
    assert sure.error == pytest.approx(sure.gap) and sure.gap == pytest.approx(2 / 3 - 1 / 2, abs=0.01)


def test_bins_by_hand() -> None:
    """Guo et al. (2017), equation 3: two predictions of .9, one right; two of .6, both right; one of 1, wrong."""
    bins = Bins.of(np.array([0.9, 0.9, 0.6, 0.6, 1.0]), np.array([1, 0, 1, 1, 0]), 10)
    assert bins.count.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 0, 3]
    assert bins.error == pytest.approx((abs(1.2 - 2) + abs(2.8 - 1)) / 5)
    assert bins.gap == pytest.approx((4 - 3) / 5)


def test_bins_add_up_and_neither_order_nor_parts_matter() -> None:
    rng = np.random.default_rng(1)
    confidence = rng.random(999).astype(np.float32)
    right = rng.random(999) < 0.5
    whole, order = Bins.of(confidence, right, BINS), rng.permutation(999)
    parts = sum((Bins.of(confidence[part], right[part], BINS) for part in np.array_split(order, 7)), empty())
    assert (parts.count == whole.count).all() and parts.error == pytest.approx(whole.error, abs=1e-12)


def test_nothing_has_no_error() -> None:
    assert np.isnan(empty().error) and of_classes(empty())["ECE"] is None


def block(scores: list[float], shifts: list[float], labels: list[int] | None = None) -> dict[str, float]:
    """Detections of 10 x 10 objects, one an image, each moved to the right by so many pixels."""
    n = len(scores)
    labels = labels or [0] * n
    rows = [{"id": i, "image_id": i, "category_id": 0, "bbox": [10, 10, 10, 10]} for i in range(n)]
    truth = read_truth(
        {
            "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(n)],
            "categories": [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}],
            "annotations": rows,
        }
    )
    found = [
        Detections(i, np.array([[10.0 + shift, 10, 20 + shift, 20]]), np.array([score]), np.array([label]))
        for i, (score, shift, label) in enumerate(zip(scores, shifts, labels, strict=True))
    ]
    return dict(coco_metric(truth, found, (0, 1)).diagnosis()["calibration"]["bbox"])


def test_detections_by_hand() -> None:
    """A hit of .9 and IoU 1, a mistake of .5 and IoU 1/3, and one below .3 that does not count."""
    found = block([0.9, 0.5, 0.2], [0, 5, 0])
    assert found["n"] == 2
    assert found["D-ECE"] == pytest.approx((0.1 + 0.5) / 2)
    assert found["LaECE"] == pytest.approx((0.1 + (0.5 - 1 / 3)) / 2), "at IoU .1 the second is a hit, of IoU 1/3"
    assert found["gap"] == pytest.approx(0.7 - 0.5)


def test_classes_count_alike_in_laece_and_those_without_objects_not_at_all() -> None:
    found = block([0.9, 0.9, 0.5], [0, 0, 0], [0, 0, 1])
    assert found["D-ECE"] == pytest.approx((2 * 0.1 + 0.5) / 3)
    assert found["LaECE"] == pytest.approx(0.1)


def test_scores_that_are_no_confidences_are_not_counted() -> None:
    assert block([90.0, 50.0], [0, 0]) == {"version": "rtx.calibration/1", "undefined": OUTSIDE}


def test_no_detection_leaves_it_undefined() -> None:
    found = block([0.1], [0])
    assert found["D-ECE"] is None and found["LaECE"] is None and found["n"] == 0


def test_a_classifier_by_hand() -> None:
    from rtx.metrics.accuracy import Accuracy, best

    metric = Accuracy(2, topk=(1,))
    for name, scores, label in (("a", [0.9, 0.1], 0), ("b", [0.2, 0.8], 0), ("c", [np.nan, 0.8], 0)):
        metric.add(best(name, np.array(scores), kept=2), label)
    found = metric.diagnosis()["calibration"]["classes"]
    assert found["n"] == 2, "an image whose scores are no numbers has no confidence"
    assert found["ECE"] == pytest.approx((0.1 + 0.8) / 2) and found["gap"] == pytest.approx(1.7 / 2 - 1 / 2)


def test_logits_of_a_classifier_go_through_a_softmax_if_one_image_shows_that_they_are_logits() -> None:
    from rtx.metrics.accuracy import Accuracy, best

    rows = [np.array([0.9, 0.2, 0.1]), np.array([4.0, -1.0, 2.0])]
    metric = Accuracy(3, topk=(1,))
    for n, scores in enumerate(rows):
        metric.add(best(str(n), scores), 0)
    sure = [float(np.exp(scores - scores.max())[0] / np.exp(scores - scores.max()).sum()) for scores in rows]
    found = metric.diagnosis()["calibration"]["classes"]
    assert found["ECE"] == pytest.approx(sum(1 - value for value in sure) / 2)


@pytest.mark.parametrize(("scores", "reason"), [([9.0, -3.0], "outside"), ([np.nan] * 2, "hold no scores")])
def test_logits_and_files_without_scores_have_no_calibration_error(scores: list[float], reason: str) -> None:
    from rtx.metrics.accuracy import Accuracy, Guess

    metric = Accuracy(2, topk=(1,))
    metric.add(Guess("a", np.array([0, 1]), np.array(scores)), 0)
    assert reason in metric.diagnosis()["calibration"]["classes"]["undefined"]
