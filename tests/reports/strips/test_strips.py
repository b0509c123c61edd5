"""What strips count as wrong, and whose predictions they show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rtx.reports.runs.groups import group_runs
from rtx.reports.runs.runs import load_runs
from rtx.reports.strips.examples import judge
from rtx.reports.strips.selection import models_shown
from rtx.results.examples import Box, read_examples
from rtx.types import CLEAN
from tests.reports.made import make_examples, make_run


def box(*corners: float, label: int = 0) -> Box:
    left, top, right, bottom = corners
    return Box((left, top, right, bottom), label, 0.9)


CROWD = box(0, 0, 100, 100)
TRUTH = [box(10, 10, 20, 20)]


@pytest.mark.parametrize(
    ("found", "hits", "alarms"),
    [
        (box(50, 50, 60, 60), 0, 0),  # in the crowd
        (box(50, 50, 60, 60, label=1), 0, 1),  # of another class
        (box(94, 0, 104, 10), 0, 0),  # mostly in it
        (box(96, 0, 106, 10), 0, 1),  # mostly outside
        (box(10, 10, 20, 20), 1, 0),  # an object first
    ],
)
def test_what_lies_in_a_crowd_is_neither_right_nor_wrong(found: Box, hits: int, alarms: int) -> None:
    verdicts = judge(TRUTH, [found], [CROWD])
    assert (len(verdicts.hits), len(verdicts.false_alarms), len(verdicts.missed)) == (hits, alarms, 1 - hits)
    without = judge(TRUTH, [found])
    assert len(without.hits) == hits and len(without.false_alarms) == 1 - hits


def test_ignored_boxes_are_read(tmp_path: Path) -> None:
    make_examples(tmp_path, robust=0.5, images=1)
    path = tmp_path / "examples" / "index.json"
    table = json.loads(path.read_text())
    table["images"][0]["ignored"] = [{"bbox": [0, 0, 5, 5], "label": 1}]
    path.write_text(json.dumps(table))
    found = read_examples(tmp_path)
    assert found is not None
    (example,) = found.images.values()
    assert [(b.bbox, b.label) for b in example.ignored] == [((0, 0, 5, 5), 1)]


def test_a_grid_with_holes_is_not_shown_as_the_worst(tmp_path: Path) -> None:
    folders = [make_run(tmp_path, f"m{n}", clean=0.4, robust=0.1 * n) for n in range(7)]
    for folder in folders:
        make_examples(folder, robust=0.5, images=1)
    for condition in ("fog_3", "snow_5"):
        (tmp_path / "m6" / "cells" / f"{condition}.json").unlink()
    runs = load_runs(folders)
    (group,) = group_runs(runs)
    assert not next(run for run in runs if run.name == "m6").summary.complete
    examples = {run.folder: found for run in runs if (found := read_examples(run.folder)) is not None}
    names = [name for name, _ in models_shown(group, examples)[0]]
    whole = sorted((run for run in runs if run.name != "m6"), key=lambda run: run.summary.mPC)
    assert whole[0].name == "m0" and whole[-1].name == "m5"
    assert group.baseline.name in names and {"m0", "m5"} <= set(names) and "m6" not in names
    assert all(CLEAN in next(iter(found.images.values())).views for found in examples.values())
