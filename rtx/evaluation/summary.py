"""From cells to what people read: `summary.json`, a Markdown table and a CSV file."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtx.corruptions import BENCHMARK, CORRUPTIONS, HELD_OUT
from rtx.evaluation import metrics as agg
from rtx.evaluation.scores import Cell, protocol_key, write_atomic
from rtx.types import CLEAN, SEVERITIES, Condition

SUMMARY_FORMAT = "rtx.summary/1"


def build_summary(cells: Mapping[Condition, Cell], headline: str, card: Mapping[str, Any]) -> dict[str, Any]:
    """Aggregate the cells of one evaluation.

    Args:
        cells: the cells that were evaluated, all under one card.
        headline: the metric that P, mPC and rPC are made of.
        card: the protocol card.

    Returns:
        A JSON-ready dict; scores are fractions, NaN is null. `P`, `mPC`, `rPC`, `families` belong to `metric`;
        `metrics` has the same for every one. `complete` says whether all 15 corruptions at all 5 severities and the
        clean images are there; where it is false, `mPC` is the mean over what is there, and `label` says over what.
    """
    names = [headline, *sorted({name for cell in cells.values() for name in cell.metrics} - {headline})]
    every = {name: _aggregate({c: cell.metrics.get(name, math.nan) for c, cell in cells.items()}) for name in names}
    preview = card.get("limit") is not None
    summary: dict[str, Any] = _json_ready(
        {
            "format": SUMMARY_FORMAT,
            "metric": headline,
            "unit": "fraction",
            **every[headline],
            "preview": preview,
            "n_images": card.get("n_images"),
            "metrics": every,
            "cells": {
                c.key: {"metrics": cell.metrics, "n_images": cell.n_images, "flags": list(cell.flags)}
                for c, cell in sorted(cells.items(), key=lambda item: _order(item[0]))
            },
            "key": protocol_key(card),
            "protocol": dict(card),
        }
    )
    return summary


def _aggregate(values: dict[Condition, float]) -> dict[str, Any]:
    # A metric that the ground truth leaves undefined (no large object, say) is undefined in every cell; it has no mPC.
    if any(math.isnan(v) for v in values.values()):
        return {
            "P": values.get(CLEAN),
            "mPC": None,
            "rPC": None,
            "families": {},
            "complete": False,
            "label": "undefined",
        }
    held_out = [c.corruption for c in values if c.corruption in HELD_OUT]
    return agg.summarise(values, [*BENCHMARK, *held_out]).to_dict()


def _order(condition: Condition) -> tuple[int, int]:
    names = ["clean", *CORRUPTIONS]
    return names.index(condition.corruption), condition.severity


def _json_ready(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {str(k): _json_ready(v) for k, v in node.items()}
    if isinstance(node, (list, tuple)):
        return [_json_ready(v) for v in node]
    if isinstance(node, float) and not math.isfinite(node):
        return None
    return node


def percent(value: float | None) -> str:
    """A fraction as a percentage with two decimals, or a dash.

    Example:
        >>> percent(0.18204), percent(None)
        ('18.20', '-')
    """
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:.2f}"


def markdown(summary: Mapping[str, Any]) -> str:
    """The tables of a summary as Markdown, scores in percent."""
    lines = []
    if summary["preview"]:
        lines += [f"**PREVIEW: {summary['n_images']} images only (`--limit`), not the score of the data set.**", ""]
    if not summary["complete"]:
        lines += [f"**INCOMPLETE grid: {summary['label']} is a mean over the cells that are there, not mPC.**", ""]
    lines += [
        "| metric | P | " + summary["label"] + " | rPC | noise drop | blur drop | weather drop | digital drop |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in summary["metrics"].items():
        if row["label"] == "undefined":
            continue
        drops = [percent((row["families"].get(f) or {}).get("drop")) for f in ("noise", "blur", "weather", "digital")]
        title = f"**{name}**" if name == summary["metric"] else name
        lines.append(
            "| " + " | ".join([title, percent(row["P"]), percent(row["mPC"]), percent(row["rPC"]), *drops]) + " |"
        )
    lines += [
        "",
        f"All numbers in percent; {summary['n_images']} images. `{summary['metric']}` by corruption and severity:",
        "",
    ]
    lines += ["| corruption | 1 | 2 | 3 | 4 | 5 | mean |", "|---|---:|---:|---:|---:|---:|---:|"]
    cells = summary["cells"]
    for corruption in (*BENCHMARK, *HELD_OUT):
        values = [
            cells.get(Condition(corruption, s).key, {}).get("metrics", {}).get(summary["metric"]) for s in SEVERITIES
        ]
        present = [v for v in values if v is not None]
        if present:
            mean = sum(present) / len(present) if len(present) == len(SEVERITIES) else None
            lines.append("| " + " | ".join([corruption, *map(percent, values), percent(mean)]) + " |")
    flagged = {key: cell["flags"] for key, cell in cells.items() if cell["flags"]}
    if flagged:
        lines += ["", "Flags: " + "; ".join(f"{key}: {', '.join(flags)}" for key, flags in flagged.items())]
    card = summary["protocol"]
    lines += [
        "",
        f"Engine `{card['corruption_engine']}` {card['corruption_engine_version']}, "
        f"channel order `{card['channel_order']}`, seed {card['corruption_seed']}, precision {card['precision']}, "
        f"weights sha256 `{card['weights_sha256'][:16]}`, protocol `{summary['key'][:16]}`.",
        "",
    ]
    return "\n".join(lines)


def long_csv(cells: Mapping[Condition, Cell], labels: Mapping[str, Any]) -> str:
    """Long form: one row per cell and metric, values as fractions at full precision."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*labels, "metric", "corruption", "family", "severity", "value", "n_images", "flags", "key"])
    for condition, cell in sorted(cells.items(), key=lambda item: _order(item[0])):
        for name, value in cell.metrics.items():
            family = CORRUPTIONS.get(condition.corruption, "clean")
            text = "" if math.isnan(value) else repr(value)
            flags = ";".join(cell.flags)
            key = protocol_key(cell.protocol)[:16]
            writer.writerow(
                [
                    *labels.values(),
                    name,
                    condition.corruption,
                    family,
                    condition.severity,
                    text,
                    cell.n_images,
                    flags,
                    key,
                ]
            )
    return stream.getvalue()


def write_summary(out: Path, cells: Mapping[Condition, Cell], headline: str, card: Mapping[str, Any]) -> dict[str, Any]:
    """Write `summary.json`, `table.md` and `cells.csv` into `out` and return the summary."""
    summary = build_summary(cells, headline, card)
    write_atomic(out / "summary.json", json.dumps(summary, indent=1) + "\n")
    write_atomic(out / "table.md", markdown(summary))
    write_atomic(out / "cells.csv", long_csv(cells, card.get("labels", {})))
    return summary
