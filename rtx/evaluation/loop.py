"""Evaluate an OpenMMLab model under corruption: as one call, and as a hook that runs during or after training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import DATASETS, HOOKS, init_default_scope
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from rtx.corruptions import DEFAULT_ENGINE
from rtx.errors import BadValue, RunConflict
from rtx.evaluation.batches import loaders
from rtx.evaluation.bootstrap import RESAMPLES
from rtx.evaluation.card import choose, protocol_card
from rtx.evaluation.completion import complete
from rtx.evaluation.conditions import grid
from rtx.evaluation.events import OnEvent
from rtx.evaluation.repair import sound_cells
from rtx.evaluation.scorers import build_scorer
from rtx.evaluation.scores import Cell, CellFolder
from rtx.evaluation.share import Share, default_share
from rtx.evaluation.summary import with_interval
from rtx.evaluation.sweep import Job, run
from rtx.targets.corrupt import insert_corrupt, usual_place
from rtx.types import SEVERITIES, Condition


@dataclass(frozen=True)
class Plan:
    """An evaluation that is ready to run.

    Attributes:
        job: model, data, scorer, card and folder.
        conditions: the cells that are wanted, clean first.
    """

    job: Job
    conditions: tuple[Condition, ...]

    def cached(self) -> dict[Condition, Cell]:
        """The cells that are already there under this protocol, and whole.

        Raises:
            RunConflict: the folder belongs to another protocol.
        """
        return sound_cells(CellFolder(self.job.out, self.job.card), self.conditions, aside=False)

    def belongs_to_another(self) -> bool:
        """Whether the folder holds cells of another protocol."""
        try:
            CellFolder(self.job.out, self.job.card)
        except (RunConflict, BadValue):
            return True
        return False


def plan_evaluation(
    cfg: Config,
    model: nn.Module,
    out: Path,
    *,
    corruptions: Sequence[str] = ("benchmark",),
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    limit: int | None = None,
    batch_size: int = 1,
    workers: int | None = None,
    amp: bool = False,
    channels_last: bool = False,
    engine: str = DEFAULT_ENGINE,
    channel_order: str = "rgb",
    corruption_at: str | None = None,
    scorer: str | None = None,
    keep_predictions: bool = False,
    scoring: str = "auto",
    checkpoint: Path | None = None,
    labels: dict[str, Any] | None = None,
) -> Plan:
    """Build the test set and the scorer of a config, and the card of the evaluation they make.

    Args:
        cfg: the expanded config; its `test_dataloader` and `test_evaluator` are used.
        model: built from `cfg.model`, weights loaded, on its device.
        out: the output folder; nothing is written yet.
        corruptions: names and groups; the clean images are always evaluated.
        severities: 1 to 5.
        seed: decides the pixels and the subset of `limit`.
        limit: evaluate a seeded subset of this many images; every number is then labelled PREVIEW.
        batch_size: images a forward pass; a batch holds images of one padded shape.
        workers: loader processes; what suits the machine when None, see `rtx.evaluation.batches.loaders`.
        amp: autocast the forward pass.
        channels_last: the model's weights in that memory format, which some devices compute faster with.
        engine: which implementation makes the pixels.
        channel_order: `rgb`, or `bgr_legacy` to compare with published OpenMMLab numbers.
        corruption_at: where it acts, one of `rtx.targets.corrupt.PLACES`; the practice of the config's task when None.
        scorer: which COCO scorer counts, a key of `rtx.evaluation.coco_backends.BACKENDS`; the default when None.
        keep_predictions: write each cell's predictions too.
        scoring: where cells are scored: `inline`, `process` (beside the forward passes), or `auto`.
        checkpoint: the file the weights came from, for the card.
        labels: names shown in tables.

    Raises:
        BadValue, UnknownName: an option is out of range, or a test set or evaluator that rtx cannot score.
    """
    conditions = grid(corruptions, severities)
    if limit is not None and limit < 1:
        raise BadValue(f"--limit {limit}: must be 1 or more")
    init_default_scope(cfg.get("default_scope", "mmdet"))
    step = dict(type="Corrupt", seed=seed, channel_order=channel_order, engine=engine)
    place = corruption_at or usual_place(cfg.get("default_scope", "mmdet"))
    dataset = DATASETS.build(insert_corrupt(cfg.test_dataloader.dataset, step, place))
    if hasattr(dataset, "full_init"):
        dataset.full_init()
    metric = build_scorer(cfg.test_evaluator, dataset, backend=scorer)
    indices = choose(dataset, limit, seed)
    card = protocol_card(
        cfg,
        model,
        dataset,
        indices,
        metric.card(),
        seed=seed,
        channel_order=channel_order,
        corruption_at=place,
        engine=engine,
        limit=limit,
        amp=amp,
        channels_last=channels_last,
        checkpoint=checkpoint,
        labels=labels,
    )
    job = Job(
        model,
        dataset,
        metric,
        card,
        out,
        indices,
        batch_size=batch_size,
        workers=loaders(workers, model),
        amp=amp,
        channels_last=channels_last,
        keep_predictions=keep_predictions,
        scoring=scoring,
    )
    return Plan(job, conditions)


def evaluate_corruptions(
    cfg: Config,
    model: nn.Module,
    out: Path,
    *,
    overwrite: bool | None = False,
    share: Share | None = None,
    on_cell: Callable[[Cell, int, int], None] | None = None,
    on_event: OnEvent | None = None,
    resamples: int = RESAMPLES,
    **options: Any,
) -> dict[str, Any]:
    """Score a model on the clean and the corrupted test set of its config.

    Args:
        cfg: as in `plan_evaluation`, like every further option.
        model: as in `plan_evaluation`.
        out: the output folder; cells that it already holds under the same protocol are not evaluated again.
        overwrite: evaluate everything again, even in a folder of another run; None to do so in such a folder alone.
        share: how ranks share the cells; the running torch.distributed job when None.
        on_cell: called after each cell with (cell, number done here, number to do in all).
        on_event: called with what happens, see `rtx.evaluation.events`.
        resamples: resamplings of the images for the intervals, as many as of the command; seconds for 76 cells of 500
            images. 0 for none.
        options: see `plan_evaluation`.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        RtxError: see `plan_evaluation` and `rtx.evaluation.sweep.run`.
    """
    plan = plan_evaluation(cfg, model, out, **options)
    overwrite = plan.belongs_to_another() if overwrite is None else overwrite
    share = share or default_share()
    summary: dict[str, Any] = {}
    run(
        plan.job,
        plan.conditions,
        overwrite=overwrite,
        share=share,
        on_cell=on_cell,
        on_event=on_event,
        complete=lambda cells: summary.update(
            complete(plan.job, plan.conditions, cells, rank=share.rank, resamples=resamples)
        ),
    )
    return summary


@HOOKS.register_module()
class CorruptionEvalHook(Hook):
    """Evaluate under corruption after training, or also during it, in the run folder.

    Works with any config that has a `test_dataloader` and a COCO, VOC or mIoU `test_evaluator`, also with the stock
    OpenMMLab training tools: `custom_hooks = [dict(type="CorruptionEvalHook")]` with `custom_imports` naming
    `rtx.evaluation.loop`. Results lie in `<work_dir>/corruption_eval/`, with an interval in `epoch_<n>/` or `iter_<n>/`
    there.

    Args:
        interval: evaluate every so many epochs, or, where the train loop counts iterations, every so many of its
            `val_interval`s; and at the end in any case. 0 for once, after training.
        options: passed on to `evaluate_corruptions` (corruptions, severities, seed, limit, batch_size, workers,
            resamples, ...).

    Raises:
        BadValue: the interval is negative, or an option has no such name.
    """

    # After checkpoints are saved, so that a failure here cannot cost the weights.
    priority = "LOWEST"

    def __init__(self, interval: int = 0, **options: Any) -> None:
        known = (set(plan_evaluation.__kwdefaults__ or ()) | {"overwrite", "resamples"}) - {"checkpoint"}
        unknown = sorted(set(options) - known)
        if unknown:
            raise BadValue(f"CorruptionEvalHook has no option {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        if interval < 0:
            raise BadValue(f"CorruptionEvalHook interval={interval}: must be 0 (after training) or more")
        # A wrong name must be found before training, not after it.
        grid(options.get("corruptions", ("benchmark",)), options.get("severities", SEVERITIES))
        self.interval = interval
        self.options = options
        self._last: Path | None = None

    def before_train(self, runner: Runner) -> None:
        """Find out before training, not after it, that the test set cannot be scored."""
        cfg = runner.cfg
        if not cfg.get("test_dataloader") or not cfg.get("test_evaluator"):
            raise BadValue("CorruptionEvalHook: the config has no test_dataloader or no test_evaluator; add them")
        insert_corrupt(cfg.test_dataloader.dataset, dict(type="Corrupt"))

    def after_train_epoch(self, runner: Runner) -> None:
        """Evaluate when the interval says so, in epochs."""
        # A loop that counts iterations comes here once, at its end, and calls that an epoch.
        if self.interval and not _counts_iterations(runner) and self.every_n_epochs(runner, self.interval):
            self._evaluate(runner, _place(runner, "epoch", runner.epoch + 1))

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Evaluate when the interval says so, in validations."""
        if self.interval and _counts_iterations(runner):
            # Not counted from the validations that this process saw, so that a resumed run keeps the rhythm.
            if self.every_n_train_iters(runner, self.interval * runner.train_loop.val_interval):
                self._evaluate(runner, _place(runner, "iter", runner.iter + 1))

    def after_train(self, runner: Runner) -> None:
        """Evaluate the weights that training ends with, if the interval has not."""
        if not self.interval:
            self._evaluate(runner, Path(runner.work_dir) / "corruption_eval")
            return
        by_iter = _counts_iterations(runner)
        out = _place(runner, "iter", runner.iter) if by_iter else _place(runner, "epoch", runner.epoch)
        if out != self._last:
            self._evaluate(runner, out)

    def _evaluate(self, runner: Runner, out: Path) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        averaged = [hook for hook in runner.hooks if isinstance(hook, EMAHook)]
        for hook in averaged:
            hook.before_test_epoch(runner)
        try:
            # Where the weights have moved since an earlier run in this folder, its cells give way.
            summary = evaluate_corruptions(runner.cfg, model, out, **{"overwrite": None, **self.options})
        finally:
            for hook in averaged:
                hook.after_test_epoch(runner)
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


def _counts_iterations(runner: Runner) -> bool:
    return isinstance(runner.train_loop, IterBasedTrainLoop)


def _place(runner: Runner, unit: str, done: int) -> Path:
    return Path(runner.work_dir) / "corruption_eval" / f"{unit}_{done}"
