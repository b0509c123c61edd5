"""Laws of what is drawn: readable in one column, names told apart, nothing over anything else."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from rtx.reports.figures import families
from rtx.reports.page.charts import EVERY, Chart
from rtx.reports.runs.groups import Group, group_runs
from rtx.reports.runs.runs import load_runs
from rtx.reports.runs.trend import fit, residual
from rtx.reports.text.wording import shorten, shortened
from tests.reports.made import make_run

SMALLEST = 5.0
"""Points: what journals print at the least."""
WORDS = "Faster R-CNN ResNet-50 trained on stylised images, seed {} of the second round"
CONFIGS = ("fasterrcnn_r50", "maskrcnn_r50")


def _group(root: Path, count: int) -> Group:
    words = WORDS if count != 5 else "m{}"  # short names leave less room than is thought
    sources = ("resnet50_l2_eps0", "resnet50_l2_eps3", "resnet50_l2_eps1")
    folders = [
        make_run(root, words.format(n), folder=str(n), clean=0.36 + 0.01 * n, robust=(0.1 + 0.05 * n, 1.6)[n % 2],
                 resamples=20, diagnosed=True,
                 classes=("person", "car"), source=sources[n % 3], transfer=("full", "fixed")[n // 3 % 2],
                 labels={"run": words.format(n), "config": CONFIGS[n // 6 % 2]})
        for n in range(count)
    ]  # fmt: skip
    return group_runs(load_runs(folders))[0]


@pytest.fixture(scope="module", params=[2, 5, 12], ids=lambda n: f"{n} models")
def figures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Chart, Figure]]:
    group = _group(tmp_path_factory.mktemp("figures"), request.param)
    drawn = [(view, figure) for view in EVERY if (figure := view.draw(group)) is not None]
    for _, figure in drawn:
        figure.draw_without_rendering()
    return drawn


def _texts(figure: Figure) -> list[Text]:
    beyond = set()  # Matplotlib keeps ticks past the ends of an axis, and does not draw them
    for axes in figure.axes:
        for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            beyond |= {id(t.label1) for t in axis.get_major_ticks() if not min(ends) <= t.get_loc() <= max(ends)}
    texts = (text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip())
    return [text for text in texts if id(text) not in beyond]


def test_no_text_is_smaller_than_print_allows(figures: list[tuple[Chart, Figure]]) -> None:
    for view, figure in figures:
        small = [text.get_text() for text in _texts(figure) if text.get_fontsize() < SMALLEST]
        assert not small, (view.name, small)


def test_no_text_leaves_the_figure(figures: list[tuple[Chart, Figure]]) -> None:
    for view, figure in figures:
        page = figure.bbox
        for text in _texts(figure):
            box = text.get_window_extent()
            inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1
            assert inside, (view.name, text.get_text(), box.bounds, page.bounds)


def test_the_point_of_a_figure_covers_no_axes(figures: list[tuple[Chart, Figure]]) -> None:
    for view, figure in figures:
        point = figure.texts[-1].get_window_extent()
        others = [text.get_window_extent() for text in _texts(figure) if text is not figure.texts[-1]]
        for box in [axes.get_window_extent() for axes in figure.axes] + others:
            assert not point.overlaps(box), (view.name, box)


def test_no_text_lies_on_another(figures: list[tuple[Chart, Figure]]) -> None:
    for view, figure in figures:
        texts = _texts(figure)
        boxes = [text.get_window_extent().padded(1.2, -0.5) for text in texts]
        for (one, a), (two, b) in itertools.combinations(zip(texts, boxes, strict=True), 2):
            assert not a.overlaps(b), (view.name, one.get_text(), two.get_text())


def test_names_stay_apart_and_in_bounds() -> None:
    names = [WORDS.format(n) for n in range(12)] + ["plain", "Faster R-CNN R50 stylised only"]
    for most in (18, 22, 27):
        short = shortened(names, most)
        assert len(set(short)) == len(names) and max(map(len, short)) <= most
        assert short[-2] == "plain" and (most < 22 or short[-1].endswith("stylised only"))
    assert shorten("of three words", 40) == "of three words"


def test_the_trend_is_not_asked_far_from_its_points(tmp_path: Path) -> None:
    near, far = group_runs(
        load_runs([make_run(tmp_path, "near", clean=0.3), make_run(tmp_path, "far", clean=0.2)])
    )[0].runs  # fmt: skip
    group = Group("coco_val2017", "bbox_mAP", (near, far))
    assert residual(group, near) is not None and residual(group, far) is None
    line = fit([("a", 0.2, 0.1), ("b", 0.3, 0.2), ("c", 0.4, 0.3)])
    assert line is not None and line.reach == pytest.approx((0.1, 0.5))


def test_a_gain_that_may_be_chance_says_so(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    sure = [make_run(root, "base", robust=0.1, resamples=30), make_run(root, "better", robust=0.4, resamples=30)]
    assert "chance" not in families.point(group_runs(load_runs(sure))[0])
    plain = [make_run(root, "bare", robust=0.1), make_run(root, "other", robust=0.4)]
    assert families.point(group_runs(load_runs(plain))[0]).endswith("points (no interval)")
    close = [sure[0], make_run(root, "close", robust=0.1012, resamples=30)]
    assert families.point(group_runs(load_runs(close))[0]).endswith("points (may be chance)")
