"""Predictions that are NaN or infinite count as not made, and the cell says so."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmdet")
pytest.importorskip("mmseg")

from mmengine.structures import PixelData  # noqa: E402

from rtx.evaluation.evaluate import evaluate  # noqa: E402
from rtx.evaluation.scorers.build import build_scorer  # noqa: E402
from rtx.metrics import miou  # noqa: E402
from rtx.results.predictions import read_detections, read_maps  # noqa: E402
from tests.evaluation.scorers.samples import (  # noqa: E402
    COCO,
    IOU,
    VOC,
    LabelledSet,
    coco_samples,
    scored,
    seg_samples,
    voc_samples,
)
from tests.evaluation.stand_in import PixelDetector, coco_config  # noqa: E402


def spoil(samples: list[Any], value: float, places: list[tuple[int, int, str]]) -> list[Any]:
    """Copies with one number of (image, detection, field) replaced, and copies without those detections."""
    broken, dropped = [s.clone() for s in samples], [s.clone() for s in samples]
    for image, row, name in places:
        field = broken[image].pred_instances[name] = broken[image].pred_instances[name].clone()
        field.view(len(field), -1)[row, -1] = value
    for image in {image for image, *_ in places}:
        gone = {row for other, row, _ in places if other == image}
        pred = dropped[image].pred_instances
        dropped[image].pred_instances = pred[[n for n in range(len(pred)) if n not in gone]]
    return [broken, dropped]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_such_detections_are_dropped_and_their_images_counted(coco_set: Any, value: float, tmp_path: Path) -> None:
    scorer = build_scorer(COCO, coco_set)
    broken, dropped = spoil(coco_samples(coco_set), value, [(0, 1, "scores"), (0, 2, "bboxes"), (2, 0, "bboxes")])
    mine = scored(scorer, broken)
    assert scorer.flags() == ["2 images with non-finite predictions"]
    suffix, content = scorer.predictions()
    expected = scored(scorer, dropped)
    assert scorer.flags() == [] and mine == pytest.approx(expected, abs=0, nan_ok=True)
    (tmp_path / f"a{suffix}").write_bytes(content)
    assert sum(d.broken for d in read_detections(tmp_path / "a.npz")[0]) == 2
    assert sum(len(d.scores) for d in read_detections(tmp_path / "a.npz")[0]) == sum(
        len(s.pred_instances) for s in dropped
    )


def test_voc_and_a_model_that_gives_nothing_else(voc_set: Any) -> None:
    scorer = build_scorer(VOC, voc_set)
    samples = voc_samples(voc_set)
    broken, dropped = spoil(samples, math.nan, [(1, 0, "scores")])
    assert scored(scorer, broken) == scored(build_scorer(VOC, voc_set), dropped)
    assert scorer.flags() == ["1 image with non-finite predictions"]
    for sample in samples:
        sample.pred_instances.scores[:] = math.nan
    assert set(scored(scorer, samples).values()) == {0}
    assert scorer.flags() == ["no predictions", "4 images with non-finite predictions"]


def test_pixels_without_a_usable_score_are_predicted_as_nothing(tmp_path: Path) -> None:
    scorer, samples = build_scorer(IOU, LabelledSet()), seg_samples(4)
    scorer.keep = True
    expected = [miou.PixelCounts.empty(4)]
    for n, sample in enumerate(samples):
        label, prediction = sample.gt_sem_seg.data[0], sample.pred_sem_seg.data[0]
        logits = torch.nn.functional.one_hot(prediction, 4).permute(2, 0, 1).float()
        logits[3, 5] = -math.inf  # a class that a model rules out is no fault
        if n in (1, 3):
            logits[2, 4:9, 3:8] = math.nan if n == 1 else math.inf
        sample.seg_logits = PixelData(data=logits)
        hit = np.ones(label.shape, bool)
        if n in (1, 3):
            hit[4:9, 3:8] = False
        counted, p, t = (label != 255).numpy(), prediction.numpy(), label.numpy()
        parts = [
            np.bincount(a[m], minlength=4) for a, m in ((t, counted & hit & (p == t)), (p, counted & hit), (t, counted))
        ]
        expected.append(expected[-1] + miou.PixelCounts(*parts))
    assert scored(scorer, samples) == miou.scores(expected[-1])
    assert scorer.flags() == ["2 images with non-finite predictions"]
    (tmp_path / "a.zip").write_bytes(scorer.predictions()[1])
    kept = dict(read_maps(tmp_path / "a.zip"))
    assert (kept["1"][4:9, 3:8] == miou.NOTHING).all() and (kept["1"] == miou.NOTHING).sum() == 25
    assert kept["0"].max() < 4


class Diverging(PixelDetector):
    """NaN scores in images that are mostly bright."""

    def _predict(self, image: Any, sample: Any) -> Any:
        sample = super()._predict(image, sample)
        if image.float().mean() > 100:
            sample.pred_instances.scores[:] = math.nan
        return sample


def test_the_cell_and_the_table_say_it(made_coco: Path, tmp_path: Path) -> None:
    options = dict(corruptions=["brightness"], severities=[5], workers=0)
    summary = evaluate(Diverging(), coco_config(made_coco), tmp_path, **options)
    flags = summary["cells"]["brightness_5"]["flags"]
    assert summary["cells"]["clean"]["flags"] == [] and any("with non-finite predictions" in flag for flag in flags)
    assert "with non-finite predictions" in (tmp_path / "table.md").read_text()
