"""A report shows the label match of runs that have their influence beside them, and of no others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rtx.reports.build import build
from rtx.reports.figures.influence_of_runs import draw, influences_of, point
from rtx.reports.runs.groups import group_runs
from rtx.reports.runs.runs import load_runs
from rtx.results.folder import read_card
from tests.reports.made import make_run


def test_beside_its_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folders = []
    for n, name in enumerate(("one", "two", "three", "four", "five")):
        made = make_run(tmp_path, name, robust=0.1 * n)
        folders.append(tmp_path / "runs" / name / "corruption_eval")
        shutil.copytree(made, folders[-1])
        card = {
            "weights": read_card(made)["weights_sha256"] if name != "three" else "others",
            "convention": "rtx" if name != "four" else "code",
            "match_by_rank": [0.5 + 0.1 * n, 0.4, 0.3],
            "chance": 0.1,
        }
        place = tmp_path / "runs" / "influence" / name / "influence.json"
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps(card) if name != "five" else "{}")
    (group,) = group_runs(load_runs(folders))
    assert {name for name, _ in influences_of(group)} == {"one", "two"}
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "three: its influence is of other weights" in said and "another convention" in said and "five" in said
    figure = draw(group)
    assert figure is not None and len(figure.axes[0].lines) == 3, "two runs and chance"
    assert "one 50 %" in point(group) and "two 60 %" in point(group)
    page = build(load_runs(folders), tmp_path / "report", formats=("svg",)).page.read_text()
    assert 'id="g0-influence"' in page and "Training images behind the answers" in page
    shutil.rmtree(tmp_path / "runs" / "influence")
    assert draw(group) is None
