"""The cut fonts: made once, whole or not at all, anew when what is cut changes; looking them up changes no text."""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from rtx.reports.build import build
from rtx.reports.figures import fonts
from rtx.reports.figures.style import RC, new_figure, save
from rtx.reports.runs.runs import load_runs
from tests.reports.made import make_run


def test_fonts_are_cut_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fonts.cut(tmp_path / "cache")
    made = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(made) == {"DejaVuSans.ttf", "DejaVuSans-Bold.ttf"} and all(len(data) < 150_000 for data in made.values())
    monkeypatch.setattr(fonts, "_cut_into", lambda _: pytest.fail("cut again"))
    assert fonts.cut(tmp_path / "cache") == folder
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in fonts.cut(tmp_path / "other").iterdir()} == made
    monkeypatch.setattr(mpl, "__version__", "99")
    assert fonts.cut(tmp_path / "cache") != folder


def test_a_cut_that_fails_or_comes_second_leaves_whole_fonts_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = fonts._cut_into

    def fail(folder: Path) -> None:
        (folder / "DejaVuSans.ttf").write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(fonts, "_cut_into", fail)
    with pytest.raises(OSError, match="disk full"):
        fonts.cut(tmp_path)
    assert list(tmp_path.iterdir()) == []

    def second(folder: Path) -> None:
        cut(folder)
        monkeypatch.setattr(fonts, "_cut_into", cut)
        fonts.cut(tmp_path)  # another process is done first

    monkeypatch.setattr(fonts, "_cut_into", second)
    folder = fonts.cut(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name] and len(list(folder.iterdir())) == 2


def _figure() -> Figure:
    with mpl.rc_context(RC):
        figure = new_figure(1.0)
        for n, (weight, word) in enumerate((("bold", "Größe"), ("normal", "β ≤ 1"), ("normal", "жар"))):
            figure.text(0.1, 0.3 * n, word, fontweight=weight, fontsize=5 + n)
    return figure


def test_a_remembered_font_is_the_font_that_would_be_found(tmp_path: Path) -> None:
    manager = font_manager.fontManager
    properties = [font_manager.FontProperties(family=list(fonts.register()), weight=w) for w in ("bold", "normal")]
    before = [manager._find_fonts_by_props(each) for each in properties]
    with fonts.looked_up_once():
        assert [manager._find_fonts_by_props(each) for each in properties * 2] == before * 2
        save(_figure(), tmp_path / "within", ("svg", "pdf"))
    assert "_find_fonts_by_props" not in vars(manager)
    save(_figure(), tmp_path / "after", ("svg", "pdf"))
    for kind in ("svg", "pdf"):
        assert (tmp_path / f"within.{kind}").read_bytes() == (tmp_path / f"after.{kind}").read_bytes()


def test_letters_that_figures_cannot_show_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert fonts.not_drawn(["Größe, β ≤ 1, жар", "a\n"]) == ""
    folder = make_run(tmp_path, "plain", classes=("水果", "坚果", "fig"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build(load_runs([folder]), tmp_path / "report", formats=("svg",))
    (said,) = (record.getMessage() for record in caplog.records if "boxes" in record.getMessage())
    assert "坚果水" in said
