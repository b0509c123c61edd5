"""`evaluate`: P, mPC and rPC of any model on any data, as one call."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.registry import DATASETS, init_default_scope
from torch import nn

from rtx.datasets.layout import data_name
from rtx.datasets.openmmlab.checks import check_data
from rtx.datasets.openmmlab.view_step import view_of, with_view
from rtx.engines import Engine
from rtx.errors import BadValue, RunConflict
from rtx.evaluation.card import (
    choose,
    computing_card,
    config_sha256,
    data_card,
    how_trained,
    model_card,
    plain,
    size_card,
)
from rtx.evaluation.inputs import Inputs
from rtx.evaluation.models.adapter import Adapter
from rtx.evaluation.models.adapter_data import Tested, adapter_test
from rtx.evaluation.models.load import check_classes, check_one_view
from rtx.evaluation.norm_adaptation import NormAdaptation
from rtx.evaluation.pixels.attacked import Attacked
from rtx.evaluation.pixels.made import Made
from rtx.evaluation.pixels.random_steps import check_not_random
from rtx.evaluation.pixels.stored import Stored
from rtx.evaluation.protocol import Protocol
from rtx.evaluation.scorers.build import build_scorer
from rtx.evaluation.shifts import Shifts, mine, shift_jobs, with_shifts
from rtx.evaluation.sweep.adapt import norms_of
from rtx.evaluation.sweep.batches import device_of, loaders
from rtx.evaluation.sweep.events import OnEvent
from rtx.evaluation.sweep.locks import Shard, driving
from rtx.evaluation.sweep.remote import cells_on
from rtx.evaluation.sweep.scoring import complete
from rtx.evaluation.sweep.share import Share, default_share, part
from rtx.evaluation.sweep.sweep import Job, OnCell, run
from rtx.results.cell import Cell
from rtx.results.evaluation import Evaluation
from rtx.results.folder import CellFolder
from rtx.results.summary import build_summary, with_interval
from rtx.types import Condition

log = logging.getLogger(__name__)


def evaluate(
    model: nn.Module,
    data: Config | str | Path,
    out: str | Path,
    protocol: Protocol | None = None,
    *,
    pixels: Made | Stored | Attacked | None = None,
    annotations: str | Path | None = None,
    classes: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    labels: Mapping[str, Any] | None = None,
    shifts: Shifts | None = None,
    overwrite: bool | None = False,
    share: Share | None = None,
    shard: Shard | None = None,
    run_on: Engine | str = "serial",
    on_cell: OnCell | None = None,
    on_event: OnEvent | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Score a model on clean and corrupted images.

    Args:
        model: a `Detector`, `Segmenter` or `Classifier` of `rtx.evaluation.models.adapters`; or an OpenMMLab model
            built from `data`, weights loaded. On its device.
        data: for an adapter, a folder in the layout of COCO, VOC, YOLO or Cityscapes (detectors), of ADE20K or
            Cityscapes (segmenters), or of class folders (classifiers); with `annotations`, the folder of the images.
            For an OpenMMLab model, its expanded config, of which `test_dataloader` and `test_evaluator` are used.
        out: the output folder; cells that it already holds under the same protocol are not evaluated again.
        protocol: how it is evaluated.
        pixels: where corrupted images come from; they are made here when None.
        annotations: for an adapter, a COCO annotation file, where the data have no layout that is known.
        classes: for an adapter, names of the classes that count, where there are boxes; all of the data's when None.
        checkpoint: the file the weights came from, for the protocol card.
        labels: names shown in tables (run, config, method, data, schedule), beside those of the config and the name
            of the data's folder; no part of the protocol's key.
        shifts: other test sets, name -> folder, scored on their clean images into `out/shifts/<name>/` and shown beside
            the corruptions; they must have the classes of `data`, and are part of no mean.
        overwrite: evaluate everything again, even in a folder of another run; None to do so in such a folder alone.
        share: how ranks share the cells; the running torch.distributed job when None.
        shard: (i, n): evaluate part i of n, counted from 1, and leave the others to other processes.
        run_on: "ray" has cells evaluated by the workers of a Ray cluster, see `rtx.engines.Engine` for their number and
            size; this process writes the files.
        on_cell: called after each cell with (cell, number done here, number to do in all).
        on_event: called with what happens, see `rtx.evaluation.sweep.events`.
        options: fields of `Protocol` (corruptions, severities, limit, batch_size, workers ...), instead of those of
            `protocol`.

    Returns:
        The summary, as in `summary.json`; with stored pixels, ImageNet-C's errors under `imagenet_c`. A shard that ends
        while cells of others are missing gives a summary of what is there, and writes none.

    Raises:
        RtxError: options, data or predictions that do not fit; the message names value, place and remedy.
    """
    protocol, pixels = (protocol or Protocol()).with_options(options), pixels or Made()
    given: dict[str, Any] = dict(classes=classes, checkpoint=checkpoint, labels=labels)
    job = prepare(model, data, out, protocol, pixels=pixels, annotations=annotations, **given)
    others: dict[str, Job] = {}
    if shifts:
        if not isinstance(pixels, Made):
            raise BadValue(
                "shifts go with corruptions that are made here, not with stored images or attacks; leave them out"
            )
        one = partial(prepare, model, **given)
        others = shift_jobs(shifts, job, data, protocol, one, overwrite=overwrite is not False)
    how: dict[str, Any] = dict(share=share or default_share(), run_on=run_on)
    seen: dict[str, Any] = dict(shard=shard, on_cell=on_cell, on_event=on_event)
    summary = _run(job, pixels, protocol, overwrite=overwrite, **how, **seen)
    for name, other in mine(others, shard).items():
        found = _run(other, Made(), protocol, overwrite=None if overwrite is None else False, **how)
        log.info("shift %s: %s P %s", name, found["metric"], with_interval(found, "P"))
    if others and how["share"].rank == 0:
        summary |= with_shifts(job, job.scorer, resamples=protocol.resamples) or {}
    return summary


def _run(
    job: Job,
    pixels: Made | Stored | Attacked,
    protocol: Protocol,
    *,
    overwrite: bool | None,
    share: Share,
    run_on: Engine | str,
    shard: Shard | None = None,
    on_cell: OnCell | None = None,
    on_event: OnEvent | None = None,
) -> dict[str, Any]:
    """Evaluate what is missing and return the summary, see `evaluate`."""
    summary: dict[str, Any] = {}
    engine = Engine.of(run_on)
    with ExitStack() as stack:
        if engine.is_ray and share.size == 1:
            part(job.conditions, shard)
            stack.enter_context(driving(job.out, shard))  # refused at once, not after minutes of starting workers
        # The card says what computes, so that only from here on it can be held against that of the folder.
        job, passes = stack.enter_context(cells_on(engine, job, share))
        overwrite = belongs_to_another(job) if overwrite is None else overwrite
        job = pixels.check(job, overwrite=overwrite)

        def finish(cells: dict[Condition, Cell]) -> None:
            summary.update(complete(job, cells, rank=share.rank, resamples=protocol.resamples))
            summary.update(pixels.finish(summary, job.out))

        cells = run(
            job,
            job.conditions,
            overwrite=overwrite,
            share=share,
            shard=shard,
            on_cell=on_cell,
            on_event=on_event,
            complete=finish,
            passes=passes,
            held=engine.is_ray,
        )
    return summary or build_summary(Evaluation(job.out, job.card, cells), job.scorer.headline)


def prepare(
    model: nn.Module,
    data: Config | str | Path,
    out: str | Path,
    protocol: Protocol | None = None,
    *,
    pixels: Made | Stored | Attacked | None = None,
    annotations: str | Path | None = None,
    classes: Sequence[str] | None = None,
    checkpoint: Path | None = None,
    labels: Mapping[str, Any] | None = None,
    **options: Any,
) -> Job:
    """An evaluation that is ready to run: test set and scorer built, protocol card filled; nothing is written yet.

    Args and Raises: see `evaluate`.
    """
    protocol, pixels = (protocol or Protocol()).with_options(options), pixels or Made()
    conditions = pixels.conditions(protocol)
    adapt = _adaptation(model, protocol, pixels)
    if isinstance(model, Adapter):
        chosen: dict[str, Any] = dict(annotations=annotations, classes=classes, checkpoint=checkpoint)
        tested = adapter_test(model, data, pixels, protocol, **chosen)
    elif isinstance(data, Config):
        data = data if protocol.view is None else with_view(data, protocol.view)
        protocol = replace(protocol, view=view_of(data))
        tested = _config_test(model, data, pixels, protocol, checkpoint)
    else:
        raise BadValue(f"data {str(data)!r}: a model that is no adapter needs its config here")
    indices = choose(tested.dataset, protocol.limit, protocol.seed)
    probes = device_of(model).type == "cuda" and not isinstance(pixels, Attacked)  # an attack needs far more memory
    inputs = Inputs(tested.dataset, indices)  # first: what is replaced while it is hashed is seen, too
    card: dict[str, Any] = {
        **tested.card,
        **(pixels.attack_card(model) if isinstance(pixels, Attacked) else {}),
        **data_card(tested.dataset, indices, tested.scorer),
        **size_card(tested.card, tested.dataset, indices),
        "metric": tested.scorer.card(),
        **({"view": protocol.view} if protocol.view not in (None, "none") else {}),
        **({"norm_adaptation": adapt.card()} if adapt else {}),
        **computing_card(model, amp=protocol.amp, channels_last=protocol.channels_last),
        "labels": {**tested.labels, **(labels or {})},
    }
    return Job(
        model,
        tested.dataset,
        tested.scorer,
        card,
        Path(out),
        indices,
        batch_size=1 if protocol.batch_size is None and not probes else protocol.batch_size,
        workers=loaders(protocol.workers, model),
        amp=protocol.amp,
        channels_last=protocol.channels_last,
        keep_predictions=protocol.keep_predictions,
        conditions=conditions,
        cache=protocol.cache,
        perturb=partial(pixels.perturbed, seed=protocol.seed) if isinstance(pixels, Attacked) else None,
        adapt=adapt,
        unchanged=partial(inputs.check, tested.dataset, indices, tested.scorer, card),
    )


def _adaptation(model: nn.Module, protocol: Protocol, pixels: Made | Stored | Attacked) -> NormAdaptation | None:
    """How batch-norm statistics are adapted; refused where that cannot be."""
    if protocol.adapt_norm is None:
        return None
    if isinstance(model, Adapter) or isinstance(pixels, Attacked):
        what = "a model of another library" if isinstance(model, Adapter) else "an attack"
        raise BadValue(f"--adapt-norm {protocol.adapt_norm}: not with {what}; for OpenMMLab models on corrupted images")
    norms_of(model)
    return NormAdaptation.parse(protocol.adapt_norm)


def _config_test(
    model: nn.Module, cfg: Config, pixels: Made | Stored | Attacked, protocol: Protocol, checkpoint: Path | None
) -> Tested:
    """What the model of a config is evaluated on."""
    for key in ("test_dataloader", "test_evaluator"):
        if not cfg.get(key):
            raise BadValue(
                f"config {cfg.filename or '?'}: has no {key}, so nothing can be evaluated; add it, as a copy of "
                f"{key.replace('test', 'val')} perhaps"
            )
    cfg = pixels.config(cfg)
    check_one_view(cfg)
    check_not_random(cfg.test_dataloader.dataset)
    if get_rank() == 0:
        check_data(cfg, splits=("val",))
    scope = cfg.get("default_scope", "mmdet")
    dataset = tested_set(cfg, pixels.dataset(cfg, protocol))
    trained, place = (getattr(model, "dataset_meta", None) or {}).get("classes") or (), checkpoint or "the model"
    names = getattr(dataset, "metainfo", {}).get("classes") or ()
    check_classes(trained, names, f"{place}", renamed=scope == "mmpretrain")
    name = data_name(cfg.get("data_root") or cfg.test_dataloader.dataset.get("data_root") or "")
    backbone = plain(cfg.model).get("backbone")
    return Tested(
        dataset,
        build_scorer(cfg.test_evaluator, dataset),
        card={
            **pixels.card(scope, protocol),
            **model_card(model, config_sha256(cfg), checkpoint, backbone=backbone, scope=cfg.get("default_scope", "")),
            **how_trained(cfg),
        },
        labels={**({} if name is None else {"data": name}), **plain(cfg.get("labels", {}))},
    )


def tested_set(cfg: Config, dataset: Any) -> Any:
    """The built test set of a config; `dataset` is what it becomes with the steps of an evaluation."""
    init_default_scope(cfg.get("default_scope", "mmdet"))
    built = DATASETS.build(dataset)
    if hasattr(built, "full_init"):
        built.full_init()
    return built


def belongs_to_another(job: Job) -> bool:
    """Whether the folder holds cells of another protocol."""
    try:
        CellFolder(job.out, job.card)
    except (RunConflict, BadValue):
        return True
    return False
