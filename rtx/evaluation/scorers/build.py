"""Score the predictions of OpenMMLab models at full precision, from the evaluator that their config names.

The configs keep the stock evaluators, so they stay valid for the stock tools. Here `CocoMetric`, `VOCMetric`,
`IoUMetric`, `Accuracy` and `SingleLabelMetric` say what to score; the numbers come from `rtx.metrics`, which does not
round, and which gives a score to a model that predicts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtx.errors import BadValue, unknown_name
from rtx.evaluation.scorers.base import Scorer
from rtx.evaluation.scorers.classification import AccuracyScorer, MacroRecallScorer
from rtx.evaluation.scorers.detection import CocoScorer, VocScorer
from rtx.evaluation.scorers.segmentation import IouScorer

SCORERS: dict[str, type[Scorer]] = {
    "CocoMetric": CocoScorer,
    "FolderCocoMetric": CocoScorer,
    "VOCMetric": VocScorer,
    "IoUMetric": IouScorer,
    "Accuracy": AccuracyScorer,
    "SingleLabelMetric": MacroRecallScorer,
}
"""Evaluator type in a config -> what scores it here."""


def build_scorer(evaluator: Any, dataset: Any) -> Scorer:
    """Make the scorer for a config's `test_evaluator`.

    Args:
        evaluator: the `test_evaluator` entry: a dict, or a list with one.
        dataset: the built test set; it gives the classes, and for VOC the ground truth.

    Raises:
        UnknownName: rtx has no scorer for this evaluator, or no such metric.
        BadValue: there is not exactly one evaluator, or it asks for something else than the standard metric; or the
            test set leaves images out as for training.
        DataError: the ground truth cannot be read.
    """
    name, entry = _only(evaluator)
    if entry.get("format_only"):
        raise BadValue(f"{name} has format_only=True, so there is no ground truth to score against; remove it")
    if getattr(dataset, "test_mode", True) is False and getattr(dataset, "filter_cfg", None):
        raise BadValue(
            f"the test set has filter_cfg={dict(dataset.filter_cfg)!r} and no test_mode=True, so that it leaves images "
            "out as for training; set test_dataloader.dataset.test_mode=True"
        )
    return SCORERS[name].from_config(entry, dataset)


def scorer_class(evaluator: Any) -> type[Scorer]:
    """What scores a config's `test_evaluator`.

    Raises:
        UnknownName: rtx has no scorer for this evaluator.
        BadValue: there is not exactly one evaluator.
    """
    return SCORERS[_only(evaluator)[0]]


def _only(evaluator: Any) -> tuple[str, Mapping[str, Any]]:
    """The name and the entry of the one evaluator of a config."""
    entries = list(evaluator) if isinstance(evaluator, list | tuple) else [evaluator]
    if len(entries) != 1 or not isinstance(entries[0], Mapping):
        raise BadValue(f"test_evaluator must be one evaluator, got {evaluator!r}; name one of {', '.join(SCORERS)}")
    kind = entries[0].get("type")
    name = kind.rpartition(".")[2] if isinstance(kind, str) else getattr(kind, "__name__", repr(kind))
    if name not in SCORERS:
        raise unknown_name("test_evaluator type", name, place="rtx.evaluation.scorers.build.SCORERS", choices=SCORERS)
    return name, entries[0]
