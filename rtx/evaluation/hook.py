"""Evaluate under corruption during or after training, as a hook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from rtx.datasets.openmmlab.checks import check_data
from rtx.errors import BadValue
from rtx.evaluation.evaluate import evaluate, tested_set
from rtx.evaluation.models.load import check_classes
from rtx.evaluation.pixels.made import Made
from rtx.evaluation.protocol import Protocol
from rtx.evaluation.scorers.build import build_scorer
from rtx.evaluation.sweep.share import buffers_of_rank_0
from rtx.results.folder import INSIDE_RUN
from rtx.results.summary import with_interval
from rtx.transfer.guard import bare


@HOOKS.register_module()
class CorruptionEvalHook(Hook):
    """Evaluate under corruption after training, or also during it, in the run folder.

    Works with any config that has a `test_dataloader` and a COCO, VOC or mIoU `test_evaluator`, also with the stock
    OpenMMLab training tools: `custom_hooks = [dict(type="CorruptionEvalHook")]` with `custom_imports` naming
    `rtx.evaluation.hook`. Results lie in `<work_dir>/corruption_eval/`, with an interval in `epoch_<n>/` or `iter_<n>/`
    there.

    Args:
        interval: evaluate every so many epochs, or, where the train loop counts iterations, every so many of its
            `val_interval`s; and at the end in any case. 0 for once, after training.
        labels, shifts: see `rtx.evaluation.evaluate.evaluate`.
        overwrite: see there; by default the cells of other weights give way, those of an earlier run in this folder.
        options: fields of `rtx.evaluation.protocol.Protocol` (corruptions, severities, limit, batch_size, ...).

    Raises:
        BadValue: the interval is negative, or an option has no such name.
    """

    # After checkpoints are saved, so that a failure here cannot cost the weights.
    priority = "LOWEST"

    def __init__(
        self,
        interval: int = 0,
        *,
        labels: Mapping[str, Any] | None = None,
        shifts: Mapping[str, str] | None = None,
        overwrite: bool | None = None,
        **options: Any,
    ) -> None:
        if interval < 0:
            raise BadValue(f"CorruptionEvalHook interval={interval}: must be 0 (after training) or more")
        # A wrong name must be found before training, not after it. Single images unless others are asked for: beside a
        # training there is little memory, and no time for a probe at each interval.
        self.protocol = Protocol(batch_size=1).with_options(options)
        self.interval, self.labels, self.shifts, self.overwrite = interval, labels, shifts, overwrite
        self._last: Path | None = None

    def before_train(self, runner: Runner) -> None:
        """Find out before training, not after it, that the test set cannot be scored."""
        cfg = runner.cfg
        if not cfg.get("test_dataloader") or not cfg.get("test_evaluator"):
            raise BadValue("CorruptionEvalHook: the config has no test_dataloader or no test_evaluator; add them")
        if is_main_process():
            check_data(cfg, splits=("train", "val"))
        dataset = tested_set(cfg, Made().dataset(cfg, self.protocol))
        check_trained_on(runner, dataset)
        build_scorer(cfg.test_evaluator, dataset)

    def after_train_epoch(self, runner: Runner) -> None:
        """Evaluate every `interval` epochs."""
        # A loop that counts iterations comes here once, at its end, and calls that an epoch.
        if self.interval and not _counts_iterations(runner) and self.every_n_epochs(runner, self.interval):
            self._evaluate(runner, _place(runner, "epoch", runner.epoch + 1))

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Evaluate every `interval` validations."""
        if self.interval and _counts_iterations(runner):
            # Not counted from the validations that this process saw, so that a resumed run keeps the rhythm.
            if self.every_n_train_iters(runner, self.interval * runner.train_loop.val_interval):
                self._evaluate(runner, _place(runner, "iter", runner.iter + 1))

    def after_train(self, runner: Runner) -> None:
        """Evaluate the weights that training ends with, if the interval has not."""
        if not self.interval:
            self._evaluate(runner, Path(runner.work_dir) / INSIDE_RUN)
            return
        by_iter = _counts_iterations(runner)
        out = _place(runner, "iter", runner.iter) if by_iter else _place(runner, "epoch", runner.epoch)
        if out != self._last:
            self._evaluate(runner, out)

    def _evaluate(self, runner: Runner, out: Path) -> None:
        with tested_model(runner) as model:
            given: dict[str, Any] = dict(labels=self.labels, shifts=self.shifts, overwrite=self.overwrite)
            summary = evaluate(model, runner.cfg, out, self.protocol, **given)
        self._last = out
        name = summary["metric"]
        line = {f"corrupted/{name}/{key}": summary[key] for key in ("P", "mPC", "rPC") if summary[key] is not None}
        runner.visualizer.add_scalars(line, step=runner.iter)
        runner.logger.info(
            "%sunder corruption: %s P %s, %s %s, rPC %s (%s)",
            "PREVIEW " if summary["preview"] else "",
            name,
            with_interval(summary, "P"),
            summary["label"],
            with_interval(summary, "mPC"),
            with_interval(summary, "rPC"),
            out,
        )


def check_trained_on(runner: Runner, dataset: Any) -> None:
    """Refuse to train on other classes than the test set's, or on the same in another order.

    Raises:
        BadValue: see `rtx.evaluation.models.load.check_classes`.
    """
    trained = getattr(runner.train_dataloader.dataset, "metainfo", {}).get("classes") or ()
    check_classes(trained, getattr(dataset, "metainfo", {}).get("classes") or (), "the model")


@contextmanager
def tested_model(runner: Runner) -> Iterator[nn.Module]:
    """The model as a test sees it: with the averaged weights, where the run averages them, and alike on all ranks."""
    averaged = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
    for hook in averaged:
        hook.before_test_epoch(runner)
    try:
        with buffers_of_rank_0(bare(runner.model)):
            yield bare(runner.model)
    finally:
        for hook in averaged:
            hook.after_test_epoch(runner)


def _counts_iterations(runner: Runner) -> bool:
    return isinstance(runner.train_loop, IterBasedTrainLoop)


def _place(runner: Runner, unit: str, done: int) -> Path:
    return Path(runner.work_dir) / INSIDE_RUN / f"{unit}_{done}"
