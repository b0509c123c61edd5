"""A run folder as drift sees it: its model, its source, and the images in the steps of its own test."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS

import rtx
from rtx import config as configs
from rtx.backbones.base import SourceBackbone
from rtx.backbones.spec import is_ours
from rtx.datasets.openmmlab.with_data import with_data
from rtx.drift.layers import Tap
from rtx.drift.measures import minibatches
from rtx.errors import BadValue, WeightsError
from rtx.evaluation.card import weights_sha256
from rtx.evaluation.evaluate import prepare
from rtx.evaluation.models.load import load_model
from rtx.evaluation.protocol import Protocol
from rtx.evaluation.sweep.forward import Job
from rtx.results.folder import last_checkpoint, run_config

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DriftOptions:
    """What is asked of every run.

    Attributes:
        protocol: corruptions, severities, images (`limit`), seed, batch size and workers.
        grid: maps are averaged over grid x grid cells before CKA; 1 is the global average.
        minibatch: images of a minibatch of the estimator at most, whatever the batch size is.
        source: compare with the source as well.
        data_root: where the data are now.
        device: of the network.

    Raises:
        BadValue: a number out of range.
    """

    protocol: Protocol
    grid: int = 1
    minibatch: int = 256
    source: bool = True
    data_root: Path | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse what cannot be measured, before anything is loaded."""
        if not 1 <= self.grid <= 16:
            raise BadValue(f"--grid {self.grid}: must be 1 (the average of the map) to 16 cells a side")
        limit = self.protocol.limit
        minibatches(10**6 if limit is None else limit, self.minibatch, 0)


@dataclass(frozen=True, eq=False)
class DriftSubject:
    """A run that is ready to be measured.

    Attributes:
        name: of the run folder.
        job: model with taps, test set, images and conditions.
        card: what the numbers depend on, but for the layers, which a first image shows.
        options: see `DriftOptions`.
    """

    name: str
    job: Job
    card: dict[str, Any]
    options: DriftOptions


def of_run(folder: Path, options: DriftOptions) -> DriftSubject:
    """Load a run, and its source where it has one.

    Raises:
        BadValue: no run folder, no backbone, or too few test images.
        DataError: the test images are not there.
        WeightsError, WeightsMismatch: the checkpoint or the source's file cannot be loaded.
    """
    cfg = configs.load(run_config(folder))
    checkpoint = last_checkpoint(folder)
    if checkpoint is None:
        raise BadValue(f"run folder {str(folder)!r} names no checkpoint; let its training reach the first one")
    if options.data_root is not None:
        cfg = with_data(cfg, options.data_root)
    source, absent = _source(cfg, folder) if options.source else (None, "not asked for")
    model = load_model(cfg, checkpoint, options.device)
    job = prepare(model, cfg, folder, options.protocol, checkpoint=checkpoint, labels={"run": folder.name})
    parts = minibatches(len(job.indices), options.minibatch, options.protocol.seed)
    if absent:
        log.info("%s: no comparison with its source (%s)", folder.name, absent)
    evaluated = {name: value for name, value in job.card.items() if name not in ("metric", "labels", "checkpoint_file")}
    card = {
        "run": folder.name,
        **evaluated,
        "rtx": rtx.__version__,
        "seed": options.protocol.seed,
        "estimator": "linear CKA, unbiased HSIC (Song et al., 2012), summed over minibatches (Nguyen et al., 2021)",
        "features": "global_average" if options.grid == 1 else f"average_{options.grid}x{options.grid}",
        "minibatch": options.minibatch,
        "minibatches": len(parts),
        "cosine": "uncentred, mean over positions, then over images",
        "source_weights_sha256": None if source is None else weights_sha256(source),
        "source_absent": absent,
    }
    tap = Tap(model, None if source is None else source.to(options.device))
    return DriftSubject(folder.name, replace(job, model=tap.eval()), card, options)


def _source(cfg: Config, folder: Path) -> tuple[SourceBackbone | None, str | None]:
    """The backbone as the run began, or why there is none."""
    node = cfg.model.get("backbone") or {}
    spec = node.get("source")
    if not is_ours(node) or spec is None:
        return None, "the config names none"
    if spec == "random":
        return None, "it began with random weights"
    if cfg.get("load_from") and not cfg.get("resume"):
        return None, f"it began with the whole model in {cfg.load_from}"
    try:
        backbone = MODELS.build(node)
        backbone.init_weights()
    except WeightsError as error:
        raise WeightsError(
            f"run {str(folder)!r}: its source {spec!r}: {error}; or leave it out with --no-source"
        ) from error
    found: SourceBackbone = backbone.eval().requires_grad_(False)
    return found, None
