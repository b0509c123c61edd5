"""An experiment and its runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rtx.errors import BadValue, unknown_name
from rtx.types import NORM_POLICIES, TransferMode

EVALUATIONS = ("corruptions", "clean")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


@dataclass(frozen=True)
class PlannedRun:
    """One model of an experiment, trained once for each seed.

    Attributes:
        name: unique in its experiment; part of the run folder's name.
        config: file name of the leaf in `configs/`.
        source: what `--source` is given.
        transfer: what `--transfer` is given; None leaves the freezing to the leaf.
        norm: what `--norm` is given; None takes the transfer's own.
        options: `--cfg-options`, dotted keys to numbers, truth values or words.
        seeds: of initialisation and data order.
        published: fields of the records in `rtx.reports.published` that this run is to be held against; empty where
            the paper prints no number for it.
        doubts: what the paper leaves open about this very run.
    """

    name: str
    config: str
    source: str
    transfer: str | None = None
    norm: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    published: tuple[Mapping[str, str], ...] = ()
    doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Reject what no command line could be made of."""
        where = f"run {self.name!r}"
        if not _NAME.fullmatch(self.name):
            raise BadValue(f"{where}: a name is made of a-z, 0-9, '_', '-' and '.', since it names a folder")
        if not re.fullmatch(r"[\w.-]+\.py", self.config):
            raise BadValue(f"{where}: config {self.config!r} must be the file name of a leaf in configs/")
        if self.transfer is not None:
            TransferMode.parse(self.transfer)
        if self.norm is not None and self.norm not in NORM_POLICIES:
            raise unknown_name("norm policy", self.norm, place=f"rtx.types ({where})", choices=NORM_POLICIES)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise BadValue(f"{where}: seeds {self.seeds!r} must be one or more, all different")
        odd = [key for key, value in self.options.items() if not isinstance(value, bool | int | float | str)]
        if odd:
            value = self.options[odd[0]]
            raise BadValue(f"{where}: option {odd[0]}={value!r} must be a number, a truth value or a word")


@dataclass(frozen=True)
class Experiment:
    """A table or figure of a paper, as the runs behind it.

    Attributes:
        name: file name without suffix.
        title: one line.
        paper: key of the paper in `rtx.reports.published.PAPERS`.
        place: table or figure, and section.
        question: what the runs are compared for.
        evaluation: "corruptions" (P, mPC, rPC) or "clean".
        runs: in the paper's order.
        published: as a run's, for numbers that belong to no single run, such as the best of several.
        doubts: what the paper leaves open about all of them, and what rtx does there.
    """

    name: str
    title: str
    paper: str
    place: str
    question: str
    evaluation: str
    runs: tuple[PlannedRun, ...]
    published: tuple[Mapping[str, str], ...] = ()
    doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Reject an unknown evaluation and runs that would share a folder."""
        if self.evaluation not in EVALUATIONS:
            raise unknown_name("evaluation", self.evaluation, place="rtx/experiments/record.py", choices=EVALUATIONS)
        names = [run.name for run in self.runs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            what = f"two runs are called {twice[0]!r}" if twice else "it has no runs"
            raise BadValue(f"experiment {self.name!r}: {what}")

    @property
    def n_models(self) -> int:
        """How many trainings it takes."""
        return sum(len(run.seeds) for run in self.runs)

    def select(self, names: tuple[str, ...]) -> tuple[PlannedRun, ...]:
        """The runs of these names, or all where none is given.

        Raises:
            UnknownName: there is no such run.
        """
        known = {run.name: run for run in self.runs}
        for name in names:
            if name not in known:
                raise unknown_name("run", name, place=f"experiment {self.name!r}", choices=known)
        return tuple(known[name] for name in names) or self.runs
