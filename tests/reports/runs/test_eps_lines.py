"""Lines over eps join runs of one model only, and no run goes missing unsaid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from rtx.reports.runs.eps_lines import eps_lines, eps_notes, eps_point, undrawn
from rtx.reports.figures.transfer import axis_notes, axis_point, draw_axes, draw_eps, source_axis
from rtx.reports.runs.groups import Group, group_runs
from rtx.reports.runs.runs import Run, load_run, load_runs
from tests.reports.made import as_its_leaf, make_run

Made = tuple[str, str, str]


def _group(root: Path, rows: list[Made], robust: float | None = 0.2, **more: Any) -> Group:
    """Runs given as (name, config, source); where `robust` is None, it grows with their place."""
    found, made = [], dict[float, Run]()
    for place, (name, config, source) in enumerate(rows):
        value = 0.1 + 0.05 * place if robust is None else robust
        if value not in made:
            made[value] = load_run(make_run(root, f"m{value}", robust=value, **more))
        card = {**made[value].card, "source": f"resnet50_{source}", "labels": as_its_leaf({"run": name, "config": config})}
        found.append(replace(made[value], name=name, card=card))
    (group,) = group_runs(found)
    return group


def _names(group: Group) -> list[list[list[str]]]:
    return [[[run.name for run in point.runs] for point in line.points] for line in eps_lines(group)]


def test_unlike_models_are_unlike_lines(tmp_path: Path) -> None:
    rows = [(f"{kind} {s}", f"{kind}_r50", s) for kind in ("fcos", "detr", "maskrcnn_1x", "maskrcnn_3x")
            for s in ("l2_eps0", "l2_eps3")]  # fmt: skip
    group = _group(tmp_path, rows)
    assert sorted(_names(group)) == sorted([[a[0]], [b[0]]] for a, b in zip(rows[::2], rows[1::2], strict=True))
    assert len({line.mode for line in eps_lines(group)}) == 4 and not undrawn(group)


def test_repeats_of_an_eps_are_one_point_with_its_number(tmp_path: Path) -> None:
    rows = [("std", "maskrcnn_r50", "l2_eps0"), ("a", "maskrcnn_r50", "l2_eps3"), ("b", "maskrcnn_r50", "l2_eps3")]
    group = _group(tmp_path, rows, robust=None)
    assert _names(group) == [[["std"], ["a", "b"]]]
    mean = eps_lines(group)[0].points[1].mean("mPC")
    assert mean == pytest.approx(sum(run.summary.mPC for run in group.runs[1:]) / 2)
    assert eps_notes(group) == ["Means of several runs, which are the small dots: full, L2 eps 3: 2."]
    assert "no interval" in eps_point(group) and draw_eps(group) is not None


def test_what_is_in_no_line_is_named(tmp_path: Path) -> None:
    rows = [("v1", "maskrcnn_r50", "in1k_v1"), ("v2", "maskrcnn_r50", "in1k_v2"), ("eps3", "maskrcnn_r50", "l2_eps3"),
            ("alone", "fcos_r50", "l2_eps3")]  # fmt: skip
    group = _group(tmp_path, rows)
    assert _names(group) == [[["v1"], ["eps3"]]]
    drawn = {name for line in _names(group) for point in line for name in point}
    said = " ".join(eps_notes(group))
    assert all(name in said for name in {row[0] for row in rows} - drawn)
    assert said.count("Not drawn") == 2


def test_publishers_are_not_joined_and_a_standard_source_of_ones_own_goes_first(tmp_path: Path) -> None:
    rows = [(s, "maskrcnn_r50", s) for s in ("in1k_v1", "l2_eps0", "l2_eps3", "madry_l2_eps3", "linf_eps4")]
    assert _names(_group(tmp_path, rows)) == [
        [["l2_eps0"], ["l2_eps3"]],
        [["in1k_v1"], ["madry_l2_eps3"]],
        [["l2_eps0"], ["linf_eps4"]],
    ]


def test_norms_are_not_pooled_and_ties_are_said(tmp_path: Path) -> None:
    modes, norms, radii = ("fixed", "full"), ("l2", "linf"), (1, 2)
    paths = [
        make_run(tmp_path, f"{mode}{norm}{eps}", source=f"resnet50_{norm}_eps{eps}", transfer=mode, robust=robust)
        for mode in modes
        for norm in norms
        for eps, robust in zip(radii, (0.3, 0.3 if norm == "linf" else 0.1), strict=True)
    ]
    (group,) = group_runs(load_runs(paths))
    text = eps_point(group)
    assert text == (
        "mPC is highest at L2 eps 1 in 2 of 2 lines (no interval); at Linf eps 1/255 or 2/255 in 2 of 2 lines each "
        "(may be chance)"
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [({}, "no interval"), ({"resamples": 100}, ""), ({"resamples": 100, "robust": 0.2}, "may be chance"),
     ({"resamples": 100, "n_images": 3}, "may be chance")],
)  # fmt: skip
def test_the_best_eps_says_how_sure_it_is(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    rows = [(source, "maskrcnn_r50", source) for source in ("l2_eps0", "l2_eps3")]
    text = eps_point(_group(tmp_path, rows, **{"robust": None, **more}))
    assert all((word in text) == (word == words) for word in ("no interval", "may be chance"))


def test_the_batch_norm_policy_is_part_of_the_transfer(tmp_path: Path) -> None:
    paths = [
        make_run(tmp_path, f"{norm}{eps}", source=f"resnet50_l2_eps{eps}",
                 freeze_map={"backbone": {"arch": "resnet50", "norm_policy": norm}})
        for norm in ("eval", "train")
        for eps in (0, 3)
    ]  # fmt: skip
    lines = eps_lines(group_runs(load_runs(paths))[0])
    assert [line.mode for line in lines] == ["full, norm eval", "full, norm train"]


def test_the_source_axis_knows_each_recipe_apart(tmp_path: Path) -> None:
    rows = [(s, "maskrcnn_r50", s) for s in ("in1k_v1", "in1k_v2", "ant", "augmix")]
    group = _group(tmp_path, rows)
    assert {run.name for run, _ in source_axis(group)} == {"in1k_v1", "ant", "augmix"}
    assert "no interval" in axis_point(group) and draw_axes(group) is not None
    assert axis_notes(group) == ["Not drawn (no published ImageNet-C accuracy of their source): in1k_v2."]


def test_long_names_stay_in_the_figure(tmp_path: Path) -> None:
    long = "a_very_long_name_of_a_detector_of_ones_own_with_more"
    rows = [(f"{n} {s}", f"{long}_{n}_r50", s) for n in range(3) for s in ("l2_eps0", "l2_eps3")]
    rows += [(f"alone with a long name number {n}", f"x{n}", "l2_eps3") for n in range(9)]
    figure = draw_eps(_group(tmp_path, rows))
    assert figure is not None
    figure.set_dpi(300)  # letters are wider than on a coarse screen
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in [*figure.texts, *figure.legends[0].get_texts()]]
    assert len(boxes) > 8 and all(0 <= box.x0 and box.x1 <= figure.bbox.width for box in boxes)


def test_the_labels_of_both_transfer_figures_stay_inside(tmp_path: Path) -> None:
    rows = [(f"a long name of a run with {s}", "maskrcnn_r50", s) for s in ("in1k_v1", "ant", "linf_eps4")]
    group = _group(tmp_path, rows)
    for figure in (draw_eps(group), draw_axes(group)):
        assert figure is not None
        figure.set_dpi(300)
        renderer = FigureCanvasAgg(figure).get_renderer()
        labels = [label for axes in figure.axes for label in (axes.xaxis.label, axes.yaxis.label)]
        figure.draw(renderer)
        for box in (label.get_window_extent(renderer) for label in labels):
            assert 0 <= box.x0 and box.x1 <= figure.bbox.width
