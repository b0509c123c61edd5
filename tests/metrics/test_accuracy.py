"""Accuracy: mmpretrain's numbers, ranks that add up, and classifiers that say nothing usable."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rtx.errors import BadValue, DataError
from rtx.evaluation.scorers.build import build_scorer
from rtx.evaluation.scorers.classification import AccuracyScorer, image_name
from rtx.metrics.accuracy import MISS, accuracies, best, rank_evidence, rank_of
from rtx.metrics.per_image import RankEvidence
from rtx.results import arrays as evidence
from rtx.results.predictions import guesses_to_bytes, read_guesses
from rtx.results.resample import draw
from rtx.results.resample import scores as resampled

torch = pytest.importorskip("torch")

NAMES = [str(n) for n in range(12)]
DATASET: Any = SimpleNamespace(metainfo={"classes": NAMES}, img_prefix="val")


def samples(n: int, seed: int = 0, *, ties: bool = False) -> list[Any]:
    from mmpretrain.structures import DataSample

    rng = np.random.default_rng(seed)
    found = []
    for image in range(n):
        label = int(rng.integers(len(NAMES)))
        logits = rng.normal(size=len(NAMES)) + 1.5 * (np.arange(len(NAMES)) == label)
        logits = np.round(logits) if ties else logits
        sample = DataSample(metainfo={"img_path": f"val/{label}/{image}.jpg"}).set_gt_label(label)
        found.append(sample.set_pred_score(torch.softmax(torch.tensor(logits), 0).float()))
    return found


def scorer(rows: list[Any], **evaluator: Any) -> AccuracyScorer:
    made = AccuracyScorer.from_config({"type": "Accuracy", "topk": (1, 5), **evaluator}, DATASET)
    made.keep = True
    for n in range(0, len(rows), 4):
        made.process(rows[n : n + 4])
    return made


def test_the_mean_over_classes_is_macro_recall_whatever_the_batches() -> None:
    from mmpretrain.evaluation import SingleLabelMetric

    rows = [row for row in samples(400, 3) if int(row.gt_label) or "7" in row.img_path] + samples(400, 4)[:50]
    for n, row in enumerate(rows):
        row.set_metainfo({"img_path": f"val/{int(row.gt_label)}/{n}.jpg"})
    asked = {"type": "SingleLabelMetric", "items": ("recall",), "average": "macro"}
    made = build_scorer(asked, DATASET)
    assert made.headline == "mean_class_accuracy" and made.card()["headline"] == "mean_class_accuracy"
    made.process(rows)
    labels = torch.tensor([int(row.gt_label) for row in rows])
    scores = torch.stack([row.pred_score for row in rows])
    theirs = float(SingleLabelMetric.calculate(scores, labels, average="macro", num_classes=12)[0][1])
    found = made.compute()
    assert found["mean_class_accuracy"] * 100 == pytest.approx(theirs, abs=1e-4)
    assert found["mean_class_accuracy"] != found["accuracy_top1"], "the classes are of unequal size"
    other = build_scorer({"type": "SingleLabelMetric", "items": ["recall"]}, DATASET)
    for n in range(len(rows)):
        other.process(rows[-1 - n : len(rows) - n])
    assert other.compute() == found
    assert "headline" not in scorer(rows).card(), "earlier evaluations keep their protocol"
    for wrong in ({"items": ("recall", "f1-score")}, {"items": ("recall",), "average": None}, {}):
        with pytest.raises(BadValue, match="the accuracy averaged over classes"):
            build_scorer({"type": "SingleLabelMetric", **wrong}, DATASET)


def test_accuracy_equals_mmpretrains() -> None:
    from mmpretrain.evaluation import Accuracy

    rows = samples(200)
    for row in rows[:40]:
        row.pred_score[:] = torch.eye(12)[5]  # all but one are 0, which mmpretrain takes for no guess
    target = torch.tensor([int(row.gt_label) for row in rows])
    theirs = Accuracy.calculate(torch.stack([row.pred_score for row in rows]), target, topk=(1, 3, 5))
    mine = scorer(rows, topk=(1, 3, 5)).compute()
    for n, k in enumerate((1, 3, 5)):
        assert mine[f"accuracy_top{k}"] == pytest.approx(float(theirs[n][0]) / 100, abs=1e-6)
    by_class = [float(np.mean([r.pred_score.argmax() == c for r in rows if r.gt_label == c])) for c in range(12)]
    assert mine["mean_class_accuracy"] == pytest.approx(np.mean(by_class), abs=1e-12)
    assert list(mine) == ["accuracy_top1", "accuracy_top3", "accuracy_top5", "mean_class_accuracy"]


def test_the_order_of_images_and_ties_change_nothing() -> None:
    rows = samples(60, ties=True)
    one, other = scorer(rows), scorer(rows[::-1])
    assert one.compute() == other.compute() and one.predictions() == other.predictions()
    assert evidence.to_bytes(one.evidence()) == evidence.to_bytes(other.evidence())
    assert best("a", np.array([1.0, 2.0, 2.0])).labels.tolist() == [1, 2, 0], "the lower class first"


@pytest.mark.parametrize("metric", ["accuracy_top1", "accuracy_top5", "mean_class_accuracy"])
def test_resampling_equals_scoring_the_drawn_images(metric: str, tmp_path: Path) -> None:
    found = scorer(samples(40)).evidence()
    evidence.save(tmp_path / "clean.npz", found, key="k", condition="clean")
    kept = evidence.load(tmp_path / "clean.npz", key="k")
    assert isinstance(kept, RankEvidence) and kept.metrics == found.metrics
    weights = draw(40, 30)
    fast = resampled(kept, weights, metric)
    slow = [accuracies(np.repeat(found.labels, w), np.repeat(found.ranks, w))[metric] for w in weights]
    assert fast == pytest.approx(slow, abs=1e-12) and len(set(fast.round(6).tolist())) > 5
    whole = np.ones((1, 40), np.uint16)
    assert resampled(kept, whole, metric)[0] == pytest.approx(scorer(samples(40)).compute()[metric], abs=1e-15)


def test_a_prediction_that_is_no_number_is_a_miss_with_a_flag() -> None:
    rows = samples(30)
    right = [row for row in rows if row.pred_score.argmax() == row.gt_label]
    before = scorer(rows)
    assert before.flags() == []
    right[0].pred_score[2], right[1].pred_score[3] = math.nan, math.inf
    after = scorer(rows)
    assert after.flags() == ["2 images with non-finite predictions"]
    assert after.compute()["accuracy_top1"] == pytest.approx(before.compute()["accuracy_top1"] - 2 / 30, abs=1e-12)
    assert sorted(after.evidence().ranks)[-2:] == [MISS, MISS]
    after.reset()
    after.process(samples(3))
    assert after.flags() == []


def test_kept_guesses_give_the_ranks_again(tmp_path: Path) -> None:
    made = scorer(samples(50))
    suffix, content = made.predictions()
    path = tmp_path / f"clean{suffix}"
    path.write_bytes(content)
    found, classes = read_guesses(path)
    assert classes == NAMES and found[0].scores.tolist() == sorted(found[0].scores.tolist(), reverse=True)
    rows = [(g.image, int(g.image.split("/")[0]), rank_of(g, int(g.image.split("/")[0]))) for g in found]
    assert accuracies(*(np.array(c) for c in list(zip(*rows, strict=True))[1:])) == made.compute()
    path.write_bytes(content[:50])
    with pytest.raises(BadValue, match="not an rtx file of guesses"):
        read_guesses(path)
    assert guesses_to_bytes([], NAMES) and rank_evidence([], [1]).image_ids == ()


def test_what_does_not_fit_is_named() -> None:
    rows = samples(2)
    with pytest.raises(BadValue, match=r"image '.*/0' was scored twice"):
        scorer([rows[0], rows[0]])
    rows[0].pred_score = rows[0].pred_score[:7]
    with pytest.raises(BadValue, match="7 class scores for a data set of 12 classes"):
        scorer(rows[:1])
    rows[1].set_gt_label([1, 2])
    with pytest.raises(DataError, match="has 2 labels"):
        scorer(rows[1:])
    with pytest.raises(BadValue, match="one threshold"):
        scorer(rows, thrs=(0.0, 0.5))
    with pytest.raises(BadValue, match=r"the model returned no pred_score"):
        bare = samples(1)
        del bare[0].pred_score
        scorer(bare)
    with pytest.raises(BadValue, match="top-20 accuracy of 12 classes"):
        scorer(samples(1), topk=(1, 20))
    assert image_name("/data/val/cat/1.b.jpg", "/data/val/") == "cat/1.b" and image_name("x/cat/1.jpg", "") == "cat/1"


def test_kept_and_foreign_classifications_score_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rtx.cli.main import main

    rows = samples(40)
    made = scorer(rows)
    for row in rows:
        path = tmp_path / row.img_path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    for name in NAMES:
        (tmp_path / "val" / name).mkdir(exist_ok=True)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/clean.npz").write_bytes(made.predictions()[1])
    lines = [
        f"{row.img_path[4:]},{','.join(str(int(n)) for n in row.pred_score.argsort(descending=True)[:5])}\n"
        for row in rows
    ]
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv/clean.csv").write_text("".join(lines))
    for kind in ("kept", "csv"):
        command = ["score", str(tmp_path / kind), "--class-folders", str(tmp_path / "val"), "--resamples", "9"]
        assert main([*command, "--out", str(tmp_path / f"out_{kind}")]) == 0
        summary = json.loads((tmp_path / f"out_{kind}/summary.json").read_text())
        assert summary["cells"]["clean"]["metrics"] == made.compute() and summary["metric"] == "accuracy_top1"
    for text, message in (
        (lines[0], "lacks 39 of the 40 evaluated images"),
        ("x/1.jpg,0,1,2,3,4\n", "image 'x/1' is not in"),
        (lines[0].replace(",", ",z", 1), "class 'z"),
        (lines[0][:-3] + "\n", "needs 5 different classes behind it"),
        (lines[0] * 2, "is there twice"),
    ):
        (tmp_path / "csv/clean.csv").write_text(text)
        capsys.readouterr()
        assert main([*command, "--out", str(tmp_path / "bad")]) == 2 and message in capsys.readouterr().err
