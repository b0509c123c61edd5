"""Images that are corrupted here, while they are evaluated: the usual pixels of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

import rtx
from rtx.datasets.openmmlab.view_step import ApplyView
from rtx.evaluation.card import version_of
from rtx.evaluation.pixels.corrupt import Corrupt, insert_corrupt, usual_place
from rtx.evaluation.pixels.slim import slim
from rtx.evaluation.protocol import Protocol
from rtx.evaluation.scorers.build import scorer_class
from rtx.evaluation.sweep.forward import Job
from rtx.types import Condition

_ENGINE_PACKAGE = {"imagecorruptions": "imagecorruptions-imaug"}


@dataclass(frozen=True)
class Made:
    """Pixels made from the clean test set; `rtx.evaluation.pixels.stored.Stored` has the same methods."""

    def conditions(self, protocol: Protocol) -> tuple[Condition, ...]:
        """Those of the wanted cells that there are pixels for."""
        return protocol.conditions()

    def config(self, cfg: Config) -> Config:
        """The config as the card stores it, without paths and conditions."""
        return cfg

    def dataset(self, cfg: Config, protocol: Protocol) -> Any:
        """The test set of that config with a step in its pipeline that gives the pixels of the present condition."""
        step = dict(type="Corrupt", **_settings(protocol))
        place = _place(cfg.get("default_scope", "mmdet"), protocol)
        dataset = insert_corrupt(cfg.test_dataloader.dataset, step, place)
        return slim(dataset, annotations=scorer_class(cfg.get("test_evaluator")).reads_annotations)

    def pipeline(self, load: Any, preparation: Sequence[Any], scope: str, protocol: Protocol) -> list[Any]:
        """The steps of an adapter, from loading an image to handing it over, with the same step among them."""
        corrupt = Corrupt(**_settings(protocol))
        first = _place(scope, protocol) == "original_resolution"
        loading = [load, *view_steps(protocol)]
        return [*loading, corrupt, *preparation] if first else [*loading, *preparation, corrupt]

    def card(self, scope: str, protocol: Protocol) -> dict[str, Any]:
        """Fields of the protocol card that say how the pixels come about, for a model of that framework."""
        package = _ENGINE_PACKAGE.get(protocol.engine)
        return {
            "corruption_engine": protocol.engine,
            "corruption_engine_version": version_of(package) if package else rtx.__version__,
            "channel_order": protocol.channel_order,
            "corruption_seed": protocol.seed,
            "corruption_at": _place(scope, protocol),
        }

    def check(self, job: Job, *, overwrite: bool) -> Job:
        """Check what can only be seen once it is known which cells are there; the job with what else to check."""
        return job

    def finish(self, summary: Mapping[str, Any], out: Path) -> dict[str, Any]:
        """Write what is made of these pixels' cells beside the summary, and return what to add to it."""
        return {}


def view_steps(protocol: Protocol) -> list[ApplyView]:
    """The step that an adapter's images go through right after loading, or none."""
    return [ApplyView(protocol.view)] if protocol.view else []


def _settings(protocol: Protocol) -> dict[str, Any]:
    return dict(seed=protocol.seed, channel_order=protocol.channel_order, engine=protocol.engine)


def _place(scope: str, protocol: Protocol) -> str:
    return protocol.corruption_at or usual_place(scope)
