"""Confidences of segmenters while the sweep runs: bins of the softmax of their logits, small and exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from rtx.evaluation.scorers.segmentation import LOOKED_AT, IouScorer
from rtx.metrics.calibration import BINS

CLASSES = ("a", "b", "c")


def sample(name: str, logits: torch.Tensor, label: np.ndarray) -> SegDataSample:
    made = SegDataSample(metainfo={"img_path": f"{name}.png"})
    made.seg_logits = PixelData(data=logits)
    made.pred_sem_seg = PixelData(data=logits.argmax(0, keepdim=True))
    made.gt_sem_seg = PixelData(data=torch.from_numpy(label)[None])
    return made


def samples(n: int = 3, shape: tuple[int, int] = (37, 50)) -> list[SegDataSample]:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    labels = [np.where(rng.random(shape) < 0.1, 255, rng.integers(0, 3, shape)) for _ in range(n)]
    return [sample(str(i), 3 * torch.randn(3, *shape), label) for i, label in enumerate(labels)]


def block(rows: list[Any]) -> dict[str, Any]:
    scorer = IouScorer(CLASSES)
    for row in rows:
        scorer.process([row])
    return dict(scorer.diagnosis()["calibration"]["pixels"])


@pytest.mark.parametrize(("shape", "step"), [((37, 50), 1), ((150, 200), 5)])
def test_bins_hold_the_softmax_of_a_grid_of_pixels(shape: tuple[int, int], step: int) -> None:
    rows = samples(shape=shape)
    assert len(range(0, shape[0], step)) * len(range(0, shape[1], step)) < 2 * LOOKED_AT
    confidence, right = [], []
    for row in rows:
        high, guess = row.seg_logits.data[:, ::step, ::step].softmax(0).max(0)
        label = row.gt_sem_seg.data[0, ::step, ::step]
        confidence += high[label != 255].tolist()
        right += (guess == label)[label != 255].tolist()
    found = block(rows)
    assert found["n"] == len(confidence) and len(found["bins"]["count"]) == BINS
    place = np.minimum((np.array(confidence) * BINS).astype(int), BINS - 1)
    assert found["bins"]["count"] == np.bincount(place, minlength=BINS).tolist()
    gaps = np.bincount(place, np.array(confidence) - np.array(right), BINS)
    assert found["ECE"] == pytest.approx(np.abs(gaps).sum() / len(confidence), abs=1e-6)


def test_the_order_of_images_and_batches_changes_nothing() -> None:
    rows = samples()
    scorer = IouScorer(CLASSES)
    scorer.process(rows[::-1])
    assert scorer.diagnosis()["calibration"]["pixels"] == block(rows)


def test_a_reset_forgets_them() -> None:
    rows = samples()
    scorer = IouScorer(CLASSES)
    scorer.process(rows)
    scorer.reset()
    scorer.process(rows[:1])
    assert scorer.diagnosis()["calibration"]["pixels"] == block(rows[:1])


def without_logits(row: SegDataSample) -> SegDataSample:
    del row.seg_logits
    return row


def with_probabilities(row: SegDataSample) -> SegDataSample:
    row.seg_logits.data = row.seg_logits.data.softmax(0)
    return row


def with_other_labels(row: SegDataSample) -> SegDataSample:
    row.pred_sem_seg.data = (row.pred_sem_seg.data + 1) % 3
    return row


@pytest.mark.parametrize("change", [without_logits, with_probabilities, with_other_labels])
def test_what_are_no_logits_of_the_labels_are_not_taken_for_them(change: Any) -> None:
    rows = samples()
    assert "no logits" in block([*rows[:2], change(rows[2])])["undefined"]
