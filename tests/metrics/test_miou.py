from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rtx.errors import BadValue, DataError
from rtx.metrics import miou
from rtx.metrics.miou import NOTHING, MeanIoU, PixelCounts, class_accuracy, class_iou, scores


def count(*maps: Any, **options: Any) -> PixelCounts:
    return miou.count(*maps, **options)[0]


def maps(seed: int, n_classes: int, n_images: int = 6) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels in 10x10 patches, 70 % of pixels predicted right, some ignored; the last two classes never appear."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(n_images):
        shape = tuple(rng.integers(3, 7, 2))
        label = np.kron(rng.integers(0, n_classes - 2, shape), np.ones((10, 10), int)).astype(np.uint8)
        guess = rng.integers(0, n_classes - 2, label.shape)
        prediction = np.where(rng.random(label.shape) < 0.7, label, guess)
        label[rng.random(label.shape) < 0.1] = 255
        pairs.append((prediction, label))
    return pairs


def total(pairs: list[tuple[np.ndarray, np.ndarray]], n_classes: int) -> PixelCounts:
    counts = PixelCounts.empty(n_classes)
    for prediction, label in pairs:
        counts += count(prediction, label, n_classes)
    return counts


def test_a_case_worked_by_hand() -> None:
    label = np.array([[0, 0, 0, 1], [1, 1, 255, 255]])
    prediction = np.array([[0, 0, 1, 1], [1, 2, 0, 1]])
    counts = count(prediction, label, 4)
    assert class_iou(counts)[:3] == pytest.approx([2 / 3, 2 / 4, 0]), "class 2 is only predicted: a 0, not absent"
    assert math.isnan(class_iou(counts)[3])
    assert class_accuracy(counts)[:2] == pytest.approx([2 / 3, 2 / 3]) and np.isnan(class_accuracy(counts)[2:]).all()
    expected = {"mIoU": (2 / 3 + 1 / 2) / 3, "aAcc": 4 / 6, "mAcc": 2 / 3}
    assert scores(counts) == pytest.approx(expected, abs=1e-15)


def test_a_perfect_prediction_scores_one_and_ignored_pixels_do_not_exist() -> None:
    (prediction, label), *_ = maps(0, 8)
    right = np.where(label == 255, prediction, label)
    assert scores(count(right, label, 8)) == {"mIoU": 1, "aAcc": 1, "mAcc": 1}
    changed = np.where(label == 255, (prediction + 1) % 8, label)
    assert scores(count(changed, label, 8)) == {"mIoU": 1, "aAcc": 1, "mAcc": 1}


def test_it_is_the_score_of_all_pixels_and_not_the_mean_over_images() -> None:
    pairs = maps(1, 8)
    joined = tuple(np.concatenate([part.ravel() for part in side]) for side in zip(*pairs, strict=True))
    assert scores(total(pairs, 8)) == scores(count(*joined, 8)) == scores(total(pairs[::-1], 8))
    assert scores(total(pairs, 8)) == scores(total(pairs[:2], 8) + total(pairs[2:], 8))
    per_image = np.mean([scores(count(*pair, 8))["mIoU"] for pair in pairs])
    assert abs(per_image - scores(total(pairs, 8))["mIoU"]) > 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_any_parts_in_any_order_give_the_same_bits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = maps(seed, 6, 12)
    whole = scores(total(pairs, 6))
    for _ in range(5):
        parts = [count(*pairs[n], 6) for n in rng.permutation(len(pairs))]
        while len(parts) > 1:
            first = parts.pop(int(rng.integers(len(parts))))
            parts.append(first + parts.pop(int(rng.integers(len(parts)))))
        assert scores(parts[0]) == whole, "equal to the last bit"


def test_counts_stay_exact_beyond_single_precision() -> None:
    """2**24 + 1 pixels: the float32 sums that mmseg uses lose the last one."""
    many = PixelCounts(*(np.array([2**24, 0]) for _ in range(3)))
    one = count(np.zeros((1, 1), int), np.zeros((1, 1), int), 2)
    assert (many + one).labelled[0] == 2**24 + 1


def test_nothing_labelled_is_undefined() -> None:
    nothing = scores(count(np.zeros((4, 4), int), np.full((4, 4), 255), 3))
    assert all(math.isnan(value) for value in nothing.values())


def test_maps_that_do_not_fit_are_refused() -> None:
    zeros = np.zeros((4, 4), int)
    with pytest.raises(BadValue, match=r"a\.jpg: predictions of shape \(4, 4\) for labels of shape \(4, 5\)"):
        count(zeros, np.zeros((4, 5), int), 3, name="a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg: labels \[11\] are none of the 11 classes.*reduce_zero_label"):
        count(zeros, zeros + 11, 11, name="a.jpg")
    with pytest.raises(BadValue, match=r"predictions \[-1, 7\].*number of classes"):
        count(np.where(np.eye(4), 7, -1), zeros, 3)
    assert count(zeros, zeros + 11, 11, ignore_index=11).labelled.sum() == 0


@pytest.mark.parametrize("seed", range(3))
def test_equals_mmseg(seed: int) -> None:
    metrics = pytest.importorskip("mmseg.evaluation.metrics")
    torch = pytest.importorskip("torch")
    pairs, n_classes = maps(seed, 8), 8
    metric = metrics.IoUMetric()
    metric.dataset_meta = {"classes": [str(c) for c in range(n_classes)]}
    for prediction, label in pairs:
        data = {"pred_sem_seg": prediction, "gt_sem_seg": label.astype(int)}
        metric.process({}, [{k: {"data": torch.from_numpy(v)[None]} for k, v in data.items()}])
    theirs = metric.compute_metrics(metric.results)
    mine = scores(total(pairs, n_classes))
    assert set(theirs) == set(mine)
    for name, value in theirs.items():
        assert 100 * mine[name] == pytest.approx(value, abs=0.00501), "mmseg rounds percentages to 2 decimals"
    areas = [sum(part) for part in zip(*metric.results, strict=True)]
    full = metrics.IoUMetric.total_area_to_metrics(*areas)
    assert mine["mIoU"] == pytest.approx(float(np.nanmean(full["IoU"])), abs=1e-6)
    assert mine["mAcc"] == pytest.approx(float(np.nanmean(full["Acc"])), abs=1e-6)
    assert 0.3 < mine["mIoU"] < 0.9


@pytest.mark.parametrize("guess", [np.uint8, np.int32, np.int64, np.uint16])
@pytest.mark.parametrize("truth", [np.uint8, np.uint16, np.int64])
def test_counts_are_those_of_three_histograms_whatever_the_types(guess: type, truth: type) -> None:
    for prediction, label in maps(4, 8):
        found = count(prediction.astype(guess), label.astype(truth), 8)
        there = label != 255
        for values, counts in (
            (label[there & (prediction == label)], found.both),
            (prediction[there], found.predicted),
            (label[there], found.labelled),
        ):
            assert counts.dtype == np.int64 and (counts == np.bincount(values, minlength=8)).all()
        turned = count(prediction.T, label.T, 8)
        assert (turned.both == found.both).all(), "arrays need not lie in memory row by row"


def test_nothing_counts_for_no_prediction_and_is_told_even_where_labels_are_ignored() -> None:
    label = np.array([[0, 1, 255]], np.uint8)
    metric = MeanIoU(["a", "b"])
    metric.add("right", np.array([[0, 1, 0]]), label)
    assert metric.flags() == []
    metric.add("lost", np.array([[NOTHING, 1, 0]]), label)
    metric.add("ignored", np.array([[0, 1, NOTHING]]), label)
    assert metric.flags() != [] and "2" in metric.flags()[0]
    counts = count(np.array([[NOTHING, 1, 0]]), label, 2)
    assert (counts.both.tolist(), counts.predicted.tolist(), counts.labelled.tolist()) == ([0, 1], [0, 1], [1, 1])
