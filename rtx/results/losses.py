"""What the loss under each corruption consists of, and how calibration changes, from the cells of an evaluation.

With AP and dAP_t (t a type of `rtx.metrics.error_names`) the means over the severities of a corruption that are there,
and AP0 and dAP0_t those of the clean images,

    loss = AP0 - AP,    rise_t = max(0, dAP_t - dAP0_t),    share_t = rise_t / sum over all types of their rises

all at IoU 0.5. Types whose dAP fell take no part: they got cheaper to fix, and a share cannot be negative. The dAP of a
score that is lost altogether are those of another detector, and rises do not add up to the loss: a share says what has
grown beside what, not how many points a remedy would give back. Below a loss of one point nothing is divided.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from rtx.corruptions import BENCHMARK, CORRUPTIONS
from rtx.metrics.error_names import TYPES, WORDS
from rtx.results.cell import Cell
from rtx.types import CLEAN, SEVERITIES, Condition

LEAST_LOSS = 0.01
MEAN = "all"
"""In the place of a corruption: the mean over those of the benchmark that are there."""
CALIBRATION = ("D-ECE", "LaECE", "ECE")


def error_losses(cells: Mapping[Condition, Cell]) -> dict[str, Any]:
    """What the losses of a detector consist of.

    Returns:
        `bbox`, `segm` or both -> `clean` (`AP50`, `dAP`) and `corruptions`: each corruption, and `all`, with its
        `severities`, `AP50`, `loss`, `dAP`, and `share` of each type, None where the loss is below one point; all
        fractions. Empty where the clean cell has no error types.
    """
    found: dict[str, Any] = {}
    for kind in _blocks(cells.get(CLEAN), "errors"):
        clean = _errors(cells[CLEAN], kind)
        if clean is None:
            continue
        rows: dict[str, Any] = {}
        for name, there in _corruptions(cells).items():
            read = {c.severity: row for c in there if (row := _errors(cells[c], kind)) is not None}
            if read:
                rows[name] = {"severities": sorted(read), **_against(clean, _mean(read.values()))}
        means = [{"AP50": row["AP50"], "dAP": row["dAP"]} for name, row in rows.items() if name in BENCHMARK]
        if means:
            rows[MEAN] = {"corruptions": len(means), **_against(clean, _mean(means))}
        found[kind] = {"clean": clean, "corruptions": rows}
    return found


def calibration_errors(cells: Mapping[Condition, Cell]) -> dict[str, Any]:
    """Calibration errors by corruption.

    Returns:
        `bbox`, `segm`, `classes` or `pixels` -> `clean`, `corruptions` (each the mean over its severities, and `all`)
        and `severities` (the mean over the benchmark at each, where it is whole), each a mapping of D-ECE and LaECE or
        of ECE to fractions, None where undefined.
    """
    found: dict[str, Any] = {}
    for kind in _blocks(cells.get(CLEAN), "calibration"):
        values = {c: row for c, cell in cells.items() if (row := _calibration(cell, kind))}
        if CLEAN not in values:
            continue
        rows = {name: _mean_of(values.get(c) for c in there) for name, there in _corruptions(cells).items()}
        inside = [row for name, row in rows.items() if name in BENCHMARK]
        if inside:
            rows[MEAN] = _mean_of(inside)
        levels = {0: values[CLEAN]}
        for level in SEVERITIES:
            if all(Condition(name, level) in values for name in BENCHMARK):
                levels[level] = _mean_of(values[Condition(name, level)] for name in BENCHMARK)
        by_level = {str(level): row for level, row in levels.items()}
        found[kind] = {"clean": values[CLEAN], "corruptions": rows, "severities": by_level}
    return found


def undefined_reasons(cells: Mapping[Condition, Cell]) -> dict[str, str]:
    """Why no calibration error is defined, by what was looked at; empty where all are."""
    blocks = _blocks(cells.get(CLEAN), "calibration")
    return {kind: str(block["undefined"]) for kind, block in blocks.items() if "undefined" in block}


def compact(cell: Cell) -> dict[str, Any]:
    """The diagnosis of a cell without the counts of its bins."""
    return {
        name: {kind: {k: v for k, v in block.items() if k != "bins"} for kind, block in blocks.items()}
        for name, blocks in cell.diagnosis.items()
    }


def largest(row: Mapping[str, Any]) -> tuple[str, float] | None:
    """The type with the largest share of a corruption's loss, and the share; None where nothing is divided."""
    share = row.get("share")
    return max(share.items(), key=lambda item: item[1]) if share else None


def sentence(losses: Mapping[str, Any]) -> str:
    """What most of the loss is, over all corruptions and where it is largest; "" where nothing was lost.

    Args:
        losses: of one kind, see `error_losses`.

    Example:
        >>> row = {"loss": 0.2, "share": {"missed": 0.71, "background": 0.29}}
        >>> sentence({"corruptions": {"fog": row}})
        'under fog 71 % of the loss (20.0 points of AP50) is missed objects'
    """
    rows = losses["corruptions"]
    parts = []
    if MEAN in rows and rows[MEAN].get("corruptions", 0) > 1 and (most := largest(rows[MEAN])):
        parts.append(f"over all corruptions {_part(rows[MEAN], *most)}")
    named = {name: row for name, row in rows.items() if name != MEAN and row["share"]}
    if named:
        worst = max(named, key=lambda name: named[name]["loss"])
        most = largest(named[worst])
        assert most is not None
        parts.append(f"under {worst.replace('_', ' ')} {_part(named[worst], *most)}")
    return ", ".join(parts)


def calibration_text(found: Mapping[str, Any]) -> str:
    """Calibration errors on clean images and under corruption, in percent; "" where none is defined.

    Args:
        found: of one kind, see `calibration_errors`.

    Example:
        >>> calibration_text({"clean": {"ECE": 0.031}, "corruptions": {"all": {"ECE": 0.2}}})
        'ECE 3.1 on clean images, 20.0 under corruption'
    """
    corrupted = found["corruptions"].get(MEAN, {})
    parts = []
    for name, clean in found["clean"].items():
        if clean is not None:
            more = f", {100 * value:.1f} under corruption" if (value := corrupted.get(name)) is not None else ""
            parts.append(f"{name} {100 * clean:.1f} on clean images{more}")
    return "; ".join(parts)


def diagnosis_lines(summary: Mapping[str, Any], note: str = "") -> list[str]:
    """The Markdown of a summary's error types and calibration errors, in percent; nothing where it has none.

    Args:
        summary: see `rtx.results.summary.build_summary`.
        note: what stands before numbers of a preview.
    """
    lines: list[str] = []
    for kind, losses in (summary.get("errors") or {}).items():
        if not losses["corruptions"]:
            continue
        said = sentence(losses)
        lines += ["", f"{note}What the loss of AP50 ({kind}) consists of{f': {said}' if said else ''}.", ""]
        lines += [_row("corruption", f"{note}loss", *WORDS.values()), "|---" + "|---:" * (1 + len(TYPES)) + "|"]
        for name, row in losses["corruptions"].items():
            share = row["share"] or {}
            shares = [f"{100 * share[t]:.0f} %" if share else "-" for t in TYPES]
            lines.append(_row(f"**{name}**" if name == MEAN else name, f"{100 * row['loss']:.2f}", *shares))
    for kind, found in (summary.get("calibration") or {}).items():
        if text := calibration_text(found):
            lines += ["", f"{note}Calibration ({kind}): {text}."]
    return lines


def _row(*items: str) -> str:
    return "| " + " | ".join(items) + " |"


def _part(row: Mapping[str, Any], kind: str, share: float) -> str:
    return f"{100 * share:.0f} % of the loss ({100 * row['loss']:.1f} points of AP50) is {WORDS[kind]}"


def _blocks(cell: Cell | None, part: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {} if cell is None else cell.diagnosis.get(part, {})
    return found


def _errors(cell: Cell, kind: str) -> dict[str, Any] | None:
    """AP50 and dAP of a cell as numbers; None where they are not there or undefined."""
    block = _blocks(cell, "errors").get(kind, {})
    whole: Any = block.get("AP50")
    gains = block.get("dAP")
    if not isinstance(gains, dict) or any(not isinstance(v, int | float) for v in (whole, *gains.values())):
        return None
    return {"AP50": float(whole), "dAP": dict(gains)} if set(TYPES) <= set(gains) else None


def _calibration(cell: Cell, kind: str) -> dict[str, float | None]:
    block = _blocks(cell, "calibration").get(kind, {})
    return {name: block[name] for name in CALIBRATION if name in block}


def _corruptions(cells: Mapping[Condition, Cell]) -> dict[str, list[Condition]]:
    """The corrupted conditions that are there, by corruption in the order of tables."""
    found = {name: [c for c in cells if c.corruption == name] for name in CORRUPTIONS}
    return {name: there for name, there in found.items() if there}


def _mean(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    every = list(rows)
    names = list(every[0]["dAP"])
    gains = {name: math.fsum(row["dAP"][name] for row in every) / len(every) for name in names}
    return {"AP50": math.fsum(row["AP50"] for row in every) / len(every), "dAP": gains}


def _mean_of(rows: Iterable[Mapping[str, float | None] | None]) -> dict[str, float | None]:
    """Means by name; None where one is undefined or absent."""
    every = list(rows)
    if any(row is None for row in every):
        return dict.fromkeys((name for row in every if row for name in row), None)
    there = [row for row in every if row is not None]
    found: dict[str, float | None] = {}
    for name in there[0]:
        values = [value for row in there if (value := row.get(name)) is not None]
        found[name] = math.fsum(values) / len(values) if len(values) == len(there) else None
    return found


def _against(clean: Mapping[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    loss = clean["AP50"] - row["AP50"]
    rises = {name: max(0.0, row["dAP"][name] - clean["dAP"][name]) for name in TYPES}
    total = math.fsum(rises.values())
    share = {name: rise / total for name, rise in rises.items()} if loss >= LEAST_LOSS and total > 0 else None
    return {**row, "loss": loss, "share": share}
