"""P, mPC, rPC and the drops by family, from one score for each condition.

P is the score on clean images. mPC is the mean of the scores over corruptions and severities 1 to 5, each cell weighing
the same (Michaelis et al., 2019); it is a mean of dataset-level scores, never the score of pooled predictions. rPC is
mPC / P, a ratio of means. Clean images are never in the mean, and neither are the four held-out corruptions.

A mean over less than the whole benchmark never carries the plain name mPC: `summarise` labels it with what it is made
of, and `mpc` and `rpc` refuse a grid that lacks a cell they were asked for.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rtx.corruptions import BENCHMARK, CORRUPTIONS, FAMILIES, expand
from rtx.errors import BadValue, MissingConditions
from rtx.files import json_ready
from rtx.types import CLEAN, SEVERITIES, Condition

log = logging.getLogger(__name__)

Grid = Mapping[Condition, float]
"""One score (a fraction in [0, 1]) for each evaluated condition."""


def clean(grid: Grid) -> float:
    """P: the score on clean images.

    Raises:
        MissingConditions: the clean images were not evaluated.
        BadValue: the score is no fraction.
    """
    if CLEAN not in grid:
        raise MissingConditions(
            "no clean score: P, rPC and drops need the clean images; evaluate the condition 'clean'"
        )
    return _scores(grid, [CLEAN])[0]


def mpc(grid: Grid, corruptions: Iterable[str] = BENCHMARK, severities: Iterable[int] = SEVERITIES) -> float:
    """Mean score over the asked corruptions and severities.

    Args:
        grid: the scores; cells that were not asked for are left out of the mean.
        corruptions: names or groups of benchmark corruptions.
        severities: 1 to 5.

    Raises:
        MissingConditions: names every asked cell that the grid lacks.
        BadValue: a score is no fraction, a severity is not 1 to 5, or a corruption is held out.

    Example:
        >>> mpc({Condition("fog", s): s / 10 for s in SEVERITIES}, ["fog"])
        0.3
    """
    return average(_scores(grid, _asked(grid, _benchmark_names(corruptions), severities)))


def rpc(grid: Grid, corruptions: Iterable[str] = BENCHMARK, severities: Iterable[int] = SEVERITIES) -> float:
    """Relative performance mPC / P; NaN, with a warning, where P is 0.

    Raises:
        MissingConditions: the clean score or an asked cell is not there.
        BadValue: as `mpc`.
    """
    reference = clean(grid)
    if reference == 0:
        log.warning("P is 0: a ratio to it is undefined (NaN)")
    return _ratio(mpc(grid, corruptions, severities), reference)


@dataclass(frozen=True)
class FamilyScore:
    """The effect of one family of corruptions on the score.

    Attributes:
        score: mean over the evaluated cells of the family.
        drop: 1 - score / P, NaN without P or where P is 0.
        corruptions: which of its corruptions were evaluated.
        cells: over how many cells the mean runs.
    """

    score: float
    drop: float
    corruptions: tuple[str, ...]
    cells: int


@dataclass(frozen=True)
class Summary:
    """The aggregate of one metric over a grid that may be incomplete. Fractions throughout; NaN where undefined.

    Attributes:
        P: score on clean images.
        mPC: mean over the evaluated benchmark cells; call it by `label`, never plain "mPC" unless `complete`.
        rPC: mPC / P.
        drop: 1 - rPC, the overall drop: every corruption weighs the same.
        mean_family_drop: simple mean of the family drops, which is another number than `drop` because the noise family
            has three corruptions and the others four; NaN unless all four families were evaluated.
        families: family -> score and drop.
        per_corruption: corruption -> mean over its evaluated severities, benchmark corruptions only.
        per_severity: severity -> mean over the evaluated benchmark corruptions.
        held_out: held-out corruption -> mean over its evaluated severities; in no other number.
        complete: the clean images and the whole benchmark, 15 corruptions at severities 1 to 5, were evaluated.
        missing: asked cells that the grid lacks.
        cells: over how many cells mPC runs.
        label: "mPC", or "mPC(4/15 corruptions, severities 2,4)" for less than the benchmark.
        notes: what a reader of the numbers must know.
    """

    P: float
    mPC: float
    rPC: float
    drop: float
    mean_family_drop: float
    families: dict[str, FamilyScore]
    per_corruption: dict[str, float]
    per_severity: dict[int, float]
    held_out: dict[str, float]
    complete: bool
    missing: tuple[Condition, ...]
    cells: int
    label: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values: NaN becomes None, conditions become their keys."""
        row = {**asdict(self), "missing": [condition.key for condition in self.missing]}
        found: dict[str, Any] = json_ready(row)
        return found


def summarise(grid: Grid, corruptions: Iterable[str] = BENCHMARK, severities: Iterable[int] = SEVERITIES) -> Summary:
    """Aggregate what is there, and say what is not.

    Args:
        grid: the scores of one metric.
        corruptions: names or groups that were asked for; held-out ones are summarised apart.
        severities: the severities that were asked for.

    Raises:
        BadValue: a score is NaN, infinite, negative or above 1 (each such cell is named), or a severity is not 1 to 5.
        UnknownName: no such corruption.
    """
    names, levels = expand(corruptions), _levels(severities)
    asked = [Condition(name, level) for name in names for level in levels]
    there = [cell for cell in asked if cell in grid]
    _scores(grid, there)
    counted = [cell for cell in there if cell.corruption in BENCHMARK]
    reference = clean(grid) if CLEAN in grid else math.nan
    mean = average(_scores(grid, counted))
    families = {family: _family(grid, counted, family, reference) for family in FAMILIES}
    families = {family: row for family, row in families.items() if row.cells}
    drops = [row.drop for row in families.values()]
    whole = len(counted) == len(BENCHMARK) * len(SEVERITIES)
    ratio = _ratio(mean, reference)
    return Summary(
        P=reference,
        mPC=mean,
        rPC=ratio,
        drop=1 - ratio,
        mean_family_drop=average(drops) if len(drops) == len(FAMILIES) else math.nan,
        families=families,
        per_corruption=_by_corruption(grid, counted),
        per_severity={
            level: average(_scores(grid, row))
            for level in levels
            if (row := [c for c in counted if c.severity == level])
        },
        held_out=_by_corruption(grid, [cell for cell in there if cell.corruption not in BENCHMARK]),
        complete=whole and CLEAN in grid,
        missing=tuple(cell for cell in [CLEAN, *asked] if cell not in grid),
        cells=len(counted),
        label="mPC" if whole else _partial_label(counted),
        notes=_notes(grid, reference, len(counted), whole),
    )


def _partial_label(cells: list[Condition]) -> str:
    if not cells:
        return "mPC(no corrupted cell)"
    names = {cell.corruption for cell in cells}
    levels = sorted({cell.severity for cell in cells})
    ragged = "" if len(cells) == len(names) * len(levels) else f", {len(cells)}/{len(names) * len(levels)} cells"
    word = "severity" if len(levels) == 1 else "severities"
    return f"mPC({len(names)}/{len(BENCHMARK)} corruptions, {word} {','.join(map(str, levels))}{ragged})"


def _notes(grid: Grid, reference: float, cells: int, whole: bool) -> tuple[str, ...]:
    notes = []
    if CLEAN not in grid:
        notes.append("the clean images were not evaluated: P, rPC and the drops are undefined")
    elif reference == 0:
        notes.append("P is 0: rPC and the drops are undefined")
    if not whole:
        total = len(BENCHMARK) * len(SEVERITIES)
        notes.append(f"{cells} of {total} benchmark cells: not comparable with a full mPC")
    return tuple(notes)


def _family(grid: Grid, cells: list[Condition], family: str, reference: float) -> FamilyScore:
    mine = [cell for cell in cells if CORRUPTIONS[cell.corruption] == family]
    score = average(_scores(grid, mine))
    return FamilyScore(score, 1 - _ratio(score, reference), tuple(dict.fromkeys(c.corruption for c in mine)), len(mine))


def _by_corruption(grid: Grid, cells: list[Condition]) -> dict[str, float]:
    names = dict.fromkeys(cell.corruption for cell in cells)
    return {name: average(_scores(grid, [cell for cell in cells if cell.corruption == name])) for name in names}


def _benchmark_names(corruptions: Iterable[str]) -> tuple[str, ...]:
    names = expand(corruptions)
    apart = [name for name in names if name not in BENCHMARK]
    if apart:
        raise BadValue(
            f"held-out corruptions are never part of mPC, rPC or a family: {', '.join(apart)}; leave them out"
        )
    if not names:
        raise BadValue("a mean over no corruption: name at least one")
    return names


def _levels(severities: Iterable[int]) -> tuple[int, ...]:
    levels = tuple(sorted(set(severities)))
    wrong = [level for level in levels if isinstance(level, bool) or level not in SEVERITIES]
    if wrong or not levels:
        text = ", ".join(map(repr, wrong)) or "none"
        raise BadValue(f"severities of a mean must be 1 to 5, got {text} (clean images, severity 0, are P)")
    return levels


def _asked(grid: Grid, names: tuple[str, ...], severities: Iterable[int]) -> list[Condition]:
    cells = [Condition(name, level) for name in names for level in _levels(severities)]
    missing = [cell for cell in cells if cell not in grid]
    if missing:
        text = ", ".join(f"{cell.corruption} severity {cell.severity}" for cell in missing)
        raise MissingConditions(f"{len(missing)} of {len(cells)} cells were not evaluated: {text}")
    return cells


def _scores(grid: Grid, cells: list[Condition]) -> list[float]:
    values = [float(grid[cell]) for cell in cells]
    wrong = [f"{cell.key} is {value}" for cell, value in zip(cells, values, strict=True) if not 0 <= value <= 1]
    if wrong:  # NaN fails the comparison too
        raise BadValue(f"scores must be fractions in [0, 1]: {', '.join(wrong)}; evaluate these cells again")
    return values


def average(values: list[float]) -> float:
    """The mean, NaN of nothing."""
    # fsum rounds once, so the mean does not depend on the order of the cells.
    return math.fsum(values) / len(values) if values else math.nan


def _ratio(value: float, reference: float) -> float:
    return value / reference if reference else math.nan
