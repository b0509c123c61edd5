"""Transfer over eps: which runs make a line, what stands at each radius, and where the corrupted score is highest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rtx.reports.text.verdict import BARE, CHANCE, bracketed, doubt
from rtx.reports.runs.groups import Group
from rtx.reports.runs.models import (
    NORMS,
    Model,
    eps_text,
    family_of,
    mean_of,
    mode_of,
    mode_titles,
    model_of,
    model_titles,
    repeats,
    source_key,
)
from rtx.reports.runs.runs import Run
from rtx.reports.text.wording import percent

MANY = 2
"""Up to so many lines have bands and a sentence each."""
MODE_ORDER = ("fixed", "full", "full_strict")
_Key = tuple[tuple[str, str], str, str, Model]


@dataclass(frozen=True)
class Point:
    """Repeats of one experiment.

    Attributes:
        eps: radius of the source, 0 for one trained without adversary.
        runs: the repeats, mostly one.
    """

    eps: float
    runs: tuple[Run, ...]

    def mean(self, quantity: str) -> float:
        """Mean of `P`, `mPC` or `drop` over the repeats."""
        return mean_of(self.runs, quantity)


@dataclass(frozen=True)
class EpsLine:
    """Runs that differ in eps only.

    Attributes:
        mode: transfer mode; with the model where the lines of a figure are not of one model.
        norm: `l2` or `linf`.
        points: in order of eps, one for each.
    """

    mode: str
    norm: str
    points: tuple[Point, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run of the line."""
        return tuple(run for point in self.points for run in point.runs)


def eps_lines(group: Group) -> list[EpsLine]:
    """Complete, comparable runs by model, transfer mode and norm, where at least two radii are there.

    A source trained without adversary stands at eps 0 of every norm. Where unlike experiments have one radius, the
    source of the line's own publisher stands there, and the first of several (`undrawn` names the others).
    """
    runs = _with_eps(group)
    kinds = sorted({(str(run.source.norm), family_of(run)) for run in runs if run.source.eps})
    found: dict[_Key, dict[float, list[Run]]] = {}
    for run in runs:
        # A standard source belongs to every norm and publisher.
        for norm, family in [(str(run.source.norm), family_of(run))] if run.source.eps else kinds:
            row = found.setdefault((mode_of(run), norm, family, model_of(run)), {})
            row.setdefault(run.source.eps or 0.0, []).append(run)
    kept = {key: row for key, row in found.items() if len(row) > 1}
    there = [run for row in kept.values() for held in row.values() for run in held]
    modes, models = mode_titles(there), model_titles(there, ", ")
    families = len({family for _, _, family, _ in kept}) > 1
    lines = []
    for (mode, norm, family, model), row in kept.items():
        about = ", ".join(part for part in (models[model], family if families else "") if part)
        points = tuple(Point(eps, _chosen(row[eps], family)) for eps in sorted(row))
        lines.append(EpsLine(f"{modes[mode]} ({about})" if about else modes[mode], norm, points))
    return sorted(lines, key=lambda line: (line.norm, rank(line.mode), line.mode))


def _with_eps(group: Group) -> list[Run]:
    return [run for run in group.comparable if run.source.eps is not None and not run.preview]


def _chosen(runs: Sequence[Run], family: str) -> tuple[Run, ...]:
    """Of unlike experiments with one radius, the one that belongs to the others of its line."""

    def far(held: Sequence[Run]) -> bool:
        return held[0].source.norm is None or family_of(held[0]) != family

    return min(repeats(runs), key=lambda held: (far(held), source_key(held[0])))


def undrawn(group: Group) -> list[Run]:
    """Runs with a known eps that are in no line, though they may be compared."""
    drawn = {run.name for line in eps_lines(group) for run in line.runs}
    return [run for run in _with_eps(group) if run.name not in drawn]


def eps_notes(group: Group) -> list[str]:
    """Notes on the figure of eps: runs that it leaves out, points that are means."""
    lines, notes = eps_lines(group), []
    drawn = {(mode_of(run), model_of(run), run.source.eps) for line in lines for run in line.runs}
    left_out = [((mode_of(run), model_of(run), run.source.eps) in drawn, group.called(run)) for run in undrawn(group)]
    for twin, why in ((False, "no second eps of its model and transfer"), (True, "unlike another run at its eps")):
        names = [name for is_twin, name in left_out if is_twin == twin]
        notes += [f"Not drawn ({why}): {', '.join(names)}."] if names else []
    means = [
        f"{line.mode}, {_at(line.norm, [point.eps])}: {len(point.runs)}"
        for line in lines
        for point in line.points
        if len(point.runs) > 1
    ]
    if means:
        notes.append(f"Means of several runs, which are the small dots: {'; '.join(means)}.")
    return notes


def eps_point(group: Group) -> str:
    """The main finding of the figure of eps."""
    lines = eps_lines(group)
    norms = list(dict.fromkeys(line.norm for line in lines))
    parts = []
    if len(lines) > MANY:
        for norm in norms:
            mine = [line for line in lines if line.norm == norm]
            best = [_best(line) for line in mine]
            votes = Counter(eps for points in best for eps in _radii(points))
            most = max(votes.values())
            won = sorted(eps for eps, count in votes.items() if count == most)
            words = {_doubt(line, found) for line, found in zip(mine, best, strict=True) if set(won) & _radii(found)}
            count = f"{most} of {len(mine)} {'line' if len(mine) == 1 else 'lines'}{' each' if len(won) > 1 else ''}"
            parts.append(f"at {_at(norm, won)} in {count}{bracketed(max(words))}")
        return f"mPC is highest {'; '.join(parts)}"
    for line in lines:
        found = _best(line)
        who = f"{line.mode}, {NORMS[line.norm]}" if len(norms) > 1 else line.mode
        where = _at(line.norm, sorted(_radii(found)))
        value = ", ".join(part for part in (percent(found[0].mean("mPC")), _doubt(line, found)) if part)
        parts.append(f"{who}: mPC highest at {where} ({value})")
    return "; ".join(parts)


def _best(line: EpsLine) -> list[Point]:
    """The points with the highest mPC; what prints alike is alike."""
    best = percent(max(point.mean("mPC") for point in line.points))
    return [point for point in line.points if percent(point.mean("mPC")) == best]


def _doubt(line: EpsLine, best: Sequence[Point]) -> str:
    """How sure the best radius of a line is; means of several runs have no interval."""
    if len(best) > 1:
        return CHANCE
    if any(len(point.runs) > 1 for point in line.points):
        return BARE
    return doubt(best[0].runs[0], line.runs)


def _radii(points: Sequence[Point]) -> set[float]:
    return {point.eps for point in points}


def _at(norm: str, radii: Sequence[float]) -> str:
    """Radii with their norm, e.g. "Linf eps 4/255 or 8/255"."""
    return f"{NORMS[norm]} eps {' or '.join(eps_text(norm, eps) for eps in radii)}"


def rank(mode: str) -> int:
    """Place of a line among others, by its mode."""
    plain = mode.partition(" (")[0].partition(",")[0]
    return MODE_ORDER.index(plain) if plain in MODE_ORDER else len(MODE_ORDER)
