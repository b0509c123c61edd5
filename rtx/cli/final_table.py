"""The table that an evaluation ends with, drawn for a terminal: P, mPC, rPC, and what each corruption does."""

from __future__ import annotations

import math
import os
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rtx.cli.words import encodes
from rtx.corruptions import BENCHMARK, CORRUPTIONS, FAMILIES
from rtx.results.cell import mixed_text
from rtx.results.summary import MIXED, ends_for, interval_text, percent, without_interval
from rtx.types import SEVERITIES, Condition

UNICODE_STEPS = "▁▂▃▄▅▆▇█"
ASCII_STEPS = "_.:-=+*#"
_TOGETHER = "\xa0"
_BOLD, _DIM, _RED, _GREEN = "1", "2", "31", "32"


@dataclass(frozen=True)
class Look:
    """How a table may be drawn.

    Attributes:
        width: characters in a line.
        unicode: whether block characters can be shown.
        colour: whether escape sequences are wanted.
    """

    width: int = 100
    unicode: bool = True
    colour: bool = False

    def paint(self, text: str, code: str) -> str:
        """The text in a colour, where colours are wanted."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text.strip() else text


def look_of(stream: TextIO) -> Look:
    """What a stream can show; colours only on a terminal, and not where NO_COLOR is set."""
    terminal = stream.isatty()
    width = shutil.get_terminal_size((100, 24)).columns if terminal else 100
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Look(width, encodes(stream, UNICODE_STEPS), colour)


def final_table(summary: Mapping[str, Any], look: Look) -> str:
    """Draw a summary (`summary.json`), scores in percent.

    Args:
        summary: with its `intervals`, where there are any. Every number of a preview is labelled so, and has its
            interval; the severities are drawn, not printed, then.
        look: what the terminal can show.
    """
    marks = []
    if summary["preview"]:
        marks.append(f"PREVIEW: {summary['n_images']} images only (--limit), not the score of the data set")
    if not summary["complete"]:
        marks.append(f"INCOMPLETE grid: {summary['label']} is over the cells that are there, not mPC")
    lines = [look.paint(line, _BOLD) for mark in marks for line in _wrapped(mark, look)]
    lines += [look.paint(summary["metric"], _BOLD) + f" in percent, {summary['n_images']} images", ""]
    lines += _totals(summary, look)
    table = _corruption_lines(summary, look)
    if table:
        lines += ["", *table, *_extremes(summary, look)]
    lines += _others(summary, look)
    flagged = {key: cell["flags"] for key, cell in summary["cells"].items() if cell["flags"]}
    if flagged:
        text = "; ".join(f"{key}: {', '.join(flags)}" for key, flags in list(flagged.items())[:6])
        lines += ["", *_wrapped(f"flags  {text}{'; ...' if len(flagged) > 6 else ''}", look)]
    if summary.get("mixed"):
        lines += ["", *_wrapped(f"{MIXED}: {mixed_text(summary['mixed'])}", look)]
    return "\n".join(lines)


def _wrapped(text: str, look: Look) -> list[str]:
    lines = textwrap.wrap(text, max(look.width, 20), subsequent_indent="       ", break_on_hyphens=False)
    return [line.replace(_TOGETHER, " ") for line in lines]


def _others(summary: Mapping[str, Any], look: Look) -> list[str]:
    """P, mPC and rPC of the other metrics; of a preview with intervals, in as many columns as the line has room for."""
    rows = {m: row for m, row in summary["metrics"].items() if m != summary["metric"] and row["label"] != "undefined"}
    if not rows:
        return []
    preview = summary["preview"]
    note, column = ("PREVIEW ", 24) if preview else ("", 8)
    names = {m: m + without_interval(summary, m) for m in rows}
    wide = max(map(len, names.values()))
    keys = ("P", "mPC", "rPC")[: max(1, (look.width - wide - 2) // column)] if preview else ("P", "mPC", "rPC")
    heads = {"P": "P", "mPC": "mPC" if summary["complete"] else "mean", "rPC": "rPC"}
    lines = ["", f"  {'':<{wide}}" + "".join(f"{note + heads[key]:>{column}}" for key in keys)]
    for name, row in rows.items():
        sure = ends_for(summary, name) if preview else {}
        lines.append(
            f"  {names[name]:<{wide}}" + "".join(f"{_with_ends(row[key], sure, key):>{column}}" for key in keys)
        )
    return lines


def sparkline(values: Sequence[float | None], top: float, steps: str = UNICODE_STEPS) -> str:
    """One character for each value, from 0 to `top`; a blank where there is none.

    Example:
        >>> sparkline([0.4, 0.2, None, 0.0], 0.4)
        '█▅ ▁'
    """
    last = len(steps) - 1
    drawn = (" " if v is None or not top > 0 else steps[min(last, max(0, round(v / top * last)))] for v in values)
    return "".join(drawn)


def _totals(summary: Mapping[str, Any], look: Look) -> list[str]:
    ends = summary.get("intervals") or {}
    note = "PREVIEW " if summary["preview"] else ""
    names = {"P": "P", "mPC": summary["label"], "rPC": "rPC"}
    wide = max(len(note + name) for name in names.values())
    lines = []
    for key, name in names.items():
        why = (ends.get("missing") or {}).get(key, "")
        sure = interval_text(ends.get(key)) or (f"no interval: {why}" if why else "")
        lines.append(f"  {note + name:<{wide}}  {percent(summary[key]):>6}  " + look.paint(sure, _DIM))
    lines = [line.rstrip() for line in lines]
    if summary["preview"] and not ends:
        lines.append("  no intervals were computed")
    if ends:
        text = f"{100 * ends['level']:.0f} % intervals over images, {ends['resamples']} resamples"
        lines.append(look.paint(f"  [ ] {text}", _DIM))
    return lines


@dataclass(frozen=True)
class _Line:
    """One line of the table; numbers are fractions."""

    name: str
    values: tuple[float | None, ...]
    mean: float | None
    drop: float | None
    indent: int


def _corruption_lines(summary: Mapping[str, Any], look: Look) -> list[str]:
    rows = _rows(summary)
    if not any(row.indent for row in rows):
        return []
    ends = summary.get("intervals") or {}
    steps = UNICODE_STEPS if look.unicode else ASCII_STEPS
    top = summary["P"] or max((v for row in rows for v in row.values if v is not None), default=0.0)
    name_wide = max(len(row.name) + row.indent for row in rows) + 2
    note = "PREVIEW " if summary["preview"] else ""
    sure = ends if summary["preview"] else {}
    column = 30 if sure else 8 if not note else 14
    # The five scores where the line is wide enough; the drawing and the mean always.
    digits = not note and look.width >= name_wide + 7 + 5 * 7 + 2 * column
    drops = look.width >= name_wide + 7 + 2 * column
    head = f"{'':<{name_wide}}{'1...5':<7}" + ("".join(f"{s:>7}" for s in SEVERITIES) if digits else "")
    head += f"{note + 'mean':>{column}}" + (f"{note + 'drop':>{column}}" if drops else "")
    lines = [look.paint(head, _DIM)]
    worst, best = _ranked(rows)
    for row in rows:
        text = f"{' ' * row.indent + row.name:<{name_wide}}{sparkline(row.values, top, steps):<7}"
        if digits:
            text += f"{''.join(f'{percent(v):>7}' if v is not None else ' ' * 7 for v in row.values):<35}"
        if row.mean is not None:
            text += f"{_with_ends(row.mean, sure.get('means'), row.name):>{column}}"
            text += f"{_with_ends(row.drop, sure.get('drops'), row.name):>{column}}" if drops else ""
        colour = _BOLD if not row.indent else _RED if row.name in worst else _GREEN if row.name in best else ""
        lines.append(look.paint(text.rstrip(), colour) if colour else text.rstrip())
    return lines


def _with_ends(value: float | None, ends: Mapping[str, Sequence[float]] | None, name: str) -> str:
    return f"{percent(value)} {interval_text((ends or {}).get(name))}".strip()


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


def _ranked(rows: Sequence[_Line]) -> tuple[list[str], list[str]]:
    """The worst and best three benchmark corruptions that were evaluated at all five severities."""
    whole = [row for row in rows if row.name in BENCHMARK and None not in row.values and row.mean is not None]
    count = min(3, len(whole) // 2)
    worst = sorted(whole, key=lambda row: (row.mean, row.name))[:count]
    best = sorted(whole, key=lambda row: (-(row.mean or 0.0), row.name))[:count]
    return [row.name for row in worst], [row.name for row in best]


def _extremes(summary: Mapping[str, Any], look: Look) -> list[str]:
    rows = {row.name: row for row in _rows(summary)}
    ends = summary.get("intervals") or {}
    note = "PREVIEW " if summary["preview"] else ""
    lines = []
    for title, names, code in zip(("worst", "best"), _ranked(list(rows.values())), (_RED, _GREEN), strict=True):
        if names:
            sure = (ends.get("means") or {}) if summary["preview"] else {}
            # A name and its numbers stay on one line.
            parts = (f"{name} {_with_ends(rows[name].mean, sure, name)}".replace(" ", _TOGETHER) for name in names)
            text = ",  ".join(parts)
            lines += [look.paint(line, code) for line in _wrapped(f"{note}{title:<5}  {text}", look)]
    return ["", *lines] if lines else []
