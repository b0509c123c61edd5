"""A grid: an experiment whose runs are small trainings, done by a function in workers that live on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rtx.errors import BadValue
from rtx.experiments.record import chosen
from rtx.experiments.units import Unit


@dataclass(frozen=True)
class GridRun:
    """One point of a grid, done once for each seed.

    Attributes:
        name: unique in its grid.
        settings: beside those of the grid; JSON values.
        seeds: added to the settings as `seed`.
        images: image passes of one seed, for the plan's estimate.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    images: int | None = None


@dataclass(frozen=True)
class Grid:
    """Many small trainings.

    Attributes:
        name: file name without suffix.
        title: one line.
        kind: `module:function` that does a run, see `rtx.experiments.units`.
        settings: of all runs.
        runs: the points.
    """

    name: str
    title: str
    kind: str
    runs: tuple[GridRun, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reject a grid without runs, and runs that would share a file."""
        names = {run.name for run in self.runs}
        if not names or len(names) < len(self.runs):
            raise BadValue(f"grid {self.name!r}: it has no runs, or two of one name")

    def select(self, names: tuple[str, ...]) -> tuple[GridRun, ...]:
        """The runs of these names or patterns, or all where none is given.

        Raises:
            UnknownName: there is no such run.
        """
        return chosen(self.runs, names, place=f"grid {self.name!r}")

    def unit(self, run: GridRun, seed: int, data_root: str | None = None) -> Unit:
        """One run and seed.

        Args:
            run: the point.
            seed: one of its seeds.
            data_root: folder of the targets' folders, instead of that of the settings.

        Raises:
            BadValue: a data folder for a run that reads none, or of which no target says which folder it is.
        """
        settings = {**self.settings, **run.settings, "seed": seed}
        if data_root is not None:
            if not {"data_root", "target"} <= set(settings):
                raise BadValue(
                    f"--data-root {data_root}: run {run.name!r} of grid {self.name!r} has no setting data_root or no "
                    "target, so it reads no data folder of a target; leave it away"
                )
            settings["data_root"] = f"{data_root}/{settings['target']}"
        return Unit(f"{run.name}/seed{seed}", self.kind, settings, run=run.name, seed=seed, images=run.images)
