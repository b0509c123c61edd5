"""The results of experiments as rows of one form: trainings on targets, and probes."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rtx.datasets.classification import MEAN_PER_CLASS, TARGETS
from rtx.errors import BadValue
from rtx.results.over_seeds import Scores
from rtx.sources.catalog.spec import parse_spec
from rtx.sources.reading.read import read_checkpoint


@dataclass(frozen=True)
class Result:
    """One trained network or head.

    Attributes:
        settings: source, transfer, target, images ("all" or a number), run and options.
        seed: of its training.
        P: clean score, a fraction.
        mPC: mean under corruption; None where that was not evaluated.
        seconds: that it took, with its evaluation.
        processor_seconds: the same, of all its processes.
        more: other scores, such as a source's under attack.
    """

    settings: Mapping[str, Any]
    seed: int
    P: float
    mPC: float | None = None
    seconds: float = 0.0
    processor_seconds: float = 0.0
    more: Mapping[str, float] = field(default_factory=dict)

    def quantity(self, name: str) -> float | None:
        """P, mPC, drop or one of `more`; None where it is not known."""
        if name == "P":
            return self.P
        if name not in ("mPC", "drop"):
            return self.more.get(name)
        if self.mPC is None or name == "mPC":
            return self.mPC
        return 1 - self.mPC / self.P if self.P else None


def results_of(rows: Iterable[Mapping[str, Any]]) -> list[Result]:
    """What is done among the rows of `rtx.experiments.collect.rows_of`; training and evaluation of a run are one."""
    done = [row for row in rows if row.get("state") == "done"]
    taken: dict[Any, dict[str, Any]] = {}
    for row in done:
        of_run = taken.setdefault((row.get("run"), row["seed"]), {"seconds": 0.0, "processor_seconds": 0.0})
        for name in of_run:
            of_run[name] += row.get(name) or 0.0
    found = (_probed(row) if "set.source" in row else _trained(row) for row in done)
    results = [result for result in found if result is not None]
    return [replace(one, **taken[one.settings["run"], one.seed]) for one in results]


def _trained(row: Mapping[str, Any]) -> Result | None:
    clean = row.get("score.P", row.get("score.clean"))
    if clean is None:
        return None
    settings = dict(
        source=row.get("source"),
        transfer=row.get("transfer"),
        target=row.get("target") or row.get("experiment"),
        images=row.get("images") or "all",
        run=row.get("run"),
        options=row.get("options") or "",
    )
    more = {name[6:]: value for name, value in row.items() if re.fullmatch(r"score\.(l2|linf)_[\d.]+", name)}
    return Result(settings, row["seed"], clean, row.get("score.mPC"), more=more)


def _probed(row: Mapping[str, Any]) -> Result | None:
    target = row.get("set.target")
    if target not in TARGETS or row.get("score.accuracy") is None:
        return None
    name = "mean_per_class" if TARGETS[target].metric == MEAN_PER_CLASS else "accuracy"
    settings = dict(
        source=row["set.source"],
        transfer="fixed",
        target=target,
        images=row.get("set.images") or "all",
        run=row.get("run"),
        options="",
    )
    return Result(settings, row["seed"], row[f"score.{name}"])


def accuracy_of(source: str) -> float | None:
    """Clean accuracy, a fraction, in the card of a source that `rtx train_source` wrote; None for others or no file.

    Args:
        source: as `--source` takes it.

    Raises:
        UnknownName: there is no such source.
        WeightsError: the file cannot be read.
    """
    path = parse_spec(source).path
    if path is None or not path.is_file():
        return None
    content = read_checkpoint(path)
    scores = (content.get("meta") or {}).get("scores") if isinstance(content, Mapping) else None
    return float(scores["clean"]) if isinstance(scores, Mapping) and "clean" in scores else None


def chosen(results: Sequence[Result], wanted: Mapping[str, Any]) -> list[Result]:
    """Those with these settings: a value, a pattern with `*`, or a list of them."""
    return [result for result in results if all(_fits(result.settings.get(k), v) for k, v in wanted.items())]


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, (list, tuple)):
        return any(_fits(value, one) for one in wanted)
    return value == wanted or (isinstance(wanted, str) and fnmatch.fnmatchcase(str(value), wanted))


def by_seed(
    results: Sequence[Result], by: Sequence[str], quantity: str, place: str
) -> Mapping[tuple[str, ...], Scores]:
    """Values of `by` -> seed -> quantity.

    Raises:
        BadValue: two results have the same values and seed, so that more must be told apart.
    """
    found: dict[tuple[str, ...], dict[int, float]] = {}
    for result in results:
        value = result.quantity(quantity)
        if value is None or not math.isfinite(value):
            continue
        key = tuple(str(result.settings.get(name)) for name in by)
        if found.setdefault(key, {}).setdefault(result.seed, value) != value:
            raise BadValue(
                f"{place}: several results for {', '.join(key)} and seed {result.seed}, {result.settings['run']} among "
                "them; name more settings in first and second, or in by"
            )
    return found
