"""The label match of a report's runs, where `rtx influence` has left it beside them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rtx.files import read_json
from rtx.reports.figures.influence import label_match
from rtx.reports.runs.groups import Group
from rtx.reports.text.wording import percent, shorten

log = logging.getLogger(__name__)

FOLDER, FILE = "influence", "influence.json"
"""`rtx influence work_dirs/RUN` writes work_dirs/influence/RUN/influence.json."""


def influences_of(group: Group) -> list[tuple[str, dict[str, Any]]]:
    """Name and content for each run with its influence beside it, of its weights and by the first one's rules."""
    found: list[tuple[str, dict[str, Any]]] = []
    for run in group.runs:
        folder = run.folder.resolve().parent
        card = _read(folder.parent / FOLDER / folder.name / FILE)
        if card is None:
            continue
        if card.get("weights") != run.card.get("weights_sha256"):
            log.warning("%s: its influence is of other weights and left out", run.name)
        elif found and any(card.get(key) != found[0][1].get(key) for key in ("convention", "inverse", "curvature")):
            log.warning("%s: its influence is by another convention than %s's and left out", run.name, found[0][0])
        else:
            found.append((run.name, card))
    return found


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        card = read_json(path)
        curve = np.array(card["match_by_rank"], float)
        if curve.ndim != 1 or not len(curve) or not np.isfinite([*curve, float(card["chance"])]).all():
            raise ValueError("match_by_rank is no list of numbers")
    except (OSError, ValueError, LookupError, TypeError) as error:
        log.warning("%s: cannot be read and is left out (%s); rtx influence writes it again", path, error)
        return None
    return card


def draw(group: Group) -> Figure | None:
    """The figure, or None where no run has it."""
    there = influences_of(group)
    if not there:
        return None
    return label_match([(name, np.array(card["match_by_rank"])) for name, card in there], there[0][1]["chance"])


def point(group: Group) -> str:
    """What it says."""
    there = influences_of(group)
    shares = [f"{shorten(name, 24)} {percent(card['match_by_rank'][0], 0)} %" for name, card in there[:4]]
    return f"Test images with the label of their most helpful training image: {', '.join(shares)}"
