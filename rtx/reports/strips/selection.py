"""Which example strips a report shows, and of which models."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from rtx.corruptions import BENCHMARK, CORRUPTIONS, FAMILIES
from rtx.reports.runs.groups import Group
from rtx.reports.runs.runs import Run
from rtx.reports.strips.examples import Choice, quality
from rtx.results.examples import Example, Examples
from rtx.types import CLEAN, SEVERITIES, Condition

MODELS = 4
"""Rows of a strip: more would be too small to see anything in."""


def models_shown(
    group: Group, examples: Mapping[Path, Examples]
) -> tuple[list[tuple[str, Examples]], list[tuple[str, str]]]:
    """Whose predictions the strips show, in the group's order; and who cannot be shown, and why.

    One picture serves all rows, so only models that saw the same pixels can stand in one strip: those of the baseline,
    or of the first run with examples. Of more than four, the baseline, the best, the worst and one between are shown,
    runs with all cells before others.
    """
    left_out = [(run.name, "kept no examples (--keep-predictions)") for run in group.runs if run.folder not in examples]
    there = [run for run in group.runs if run.folder in examples]
    if not there:
        return [], left_out
    first = group.baseline if group.baseline in there else there[0]
    alike = [run for run in there if _pixels(run, examples) == _pixels(first, examples)]
    left_out += [(run.name, f"saw other pixels than {first.name}") for run in there if run not in alike]
    if len(alike) > MODELS:
        others = sorted((run for run in alike if run is not first), key=lambda run: run.name)
        others.sort(key=lambda run: -run.summary.mPC if run.summary.complete else math.inf)
        whole = [run for run in others if run.summary.complete]
        if len(whole) >= MODELS - 1:  # the mPC of a grid with holes is no worst one
            others = whole
        step = (len(others) - 1) / (MODELS - 2)
        kept = [first, *(others[round(step * place)] for place in range(MODELS - 1))]
        alike = [run for run in alike if run in kept]
    return [(run.name, examples[run.folder]) for run in alike], left_out


def _pixels(run: Run, examples: Mapping[Path, Examples]) -> tuple[object, ...]:
    return (run.card.get("data_sha256"), run.card.get("corruption_engine_version"), examples[run.folder].settings)


def choose(runs: Sequence[Examples]) -> list[Choice]:
    """Which strips to show: the median drop, the worst drop, and the median one of each family.

    The drop of an image under a corruption is the clean quality minus the mean over severities, averaged over models.
    Only images and corruptions that every model has are looked at; none is shown twice, and images take turns.
    """
    drops: dict[tuple[str, str], float] = {}
    for image in sorted(set.intersection(*(set(run.images) for run in runs)) if runs else ()):
        for corruption in BENCHMARK:
            found = [_drop(run.images[image], corruption) for run in runs]
            if all(value is not None for value in found):
                drops[image, corruption] = math.fsum(v for v in found if v is not None) / len(found)
    chosen: list[Choice] = []
    taken: set[tuple[str, str]] = set()

    def take(key: tuple[str, str] | None, reason: str) -> None:
        if key is not None and key not in taken:
            taken.add(key)
            chosen.append(Choice(key[0], key[1], reason, drops[key]))

    if drops:
        take(_median(drops), "median drop")
        take(max(drops, key=lambda k: drops[k]), "worst drop")
        for family in FAMILIES:
            # Among the images that were shown least, so that a few images do not stand for all.
            shown = {image: sum(choice.image == image for choice in chosen) for image, _ in drops}
            fewest = min(shown.values())
            mine = {k: v for k, v in drops.items() if CORRUPTIONS[k[1]] == family and shown[k[0]] == fewest}
            mine = {k: v for k, v in mine.items() if k not in taken} or {
                k: v for k, v in drops.items() if CORRUPTIONS[k[1]] == family and k not in taken
            }
            take(_median(mine), f"median of {family}")
    return chosen


def _median(drops: Mapping[tuple[str, str], float]) -> tuple[str, str] | None:
    if not drops:
        return None
    middle = statistics.median_low(drops.values())
    return min(key for key, value in drops.items() if value == middle)


def _drop(example: Example, corruption: str) -> float | None:
    clean = quality(example, CLEAN)
    values = [quality(example, Condition(corruption, level)) for level in SEVERITIES]
    there = [value for value in values if value is not None]
    return clean - math.fsum(there) / len(there) if clean is not None and len(there) == len(values) else None
