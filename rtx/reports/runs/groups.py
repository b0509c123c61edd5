"""Which runs may stand side by side."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rtx.reports.runs.naming import label, slug
from rtx.reports.runs.runs import Run
from rtx.reports.text.wording import shortened
from rtx.results import protocol
from rtx.results.protocol import stated, words
from rtx.types import CLEAN


@dataclass(frozen=True)
class Group:
    """Runs on one test set under one metric: what can share a plot.

    Attributes:
        dataset: name of the test set.
        metric: the headline metric.
        runs: in the order they were given.
        attacked: whether the runs are evaluations under attack, which have eps in the place of corruptions.
        hashed: whether its file names need a hash, as another group's name has the same letters.
    """

    dataset: str
    metric: str
    runs: tuple[Run, ...]
    attacked: bool = False
    hashed: bool = False

    @property
    def slug(self) -> str:
        """For file names; no other group of the report has the same."""
        plain = slug(f"{self.dataset}_{self.metric}{'_attacks' if self.attacked else ''}")
        if not self.hashed:
            return plain
        return f"{plain}_{hashlib.sha256(repr((self.dataset, self.metric)).encode()).hexdigest()[:8]}"

    @cached_property
    def baseline(self) -> Run:
        """The run that the others are compared with.

        The run named so; else the first that has all cells of all images, from a standard source, under a protocol
        that another such run shares, as far as there is one, in this order of importance.
        """
        named = [run for run in self.runs if run.baseline]
        if named:
            return named[0]
        whole = [run for run in self.complete if not run.preview]

        def lack(run: Run) -> tuple[bool, bool, bool]:
            alone = not any(other is not run and not unlike(other, run) for other in whole)
            return run not in whole, run.source.eps != 0, alone

        return min(self.runs, key=lack)

    @property
    def complete(self) -> tuple[Run, ...]:
        """Runs whose grid is whole."""
        return tuple(run for run in self.runs if run.summary.complete or (run.attacks and CLEAN in run.cells))

    @cached_property
    def comparable(self) -> tuple[Run, ...]:
        """Complete runs that may be compared with the baseline, the baseline among them."""
        return tuple(run for run in self.complete if not unlike(self.baseline, run))

    @cached_property
    def cleanly_comparable(self) -> tuple[Run, ...]:
        """The comparable runs, and those of clean images alone under the same protocol: their P may be compared."""
        wanted = (run for run in self.runs if run.summary.complete or run.clean_only)
        return tuple(run for run in wanted if not unlike(self.baseline, run))

    def called(self, run: Run, most: int = 32) -> str:
        """A run's name for a figure, apart from the names of the others."""
        return shortened([other.name for other in self.runs], most)[self.runs.index(run)]

    @property
    def claimed(self) -> tuple[Run, ...]:
        """Runs that a sentence about the group may be made of: comparable ones on all images, or the baseline alone."""
        return tuple(run for run in self.comparable if not run.preview) or (self.baseline,)

    def standing_out(self, runs: Sequence[Run], most: int) -> list[Run]:
        """The runs that are drawn in full: all, or of more than `most` the baseline, the best and the worst."""
        return [run for run in runs if len(runs) <= most or run.name in self.roles]

    @cached_property
    def roles(self) -> dict[str, str]:
        """Run name -> its role: the baseline, and the runs with the highest and the lowest mPC."""
        if self.attacked:
            return {self.baseline.name: "baseline"}
        ranked = sorted(self.claimed, key=lambda run: run.summary.mPC)
        found: dict[str, list[str]] = {self.baseline.name: ["baseline"]}
        for run, word in ((ranked[-1], "highest mPC"), (ranked[0], "lowest mPC")) if len(ranked) > 1 else ():
            found.setdefault(run.name, []).append(word)
        return {name: ", ".join(words) for name, words in found.items()}


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Sort runs by test set and metric, in order of first appearance.

    A name that ends with the test set only because another group holds the same name loses that ending.
    """
    found: dict[tuple[str, str, bool], list[Run]] = {}
    for run in runs:
        found.setdefault((run.dataset, run.metric, bool(run.attacks)), []).append(run)
    held = {key: {_without_set(run) for run in members} for key, members in found.items()}
    for key, members in found.items():
        elsewhere = set().union(*(names for other, names in held.items() if other != key))
        short = [name if (name := _without_set(run)) in elsewhere else run.name for run in members]
        if len(set(short)) == len(short):
            members[:] = [replace(run, name=name) for run, name in zip(members, short, strict=True)]
    groups = [Group(dataset, metric, tuple(rows), attacked) for (dataset, metric, attacked), rows in found.items()]
    often = Counter(group.slug for group in groups)
    return [replace(group, hashed=often[group.slug] > 1) for group in groups]


def _without_set(run: Run) -> str:
    """A run's name without the test set at its end, where that was put behind what the run itself is called."""
    own = label(run.card, "name") or label(run.card, "run") or run.folder.name
    return run.name.removesuffix(f" {run.dataset}") if run.name.startswith(f"{own} ") else run.name


def unlike(a: Run, b: Run) -> tuple[str, ...]:
    """In words, in what the protocols of two runs differ; their numbers are not comparable unless it is empty."""
    return (*(["headline metric"] if a.metric != b.metric else []), *map(words, protocol.differing(a.card, b.card)))


def differing(a: Run, b: Run) -> list[tuple[str, str, str]]:
    """The fields in which two protocols differ, in words, each with both values."""
    names = protocol.differing(a.card, b.card)
    return [(words(name), *_apart(name, a.card.get(name), b.card.get(name))) for name in names]


def _apart(name: str, one: Any, two: Any) -> tuple[str, str]:
    """Two values, and of two objects only the entries in which they differ."""
    if isinstance(one, dict) and isinstance(two, dict):
        keys = sorted(key for key in one.keys() | two.keys() if one.get(key) != two.get(key))
        one, two = ({key: side[key] for key in keys if key in side} for side in (one, two))
    return stated(name, one), stated(name, two)
