"""From cells to what people read: `summary.json`, a Markdown table and a CSV file."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rtx.corruptions import BENCHMARK, HELD_OUT
from rtx.files import json_ready, write_atomic
from rtx.metrics import robustness as agg
from rtx.results.attack_text import attack_text, eps_text
from rtx.results.cell import Cell, mixed_makers, mixed_text
from rtx.results.conditions import family_of
from rtx.results.evaluation import Evaluation
from rtx.results.folder import CELLS_CSV, SUMMARY, TABLE
from rtx.results.losses import calibration_errors, compact, diagnosis_lines, error_losses
from rtx.results.shifts import read_shifts
from rtx.types import CLEAN, SEVERITIES, Condition

if TYPE_CHECKING:
    from rtx.results.intervals import Confidence, Interval

SUMMARY_FORMAT = "rtx.summary/1"
MIXED = "Cells made with different versions or on different devices"


def build_summary(
    evaluation: Evaluation, headline: str, confidence: Mapping[str, Confidence] | None = None
) -> dict[str, Any]:
    """Aggregate the cells of one evaluation.

    Args:
        evaluation: its cells.
        headline: the metric that P, mPC and rPC are made of.
        confidence: metric -> how sure its numbers are, where that is known.

    Returns:
        A JSON-ready dict; scores are fractions, NaN is null. `P`, `mPC`, `rPC`, `families` belong to `metric`;
        `metrics` has the same for every one. An evaluation under attack has the scores by eps as `attacks` instead of
        mPC and rPC, which are null. `complete` says whether all 15 corruptions at all 5 severities and the
        clean images are there; where it is false, `mPC` is the mean over what is there, and `label` says over what.
        `intervals` holds the ends of those of `metric` ([low, high]), of every other metric that has some under
        `others`, and is null where none were computed. `errors` and `calibration` (see `rtx.results.losses`) are there
        where cells hold them; a cell has its own beside its metrics. `shifts` (see `rtx.results.shifts.read_shifts`)
        and `mixed` are there where they hold anything: `mixed` where cells were made by different versions of a library
        or on different devices.
    """
    cells, card = evaluation.cells, evaluation.card
    names = [headline, *(name for name in _metrics(cells) if name != headline)]
    every = {name: _aggregate({c: cell.metrics.get(name, math.nan) for c, cell in cells.items()}) for name in names}
    preview = card.get("limit") is not None
    shifts = read_shifts(evaluation.root, card, headline, every[headline]["P"])
    summary: dict[str, Any] = json_ready(
        {
            "format": SUMMARY_FORMAT,
            "metric": headline,
            "unit": "fraction",
            **every[headline],
            "preview": preview,
            "n_images": card.get("n_images"),
            "intervals": _ends(confidence, headline) if confidence else None,
            "metrics": every,
            "cells": {
                c.key: {"metrics": cell.metrics, "n_images": cell.n_images, "flags": list(cell.flags), **compact(cell)}
                for c, cell in cells.items()
            },
            **({"errors": errors} if (errors := error_losses(cells)) else {}),
            **({"calibration": calibration} if (calibration := calibration_errors(cells)) else {}),
            **({"shifts": shifts} if shifts else {}),
            **({"mixed": mixed} if (mixed := mixed_makers(cells.values())) else {}),
            "key": evaluation.key,
            "protocol": dict(card),
        }
    )
    return summary


def defined_metrics(cells: Mapping[Condition, Cell]) -> list[str]:
    """The metrics that every cell defines, by name; a mean over fewer cells would be another quantity."""
    return [
        name
        for name in _metrics(cells)
        if not any(math.isnan(cell.metrics.get(name, math.nan)) for cell in cells.values())
    ]


def _metrics(cells: Mapping[Condition, Cell]) -> list[str]:
    return sorted({name for cell in cells.values() for name in cell.metrics})


def _ends(confidence: Mapping[str, Confidence], headline: str) -> dict[str, Any]:
    """The ends of all intervals as JSON values; those of other metrics than the headline lie under `others`."""
    every = {name: _ends_of(found) for name, found in confidence.items()}
    first = confidence[headline]
    return {
        "level": first.level,
        "resamples": first.resamples,
        "n_images": first.n_images,
        **every.pop(headline),
        "means": _pairs(first.means),
        "others": every,
    }


def _ends_of(confidence: Confidence) -> dict[str, Any]:
    whole = {name: getattr(confidence, name) for name in ("P", "mPC", "rPC")}
    return {
        **_pairs({name: row for name, row in whole.items() if row is not None}),
        "cells": _pairs({c.key: row for c, row in confidence.cells.items()}),
        "drops": _pairs(confidence.drops),
        "missing": dict(confidence.missing),
    }


def ends_for(summary: Mapping[str, Any], metric: str) -> Mapping[str, Any]:
    """The intervals of one metric of a summary; empty where it has none."""
    ends = summary.get("intervals") or {}
    found: Mapping[str, Any] = ends if metric == summary["metric"] else ends.get("others", {}).get(metric, {})
    return found


def _pairs(rows: Mapping[str, Interval]) -> dict[str, list[float]]:
    return {name: [row.low, row.high] for name, row in rows.items() if not math.isnan(row.low)}


def _aggregate(values: dict[Condition, float]) -> dict[str, Any]:
    # A metric that the ground truth leaves undefined (no large object, say) is undefined in every cell; it has no mPC.
    if any(math.isnan(v) for v in values.values()):
        return {
            "P": values.get(CLEAN),
            "mPC": None,
            "rPC": None,
            "drop": None,
            "families": {},
            "complete": False,
            "label": "undefined",
        }
    held_out = [c.corruption for c in values if c.corruption in HELD_OUT]
    found = agg.summarise(values, [*BENCHMARK, *held_out]).to_dict()
    attacks = {c.key: value for c, value in values.items() if c.is_attack}
    if attacks:
        # Attacked images have no mean over the benchmark: they are all there where the clean ones are too.
        found |= {"attacks": attacks, "complete": CLEAN in values, "label": "no mPC", "missing": [], "notes": []}
    return found


def percent(value: float | None) -> str:
    """A fraction as a percentage with two decimals, or a dash.

    Example:
        >>> percent(0.18204), percent(None)
        ('18.20', '-')
    """
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:.2f}"


def interval_text(ends: Sequence[float] | None) -> str:
    """The ends of an interval in percent, or nothing.

    Example:
        >>> interval_text([0.17, 0.19456]), interval_text(None)
        ('[17.00, 19.46]', '')
    """
    return "" if ends is None else f"[{percent(ends[0])}, {percent(ends[1])}]"


def with_interval(summary: Mapping[str, Any], name: str) -> str:
    """P, mPC or rPC of a summary in percent, followed by its interval where there is one.

    Example:
        >>> with_interval({"P": 0.3, "intervals": {"P": [0.25, 0.35]}}, "P")
        '30.00 [25.00, 35.00]'
    """
    return _with_ends(summary[name], (summary.get("intervals") or {}).get(name))


def markdown(summary: Mapping[str, Any]) -> str:
    """The tables of a summary as Markdown, scores in percent."""
    ends = summary.get("intervals") or {}
    # A preview's numbers are never shown bare; those of the whole set have their intervals in confidence.json.
    shown = ends if summary["preview"] else {}
    note = "PREVIEW " if summary["preview"] else ""
    lines = []
    if summary["preview"]:
        lines += [f"**PREVIEW: {summary['n_images']} images only (`--limit`), not the score of the data set.**", ""]
    if summary.get("attacks"):
        return "\n".join([*lines, *attack_lines(summary), *_remarks(summary)])
    if clean_only(summary):
        lines += ["Clean images only: P, and no mPC.", ""]
    elif not summary["complete"]:
        lines += [f"**INCOMPLETE grid: {summary['label']} is a mean over the cells that are there, not mPC.**", ""]
    columns = ("P", summary["label"], "rPC", "drop", *(f"{family} drop" for family in _DROPS))
    lines += [_row("metric", *(note + name for name in columns))]
    lines.append("|---" + "|---:" * len(columns) + "|")
    for name, row in summary["metrics"].items():
        if row["label"] == "undefined":
            continue
        mine = ends_for(summary, name)
        whole = [_with_ends(row[key], mine.get(key)) for key in ("P", "mPC", "rPC")]
        whole.append(_with_ends(row["drop"], drop_ends(mine.get("rPC"))))
        sure = mine.get("drops", {}) if summary["preview"] else {}
        drops = [_with_ends((row["families"].get(f) or {}).get("drop"), sure.get(f)) for f in _DROPS]
        title = f"**{name}**" if name == summary["metric"] else name
        lines.append(_row(title + without_interval(summary, name), *whole, *drops))
    about = f"All numbers in percent; {summary['n_images']} images. {_interval_note(summary)}".strip()
    lines += ["", f"{about} {note}`{summary['metric']}` by corruption and severity:", ""]
    lines += [_row("corruption", *(f"{note}{s}" for s in SEVERITIES), f"{note}mean"), "|---" + "|---:" * 6 + "|"]
    cells = summary["cells"]
    for corruption in (*BENCHMARK, *HELD_OUT):
        keys = [Condition(corruption, s).key for s in SEVERITIES]
        values = [cells.get(key, {}).get("metrics", {}).get(summary["metric"]) for key in keys]
        present = [v for v in values if v is not None]
        if present:
            mean = sum(present) / len(present) if len(present) == len(SEVERITIES) else None
            sure = shown.get("cells", {})
            row = [_with_ends(value, sure.get(key)) for key, value in zip(keys, values, strict=True)]
            lines.append(_row(corruption, *row, _with_ends(mean, shown.get("means", {}).get(corruption))))
    if shifts := summary.get("shifts"):
        lines += ["", f"{note}`{summary['metric']}` on natural shifts, which are part of no mean:", ""]
        lines += [_row("test set", "images", f"{note}score", "of P"), "|---|---:|---:|---:|"]
        for name, shift in shifts.items():
            score = _with_ends(shift["value"], shift["interval"])
            lines.append(_row(name, str(shift["n_images"]), score, percent(shift["relative"])))
    lines += diagnosis_lines(summary, note)
    return "\n".join([*lines, *_remarks(summary)])


def _remarks(summary: Mapping[str, Any]) -> list[str]:
    """What is said below every table: flags, mixtures, the protocol."""
    lines = []
    rows = {**summary["cells"], **(summary.get("shifts") or {})}
    flagged = {key: row["flags"] for key, row in rows.items() if row["flags"]}
    if flagged:
        lines += ["", "Flags: " + "; ".join(f"{key}: {', '.join(flags)}" for key, flags in flagged.items())]
    if summary.get("mixed"):
        lines += ["", f"**{MIXED}: {mixed_text(summary['mixed'])}.**"]
    return [*lines, "", protocol_line(summary["protocol"], summary["key"]), ""]


def attack_lines(summary: Mapping[str, Any]) -> list[str]:
    """The Markdown table of an evaluation under attack: a row a metric, a column for each eps; percent."""
    keys = list(summary["attacks"])
    lines = [_row("metric", "clean", *map(eps_text, keys)), "|---" + "|---:" * (1 + len(keys)) + "|"]
    for name, row in summary["metrics"].items():
        if row["label"] == "undefined":
            continue
        ends = ends_for(summary, name)
        cells = ends.get("cells", {})
        values = [_with_ends(row["attacks"][key], cells.get(key)) for key in keys]
        lines.append(
            _row(f"**{name}**" if name == summary["metric"] else name, _with_ends(row["P"], ends.get("P")), *values)
        )
    note = "PREVIEW, " if summary["preview"] else ""
    return [
        *lines,
        "",
        f"All numbers in percent; {note}{summary['n_images']} images. {_interval_note(summary)}".strip(),
    ]


def clean_only(summary: Mapping[str, Any]) -> bool:
    """Whether the cells of a summary are the clean one alone, so that there is no mean that could pass for mPC."""
    return set(summary["cells"]) == {CLEAN.key}


def drop_ends(ends: Sequence[float] | None) -> list[float] | None:
    """The ends of the overall drop, 1 - rPC, from those of rPC.

    Example:
        >>> drop_ends([0.25, 0.5]), drop_ends(None)
        ([0.5, 0.75], None)
    """
    return None if ends is None else [1 - ends[1], 1 - ends[0]]


def without_interval(summary: Mapping[str, Any], metric: str) -> str:
    """The note of a preview's metric without an interval; empty for every other row."""
    bare = summary["preview"] and not any(name in ends_for(summary, metric) for name in ("P", "mPC"))
    return " (no interval)" if bare else ""


_DROPS = ("noise", "blur", "weather", "digital")


def _row(*items: str) -> str:
    return "| " + " | ".join(items) + " |"


def _with_ends(value: float | None, ends: Sequence[float] | None) -> str:
    return percent(value) if value is None else f"{percent(value)} {interval_text(ends)}".strip()


def _interval_note(summary: Mapping[str, Any]) -> str:
    ends = summary.get("intervals")
    if not ends:
        return "No intervals were computed." if summary["preview"] else ""
    text = f"In brackets {100 * ends['level']:.0f} % intervals over images ({ends['resamples']} resamples)."
    why = [f"{name}: {ends['missing'][name]}" for name in ("P", "mPC", "rPC") if name in ends["missing"]]
    if why:
        text += f" No interval for {'; '.join(why)}."
    bare = [name for name in summary["metrics"] if name != summary["metric"] and without_interval(summary, name)]
    return text + (" Rows without are of metrics that the evidence does not hold." if bare else "")


def protocol_line(card: Mapping[str, Any], key: str) -> str:
    """The protocol of an evaluation in one line."""
    part = f"preview of {card.get('limit')} images ({card.get('subset', 'seeded')}), " if card.get("limit") else ""
    if card.get("attack"):
        return (
            f"Attack {attack_text(card['attack'])}, seed {card.get('corruption_seed')}, {part}precision "
            f"{card.get('precision')}, weights sha256 `{str(card.get('weights_sha256'))[:16]}`, protocol `{key[:16]}`."
        )
    return (
        f"Engine `{card.get('corruption_engine')}` {card.get('corruption_engine_version')}, "
        f"channel order `{card.get('channel_order')}`, seed {card.get('corruption_seed')}, {part}"
        f"precision {card.get('precision')}, weights sha256 `{str(card.get('weights_sha256'))[:16]}`, "
        f"protocol `{key[:16]}`."
    )


def long_csv(evaluation: Evaluation, summary: Mapping[str, Any]) -> str:
    """Long form: one row per cell and metric, values and ends of intervals as fractions at full precision."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    labels = evaluation.card.get("labels", {})
    head = ["metric", "corruption", "family", "severity", "value", "n_images", "flags", "key"]
    writer.writerow([*labels, *head, "label", "low", "high"])
    label = "PREVIEW" if summary["preview"] else ""
    for condition, cell in evaluation.cells.items():
        family = family_of(condition)
        fixed = [cell.n_images, ";".join(cell.flags), evaluation.key[:16], label]
        for name, value in cell.metrics.items():
            mine = ends_for(summary, name).get("cells", {}).get(condition.key)
            place = [name, condition.corruption, family, condition.severity]
            writer.writerow(
                [*labels.values(), *place, _number(value), *fixed, *map(_number, mine or (math.nan, math.nan))]
            )
    for name, shift in (summary.get("shifts") or {}).items():
        fixed = [shift["n_images"], ";".join(shift["flags"]), shift["key"][:16], label]
        for metric, value in shift["metrics"].items():
            ends = shift["interval"] if metric == summary["metric"] and shift["interval"] else (math.nan, math.nan)
            number = math.nan if value is None else value
            row = [metric, name, "shift", "", _number(number), *fixed, *map(_number, ends)]
            writer.writerow([*labels.values(), *row])
    return stream.getvalue()


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def write_summary(
    evaluation: Evaluation, headline: str, confidence: Mapping[str, Confidence] | None = None
) -> dict[str, Any]:
    """Write `summary.json`, `table.md` and `cells.csv` into the folder and return the summary; see `build_summary`."""
    summary = build_summary(evaluation, headline, confidence)
    write_atomic(evaluation.root / SUMMARY, json.dumps(summary, indent=1) + "\n")
    write_atomic(evaluation.root / TABLE, markdown(summary))
    write_atomic(evaluation.root / CELLS_CSV, long_csv(evaluation, summary))
    return summary
