"""Small multiples: every model in every panel, and of many those told apart that stand out."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.collections import LineCollection
from matplotlib.text import Text

from rtx.reports.figures import multiples
from rtx.reports.runs.groups import Group, group_runs
from rtx.reports.runs.runs import load_runs
from tests.reports.made import make_run


def group_of(root: Path, count: int) -> Group:
    folders = [make_run(root, f"m{n:02d}", clean=0.3, robust=0.08 * ((n * 5) % count) + 0.01) for n in range(count)]
    return group_runs(load_runs(folders, baseline="m03"))[0]


@pytest.mark.parametrize("count", [multiples.MOST, multiples.MOST + 1, 12])
def test_every_model_is_in_every_panel(tmp_path: Path, count: int) -> None:
    group = group_of(tmp_path, count)
    figure = multiples.draw(group)
    assert figure is not None
    told = group.standing_out(group.runs, multiples.MOST)
    for axes in figure.axes:
        own = [line for line in axes.lines if len(line.get_xdata()) == 6]
        grey = [path for each in axes.collections if isinstance(each, LineCollection) for path in each.get_segments()]
        assert len(own) == len(told) and len(own) + len(grey) == count
    words = {text.get_text() for text in figure.legends[0].findobj(Text)}
    if count <= multiples.MOST:
        assert told == list(group.runs) and {run.name for run in told} <= words
        return
    best, worst = (order(group.runs, key=lambda run: run.summary.mPC).name for order in (max, min))
    assert [run.name for run in told] == sorted({"m03", best, worst}) and len(told) == 3
    assert {"m03 (baseline)", f"{best} (highest mPC)", f"{worst} (lowest mPC)", f"{count - 3} others"} <= words
