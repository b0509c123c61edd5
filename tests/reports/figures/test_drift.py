"""Figures of drift: the layer that is named is where it falls most; a report draws what lies beside its runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtx.reports.build import build
from rtx.reports.figures.drift import by_corruption, by_layer, deepest, drift_point, steepest
from rtx.reports.figures.style import settings
from rtx.reports.runs.runs import load_runs
from rtx.reports.text.wording import MINUS
from rtx.results.drift import MEASURES, PAIRS, Drift, DriftCell, DriftFolder
from rtx.results.folder import read_card
from rtx.types import CLEAN, Condition
from tests.reports.made import make_run

LAYERS = ("stage1", "stage2", "stage3", "stage4", "neck1")
CONDITIONS = (CLEAN, Condition("fog", 1), Condition("fog", 5), Condition("frost", 1), Condition("frost", 5))


def made(root: Path, name: str, values: Any, **more: Any) -> Drift:
    """A folder in which clean and corrupted features are that alike, by layer; the necks have no source."""
    card = {"run": name, "layers": LAYERS, "n_images": 9, "images_sha256": "i", "minibatch": 16, "seed": 0}
    folder = DriftFolder(root / name / "drift", {**card, "source_weights_sha256": "s", "source": "x", **more})
    for condition in CONDITIONS:
        cell = np.full((len(PAIRS), len(LAYERS), len(MEASURES)), np.nan)
        if condition != CLEAN:
            low = 0.1 * (condition.severity == 5) + 0.05 * (condition.corruption == "frost")
            cell[0] = np.array(values)[:, None] - low
            cell[1, :4] = 0.5
        cell[2, :4] = 0.8
        without = cell[..., None] + np.linspace(-1e-3, 1e-3, 9)
        folder.write(condition, DriftCell(cell, without))
    return folder.finish(CONDITIONS)


def titled(figure: Any) -> str:
    return " ".join(figure.texts[0].get_text().split())


def test_the_title_names_the_steepest_fall(tmp_path: Path) -> None:
    mine = made(tmp_path, "mine", [0.9, 0.85, 0.4, 0.3, 0.1])
    place, fall = steepest(mine)
    assert (mine.layers[place], round(fall, 6)) == ("stage3", 0.45) and deepest(mine) == "stage4"
    other = made(tmp_path, "other", [0.5, 0.45, 0.4, 0.35, 0.3])
    assert steepest(other)[0] == 0
    with settings():
        figure = by_layer([mine, other])
        alone = by_corruption(mine)
    assert titled(figure) == f"{drift_point([mine, other])}" and f"stage3 (mine, CKA {MINUS}0.45)" in titled(figure)
    left, right = figure.axes
    assert len(left.lines) == 3, "the source of both is drawn once" and len(right.lines) == 4
    expected = [0.825, 0.775, 0.325, 0.225, 0.025]
    assert left.lines[0].get_ydata() == pytest.approx(expected)
    assert "frost leaves least (linear CKA 0.20)" in titled(alone)
    cells = [text.get_text() for text in alone.axes[0].texts if re.fullmatch(r"-?\d\.\d\d", text.get_text())]
    assert len(cells) == 10 and (cells[0], cells[5]) == ("0.80", "0.85"), "frost, then fog"


def test_a_report_draws_it_beside_its_runs(tmp_path: Path) -> None:
    folders = []
    for n, name in enumerate(("one", "two", "three")):
        run = make_run(tmp_path, name, robust=0.2 * n)
        folders.append(tmp_path / "runs" / name / "corruption_eval")
        shutil.copytree(run, folders[-1])
        if name != "three":
            weights = read_card(run)["weights_sha256"] if name == "one" else "of other weights"
            made(tmp_path / "runs", name, [0.9, 0.85, 0.4, 0.3, 0.1], weights_sha256=weights)
    page = build(load_runs(folders), tmp_path / "report", formats=("svg",)).page.read_text()
    assert 'id="g0-drift"' in page and (tmp_path / "report" / "figures" / "drift.svg").is_file()
    assert "Corruption moves features most" in page
    shutil.rmtree(tmp_path / "runs" / "one" / "drift")
    page = build(load_runs(folders), tmp_path / "report", formats=("svg",)).page.read_text()
    assert 'id="g0-drift"' not in page and not (tmp_path / "report" / "figures" / "drift.svg").exists()
