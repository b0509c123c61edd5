"""The scores behind the claims: one small table for each experiment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rtx.evidence.rows import Result


def table(results: Sequence[Result]) -> list[str]:
    """Means over seeds in percent, as lines of Markdown.

    Trainings that differ in the number of images are a row with a column for each; others have what was evaluated:
    clean score, mPC and drop, scores under attack.

    Example:
        >>> few = Result({"run": "full_n100", "images": 100}, 0, 0.5)
        >>> table([few, Result({"run": "full_n400", "images": 400}, 0, 0.75)])[2]
        '| full | 50.0 | 75.0 | 1 |'
    """
    sizes = sorted({r.settings["images"] for r in results if isinstance(r.settings.get("images"), int)})
    runs: dict[str, list[Result]] = {}
    for result in results:
        name = str(result.settings["run"])
        runs.setdefault(name.removesuffix(f"_n{result.settings.get('images')}"), []).append(result)
    if len(sizes) > 1:
        head = [*(f"{size} images" for size in sizes)]
        rows = {
            name: [_percent([r.P for r in of_run if r.settings["images"] == size]) for size in sizes]
            for name, of_run in runs.items()
        }
    else:
        known = [name for name in ("P", "mPC", "drop") if any(r.quantity(name) is not None for r in results)]
        known += sorted({name for r in results for name in r.more})
        head = [{"P": "clean", "drop": "1 - mPC / P"}.get(name, name) for name in known]
        rows = {
            name: [_percent([v for r in of_run if (v := r.quantity(column)) is not None]) for column in known]
            for name, of_run in runs.items()
        }
    lines = [f"| run | {' | '.join(head)} | seeds |", f"|---|{'---:|' * (len(head) + 1)}"]
    for name, values in rows.items():
        seeds = len({r.seed for r in runs[name]})
        lines.append(f"| {name} | {' | '.join(values)} | {seeds} |")
    return lines


def _percent(values: Sequence[float]) -> str:
    return f"{100 * np.mean(values):.1f}" if values else "-"
