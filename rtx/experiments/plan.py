"""From an experiment to its units, and what they may cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rtx.datasets.classification import find_target
from rtx.experiments.classification import LEFT_BYTES, gpu_hours, image_passes, validation_metric
from rtx.experiments.commands import (
    cost_of,
    evaluate_command,
    header_of,
    own_head_command,
    run_folder,
    train_command,
)
from rtx.experiments.grid import Grid
from rtx.experiments.record import ATTACKS, OWN_HEAD, Experiment, PlannedRun
from rtx.experiments.store import DONE, State
from rtx.experiments.units import COMMAND, Unit
from rtx.results.folder import ATTACKS_INSIDE_RUN, INSIDE_RUN, LAST_CHECKPOINT, SUMMARY

_CHECKPOINT_BYTES = 360_000_000
"""A ResNet-50 detector with its optimiser; mmengine keeps a handful, rtx's leaves the last one or two."""
_CLASSIFIER_BYTES = 190_000_000


def units_of(
    experiment: Experiment | Grid,
    names: Sequence[str] = (),
    *,
    seeds: Sequence[int] | None = None,
    limit: int | None = None,
    gpus: int | None = None,
    data_root: str | None = None,
    work_dirs: str = "work_dirs",
) -> list[Unit]:
    """What an experiment's table needs.

    Args:
        experiment: a paper's, or a grid.
        names: only these runs, patterns or parts; all when empty.
        seeds: only these.
        limit: at most so many pairs of run and seed.
        gpus: of a training; None for the leaf's.
        data_root: another data folder than the leaf's.
        work_dirs: folder of all experiments.

    Raises:
        UnknownName: there is no such run.
        BadValue: a leaf that does not exist.
    """
    runs: Sequence[Any] = experiment.select(tuple(names))
    pairs = [(run, seed) for run in runs for seed in run.seeds if seeds is None or seed in seeds][:limit]
    if isinstance(experiment, Grid):
        return [experiment.unit(run, seed, data_root) for run, seed in pairs]
    units = []
    for run, seed in pairs:
        units += _pair(experiment, run, seed, gpus, data_root, work_dirs)
    return units


def _pair(
    experiment: Experiment, run: PlannedRun, seed: int, gpus: int | None, data_root: str | None, work_dirs: str
) -> list[Unit]:
    folder = run_folder(experiment, run, seed, root=work_dirs)
    if experiment.evaluation == OWN_HEAD:
        words = own_head_command(experiment, run, seed, data_root=data_root, root=work_dirs)
        settings = {"words": words, "summary": f"{folder}/{SUMMARY}"}
        images = find_target(run.flags["target"]).test
        return [Unit(f"{run.name}/seed{seed}/test", COMMAND, settings, run=run.name, seed=seed, images=images)]
    words = train_command(experiment, run, seed, gpus=gpus, data_root=data_root, root=work_dirs)
    if run.flags and experiment.evaluation == "clean":
        return [_target_unit(experiment, run, seed, words, folder, gpus)]
    training = Unit(
        f"{run.name}/seed{seed}/train",
        COMMAND,
        {"words": words, "resume": f"{folder}/{LAST_CHECKPOINT}", "gpus": gpus or cost_of(run.config)[0]},
        run=run.name,
        seed=seed,
        disk_bytes=_CHECKPOINT_BYTES,
        **_cost(run),
    )
    evaluation = Unit(
        f"{run.name}/seed{seed}/evaluate",
        COMMAND,
        {
            "words": evaluate_command(experiment, run, seed, root=work_dirs),
            "summary": f"{folder}/{ATTACKS_INSIDE_RUN if experiment.evaluation == ATTACKS else INSIDE_RUN}/{SUMMARY}",
        },
        needs=(training.name,),
        run=run.name,
        seed=seed,
    )
    return [training, evaluation]


def _target_unit(
    experiment: Experiment, run: PlannedRun, seed: int, words: list[str], folder: str, gpus: int | None
) -> Unit:
    """A training on a target, which ends with its clean score."""
    settings: dict[str, Any] = {
        "words": words,
        "resume": f"{folder}/{LAST_CHECKPOINT}",
        "gpus": gpus or cost_of(run.config)[0],
        "summary": f"{folder}/{INSIDE_RUN}/{SUMMARY}",
        "run": folder,
        "epochs_of": validation_metric(run.flags["target"]),
        "keep_weights": experiment.keep_weights,
    }
    return Unit(
        f"{run.name}/seed{seed}/train",
        COMMAND,
        settings,
        run=run.name,
        seed=seed,
        **_cost(run),
        disk_bytes=LEFT_BYTES + (_CLASSIFIER_BYTES if experiment.keep_weights else 0),
    )


def _cost(run: PlannedRun) -> dict[str, Any]:
    """Image passes and GPU hours of a training, as far as they are known."""
    if not run.flags:
        gpus, hours = cost_of(run.config)
        return {"gpu_hours": None if hours is None else gpus * hours}
    return {"images": image_passes(run.flags, run.transfer), "gpu_hours": gpu_hours(header_of(run.config), run.flags)}


def cost(units: Sequence[Unit], states: Mapping[str, State]) -> dict[str, Any]:
    """What is left to do: units, image passes, GPU hours, bytes; and worker hours by the units of each kind so far."""
    left = [u for u in units if states[u.name].what != DONE]
    spent: dict[str, list[float]] = {}
    for state in states.values():
        if state.what == DONE and state.record:
            spent.setdefault(state.unit.kind + state.unit.name.rpartition("/")[2], []).append(state.record["seconds"])
    known = [spent.get(u.kind + u.name.rpartition("/")[2]) for u in left]
    measured = [sum(times) / len(times) for times in known if times]

    def total(field: str) -> dict[str, Any]:
        values = [getattr(u, field) for u in left]
        there = [v for v in values if v is not None]
        return {"sum": sum(there), "units_unknown": len(values) - len(there)}

    return {
        "units": len(left),
        "images": total("images"),
        "gpu_hours": total("gpu_hours"),
        "disk_bytes": total("disk_bytes"),
        "worker_hours_by_units_done": {"sum": sum(measured) / 3600, "units_unknown": len(left) - len(measured)},
    }


def in_words(plan: Mapping[str, Any]) -> str:
    """What a plan leaves to do, in a line.

    Example:
        >>> costs = {name: {"sum": 3600, "units_unknown": 2} for name in ("images", "gpu_hours", "disk_bytes")}
        >>> in_words({"experiment": "e", "left": {"units": 9, **costs}})
        'e: 9 units left, 3,600 image passes (2 units unknown), 3,600 GPU hours (2 units unknown), 0.0 GB on disk \
(2 units unknown)'
    """
    left = plan["left"]

    def part(name: str, unit: str, scale: float = 1, digits: int = 0) -> str:
        unknown = left[name]["units_unknown"]
        text = f"{left[name]['sum'] / scale:,.{digits}f} {unit}"
        return text + (f" ({unknown:,} units unknown)" if unknown else "")

    parts = [part("images", "image passes"), part("gpu_hours", "GPU hours"), part("disk_bytes", "GB on disk", 1e9, 1)]
    return f"{plan['experiment']}: {left['units']:,} units left, {', '.join(parts)}"


def as_json(name: str, units: Sequence[Unit], states: Mapping[str, State], root: Path) -> dict[str, Any]:
    """The plan as JSON values."""
    rows = [
        {
            "name": u.name,
            "state": states[u.name].what,
            "run": u.run,
            "seed": u.seed,
            "needs": list(u.needs),
            "kind": u.kind,
            "settings": dict(u.settings),
            "images": u.images,
            "gpu_hours": u.gpu_hours,
            "disk_bytes": u.disk_bytes,
            "key": u.key,
        }
        for u in units
    ]
    return {"experiment": name, "folder": str(root), "left": cost(units, states), "units": rows}
