"""An experiment and its runs."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from rtx.errors import BadValue, unknown_name
from rtx.experiments.classification import check_flags
from rtx.types import NORM_POLICIES, TransferMode

OWN_HEAD = "own_head"
ATTACKS = "attacks"
EVALUATIONS = ("corruptions", "clean", OWN_HEAD, ATTACKS)
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
        flags: of a training on a classification target, `target`, `images`, `recipe` and others of
            `rtx.experiments.classification.FLAGS`.
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
    flags: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    published: tuple[Mapping[str, Any], ...] = ()
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
        check_flags(self.flags)


@dataclass(frozen=True)
class Experiment:
    """A table or figure of a paper, as the runs behind it.

    Attributes:
        name: file name without suffix.
        title: one line.
        paper: key of the paper in `rtx.reports.published.PAPERS`.
        place: table or figure, and section.
        question: what the runs are compared for.
        evaluation: "corruptions" (P, mPC, rPC), "clean" or "attacks"; "own_head" where nothing is trained: the
            classifier that a source was published with is tested on the class folders of a target.
        attack: flags of `rtx attack_eval` without dashes, a list for several values; of "attacks", and of "own_head"
            where the images are attacked.
        runs: in the paper's order.
        published: as a run's, for numbers that belong to no single run, such as the best of several.
        parts: name -> patterns of run names ("l2_*_n3200"), where several tables or figures share runs.
        keep_weights: False removes the checkpoints of a training on a target once its scores are written.
        doubts: what the paper leaves open about all of them, and what rtx does there.
    """

    name: str
    title: str
    paper: str
    place: str
    question: str
    evaluation: str
    runs: tuple[PlannedRun, ...]
    published: tuple[Mapping[str, Any], ...] = ()
    doubts: tuple[str, ...] = ()
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    keep_weights: bool = True
    attack: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reject an unknown evaluation and runs that would share a folder."""
        if self.evaluation not in EVALUATIONS:
            raise unknown_name("evaluation", self.evaluation, place="rtx/experiments/record.py", choices=EVALUATIONS)
        allowed = {ATTACKS: (True,), OWN_HEAD: (True, False)}.get(self.evaluation, (False,))
        if bool(self.attack) not in allowed:
            raise BadValue(
                f"experiment {self.name!r}: `attack`, the flags of rtx attack_eval, belongs to evaluation {ATTACKS!r}, "
                f"may go with {OWN_HEAD!r}, and with no other; it has {dict(self.attack)} and {self.evaluation!r}"
            )
        for run in self.runs if self.evaluation == OWN_HEAD else ():
            if set(run.flags) != {"target"} or run.transfer or run.norm or run.options:
                raise BadValue(
                    f"run {run.name!r} of experiment {self.name!r}: the source's own classifier is tested, so that a "
                    "run has a source and the flag target, and nothing of a training"
                )
        names = [run.name for run in self.runs]
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice or not names:
            what = f"two runs are called {twice[0]!r}" if twice else "it has no runs"
            raise BadValue(f"experiment {self.name!r}: {what}")
        for part, patterns in self.parts.items():
            chosen(self.runs, patterns, place=f"part {part!r} of experiment {self.name!r}")

    @property
    def n_models(self) -> int:
        """How many trainings it takes."""
        return 0 if self.evaluation == OWN_HEAD else sum(len(run.seeds) for run in self.runs)

    def select(self, names: tuple[str, ...]) -> tuple[PlannedRun, ...]:
        """The runs of these names, patterns or parts, each once, or all where none is given.

        Raises:
            UnknownName: there is no such run.
        """
        wanted = [pattern for name in names for pattern in self.parts.get(name, (name,))]
        return chosen(self.runs, wanted, place=f"experiment {self.name!r}", parts=self.parts)


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str:
        """Unique among its kind."""


AnyRun = TypeVar("AnyRun", bound=Named)


def chosen(
    runs: Sequence[AnyRun], names: Sequence[str], *, place: str, parts: Iterable[str] = ()
) -> tuple[AnyRun, ...]:
    """The runs whose name is one of these, or fits a pattern with `*`, `?` or `[...]`; all where no name is given.

    Raises:
        UnknownName: a name or pattern is no run's.
    """
    known = {run.name: run for run in runs}
    found: dict[str, AnyRun] = {}
    for name in names:
        fitting = [name] if name in known else fnmatch.filter(known, name)
        if not fitting:
            raise unknown_name("run", name, place=place, choices=[*parts, *list(known)[:20]])
        found |= {one: known[one] for one in fitting}
    return tuple(found.values()) if names else tuple(runs)
