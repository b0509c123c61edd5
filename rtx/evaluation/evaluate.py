"""Evaluate an OpenMMLab model under corruption, as one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from torch import nn

from rtx.corruptions import DEFAULT_ENGINE
from rtx.errors import BadValue, RunConflict
from rtx.evaluation.card import choose, protocol_card
from rtx.evaluation.finish import complete
from rtx.evaluation.pixels.corrupt import insert_corrupt, usual_place
from rtx.evaluation.scorers.build import build_scorer
from rtx.evaluation.sweep.batches import loaders
from rtx.evaluation.sweep.events import OnEvent
from rtx.evaluation.sweep.share import Share, default_share
from rtx.evaluation.sweep.sweep import Job, run
from rtx.results.cell import Cell, CellFolder
from rtx.results.conditions import grid
from rtx.results.intervals import RESAMPLES
from rtx.results.repair import sound_cells
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
        workers: loader processes; what suits the machine when None, see `rtx.evaluation.sweep.batches.loaders`.
        amp: autocast the forward pass.
        channels_last: the model's weights in that memory format, which some devices compute faster with.
        engine: which implementation makes the pixels.
        channel_order: `rgb`, or `bgr_legacy` to compare with published OpenMMLab numbers.
        corruption_at: where it acts, one of `rtx.evaluation.pixels.corrupt.PLACES`; the practice of the config's task
            when None.
        scorer: which COCO scorer counts, a key of `rtx.metrics.coco_backends.BACKENDS`; the default when None.
        keep_predictions: write each cell's predictions too.
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
        on_event: called with what happens, see `rtx.evaluation.sweep.events`.
        resamples: resamplings of the images for the intervals, as many as of the command; seconds for 76 cells of 500
            images. 0 for none.
        options: see `plan_evaluation`.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        RtxError: see `plan_evaluation` and `rtx.evaluation.sweep.sweep.run`.
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
