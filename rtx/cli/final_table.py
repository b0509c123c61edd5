"""The table that an evaluation ends with, drawn for a terminal: P, mPC, rPC, and what each corruption does."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from rtx.corruptions import BENCHMARK, CORRUPTIONS, FAMILIES
from rtx.results.attack_text import attack_text, eps_text
from rtx.results.cell import mixed_text
from rtx.results.losses import calibration_text, sentence
from rtx.results.summary import MIXED, clean_only, drop_ends, ends_for, interval_text, percent, without_interval
from rtx.types import SEVERITIES, Condition

UNICODE_STEPS = "▁▂▃▄▅▆▇█"
ASCII_STEPS = "_.:-=+*#"
_APART = (0, 2, 0, 0)
_NUMBER: dict[str, Any] = {"justify": "right", "no_wrap": True, "min_width": 6}


def look_of(stream: TextIO | None = None, width: int | None = None) -> Console:
    """What a stream can show: its encoding, its width (100 in a file), and colours on a terminal without NO_COLOR."""
    width = width if width or (stream and stream.isatty()) else 100
    return Console(file=stream or io.StringIO(), width=width, markup=False, emoji=False, highlight=False)


def final_table(summary: Mapping[str, Any], console: Console) -> str:
    """Draw a summary (`summary.json`), scores in percent.

    Args:
        summary: with its `intervals`, where there are any. Every number of a preview is labelled so, and has its
            interval; the severities are drawn, not printed, then.
        console: what the terminal can show.
    """
    with console.capture() as captured:
        console.print(Group(*_parts(summary, console)))
    return "\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n"))


def _parts(summary: Mapping[str, Any], console: Console) -> Iterator[RenderableType]:
    note = "PREVIEW " if summary["preview"] else ""
    if summary["preview"]:
        text = f"PREVIEW: {summary['n_images']} images only (--limit), not the score of the data set"
        yield Text(text, "bold")
    if summary.get("attacks"):
        yield from _attacks(summary, note)
        return
    if clean_only(summary):
        yield Text("clean images only: P, and no mPC")
    elif not summary["complete"]:
        yield Text(f"INCOMPLETE grid: {summary['label']} is over the cells that are there, not mPC", "bold")
    yield Text.assemble((summary["metric"], "bold"), f" in percent, {summary['n_images']} images\n")
    yield from _totals(summary, note)
    rows = _rows(summary)
    if any(row.indent for row in rows):
        yield Text()
        yield _corruptions(summary, rows, note, console)
        yield from _extremes(summary, rows, note)
    yield from _shifts(summary, note)
    yield from _others(summary, note, console)
    yield from _diagnosis(summary, note)
    yield from _remarks(summary)


def _attacks(summary: Mapping[str, Any], note: str) -> Iterator[RenderableType]:
    """An evaluation under attack: a line for each eps, a column for each metric."""
    names = [summary["metric"], *(n for n, row in summary["metrics"].items() if row["label"] != "undefined")]
    names = list(dict.fromkeys(names))
    yield Text(f"in percent, {summary['n_images']} images; {attack_text(summary['protocol']['attack'])}\n")
    table = Table.grid("", *(Column(**_NUMBER) for _ in names), padding=_APART)
    table.add_row("", *(Text(note + name, "bold" if name == names[0] else "") for name in names))
    for key in ("clean", *summary["attacks"]):
        cell = summary["cells"].get(key, {}).get("metrics", {})
        sure = [ends_for(summary, name).get("cells") if note or name == names[0] else None for name in names]
        shown = [_with_ends(cell.get(name), row, key) for name, row in zip(names, sure, strict=True)]
        table.add_row(key if key == "clean" else eps_text(key), *shown)
    yield Padding(table, (0, 0, 0, 2))
    if summary.get("intervals"):
        yield _levels(summary["intervals"])
    yield from _remarks(summary)


def _remarks(summary: Mapping[str, Any]) -> Iterator[RenderableType]:
    rows = {**summary["cells"], **(summary.get("shifts") or {})}
    flagged = {key: row["flags"] for key, row in rows.items() if row["flags"]}
    if flagged:
        text = "; ".join(f"{key}: {', '.join(flags)}" for key, flags in list(flagged.items())[:6])
        yield Text(f"\nflags  {text}{'; ...' if len(flagged) > 6 else ''}")
    if summary.get("mixed"):
        yield Text(f"\n{MIXED}: {mixed_text(summary['mixed'])}")


def _diagnosis(summary: Mapping[str, Any], note: str) -> Iterator[RenderableType]:
    """What most of the loss consists of, and how far confidences are right."""
    texts = [(f"errors ({kind})", sentence(found)) for kind, found in (summary.get("errors") or {}).items()]
    texts += [
        (f"calibration ({kind})", calibration_text(found)) for kind, found in (summary.get("calibration") or {}).items()
    ]
    lines = [f"{note}{name}  {text}" for name, text in texts if text]
    if lines:
        yield Text("\n" + "\n".join(lines))


def _totals(summary: Mapping[str, Any], note: str) -> Iterator[RenderableType]:
    ends = summary.get("intervals") or {}
    table = Table.grid("", Column(justify="right"), Column(style="dim"), padding=_APART)
    for key, name in {"P": "P", "mPC": summary["label"], "rPC": "rPC", "drop": "drop"}.items():
        why = (ends.get("missing") or {}).get("rPC" if key == "drop" else key, "")
        found = drop_ends(ends.get("rPC")) if key == "drop" else ends.get(key)
        sure = interval_text(found) or (f"no interval: {why}" if why else "")
        table.add_row(note + name, percent(summary.get(key)), sure)
    yield Padding(table, (0, 0, 0, 2))
    if summary["preview"] and not ends:
        yield Text("  no intervals were computed")
    if ends:
        yield _levels(ends)


def _levels(ends: Mapping[str, Any]) -> Text:
    return Text(f"  [ ] {100 * ends['level']:.0f} % intervals over images, {ends['resamples']} resamples", "dim")


def sparkline(values: Sequence[float | None], top: float, steps: str = UNICODE_STEPS) -> str:
    """One character for each value, from 0 to `top`; a blank where there is none.

    Example:
        >>> sparkline([0.4, 0.2, None, 0.0], 0.4)
        '█▅ ▁'
    """
    last = len(steps) - 1
    return "".join(" " if v is None or not top > 0 else steps[min(last, max(0, round(v / top * last)))] for v in values)


@dataclass(frozen=True)
class _Line:
    """One line of the table; numbers are fractions."""

    name: str
    values: tuple[float | None, ...]
    mean: float | None
    drop: float | None
    indent: int


def _rows(summary: Mapping[str, Any]) -> list[_Line]:
    """Families with their corruptions below them, then what is held out; only what was evaluated."""
    cells, metric, clean = summary["cells"], summary["metric"], summary["P"]

    def line(name: str) -> _Line | None:
        keys = [Condition(name, s).key for s in SEVERITIES]
        values = tuple(cells.get(key, {}).get("metrics", {}).get(metric) for key in keys)
        there = [v for v in values if v is not None]
        if not there:
            return None
        mean = math.fsum(there) / len(there)
        return _Line(name, values, mean, 1 - mean / clean if clean else None, 2)

    rows = []
    for family in FAMILIES:
        inside = [row for name in BENCHMARK if CORRUPTIONS[name] == family and (row := line(name))]
        if inside:
            whole = summary["families"].get(family) or {}
            rows += [_Line(family, (), whole.get("score"), whole.get("drop"), 0), *inside]
    apart = [row for name in CORRUPTIONS if name not in BENCHMARK and (row := line(name))]
    return rows + ([_Line("held out (in no mean)", (), None, None, 0), *apart] if apart else [])


def _corruptions(summary: Mapping[str, Any], rows: Sequence[_Line], note: str, console: Console) -> Table:
    ends = (summary.get("intervals") or {}) if note else {}
    steps = ASCII_STEPS if console.options.ascii_only else UNICODE_STEPS
    top = summary["P"] or max((v for row in rows for v in row.values if v is not None), default=0.0)
    worst, best = _ranked(rows)
    # The five scores where the line is wide enough; the drawing and the mean always.
    column = 28 if ends else 12 if note else 6
    room = console.width - max(len(row.name) + row.indent for row in rows) - 9 - column
    drops = room >= column + 2
    digits = not note and room >= column + 2 + 7 * len(SEVERITIES)
    heads = ["", "1...5", *(f"{s}" for s in SEVERITIES if digits), f"{note}mean", *([f"{note}drop"] if drops else [])]
    words = [Column(no_wrap=True, min_width=5) for _ in heads[:2]]
    table = Table.grid(*words, *(Column(**_NUMBER) for _ in heads[2:]), padding=_APART)
    table.add_row(*heads, style="dim")
    for row in rows:
        cells = [" " * row.indent + row.name, sparkline(row.values, top, steps)]
        cells += ["" if v is None else percent(v) for v in row.values or (None,) * 5] if digits else []
        if row.mean is not None:
            cells.append(_with_ends(row.mean, ends.get("means"), row.name))
            cells += [_with_ends(row.drop, ends.get("drops"), row.name)] if drops else []
        style = "bold" if not row.indent else "red" if row.name in worst else "green" if row.name in best else ""
        table.add_row(*cells, style=style)
    return table


def _with_ends(value: float | None, ends: Mapping[str, Sequence[float]] | None, name: str) -> str:
    return f"{percent(value)} {interval_text((ends or {}).get(name))}".strip()


def _ranked(rows: Sequence[_Line]) -> tuple[list[str], list[str]]:
    """The worst and best three benchmark corruptions that were evaluated at all five severities."""
    whole = [row for row in rows if row.name in BENCHMARK and None not in row.values and row.mean is not None]
    count = min(3, len(whole) // 2)
    worst, best = (sorted(whole, key=lambda row: (sign * (row.mean or 0.0), row.name)) for sign in (1, -1))
    return [row.name for row in worst[:count]], [row.name for row in best[:count]]


def _extremes(summary: Mapping[str, Any], rows: Sequence[_Line], note: str) -> Iterator[RenderableType]:
    means = {row.name: row.mean for row in rows}
    sure = ((summary.get("intervals") or {}).get("means") or {}) if note else {}
    lead, between = "\n", ",\n" + " " * (len(note) + 7) if sure else ",  "
    for title, names, style in zip(("worst", "best"), _ranked(rows), ("red", "green"), strict=True):
        if names:
            parts = (f"{name} {_with_ends(means[name], sure, name)}" for name in names)
            yield Text(f"{lead}{note}{title:<5}  {between.join(parts)}", style)
            lead = ""


def _shifts(summary: Mapping[str, Any], note: str) -> Iterator[RenderableType]:
    """Scores on other test sets, and their share of P."""
    if not (shifts := summary.get("shifts")):
        return
    table = Table.grid(*(Column(no_wrap=True) for _ in range(2)), Column(**_NUMBER), Column(**_NUMBER), padding=_APART)
    table.add_row("natural shifts (in no mean)", "images", f"{note}score", "of P", style="dim")
    for name, row in shifts.items():
        score = f"{percent(row['value'])} {interval_text(row['interval'])}".strip()
        table.add_row(f"  {name}", str(row["n_images"]), score, percent(row["relative"]))
    yield Padding(table, (1, 0, 0, 0))


def _others(summary: Mapping[str, Any], note: str, console: Console) -> Iterator[RenderableType]:
    """P, mPC and rPC of the other metrics; of a preview with intervals, in as many columns as the line has room for."""
    rows = {m: row for m, row in summary["metrics"].items() if m != summary["metric"] and row["label"] != "undefined"}
    if not rows:
        return
    names = {m: m + without_interval(summary, m) for m in rows}
    room = (console.width - max(map(len, names.values())) - 2) // 24
    keys = ("P", "mPC", "rPC")[: max(1, room)] if note else ("P", "mPC", "rPC")
    table = Table.grid("", *(Column(**_NUMBER) for _ in keys), padding=_APART)
    heads = {"P": "P", "mPC": "mPC" if summary["complete"] else "mean", "rPC": "rPC"}
    table.add_row("", *(note + heads[key] for key in keys))
    for name, row in rows.items():
        sure = ends_for(summary, name) if note else {}
        table.add_row(names[name], *(_with_ends(row[key], sure, key) for key in keys))
    yield Padding(table, (1, 0, 0, 2))
