"""Models between two trained ones as units of an experiment: kind = "rtx.experiments.between:evaluate"."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtx.errors import BadValue
from rtx.experiments.command import work
from rtx.results.folder import INSIDE_RUN, SUMMARY

_NAMES = ("a", "b", "alpha", "work_dir")


def evaluate(settings: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Evaluate (1 - alpha) A + alpha B under the corruptions, by `rtx weights interpolate --sweep`.

    Args:
        settings: `a` and `b`, run folders of one network, or `source` for a; `alpha`, between 0 and 1; `work_dir`, in
            which the folder `alpha_ALPHA` is written.
        device: see `rtx.experiments.command.work`.

    Returns:
        `P`, `mPC` and `rPC`, fractions, and every cell.

    Raises:
        BadValue: a setting that is missing or does not exist.
        CommandFailed: see `rtx.experiments.command.work`.
    """
    if wrong := sorted(set(settings) ^ {*_NAMES, "seed"}):
        raise BadValue(f"rtx.experiments.between:evaluate: setting {wrong[0]!r}; needed are {', '.join(_NAMES)}")
    a, b, alpha, out = (settings[name] for name in _NAMES)
    words = ["python", "tools/weights.py", "interpolate", a, b, "--alpha", f"{alpha:g}", "--out", out, "--sweep"]
    return work({"words": words, "summary": str(Path(out) / f"alpha_{alpha:g}" / INSIDE_RUN / SUMMARY)}, device)
