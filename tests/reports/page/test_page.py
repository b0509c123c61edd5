"""What a report does where there is too much, where something lies in its place, or where settings are a user's own."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import matplotlib as mpl
import pytest

from rtx.errors import RunConflict
from rtx.reports import build as building
from rtx.reports.build import build
from rtx.reports.figures.style import not_drawn
from rtx.reports.page import page as paging
from rtx.reports.runs.runs import Run, load_runs
from tests.reports.made import make_examples, make_run

QUICK = ("svg",)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    root = tmp_path_factory.mktemp("two")
    folders = [make_run(root, name, robust=0.2 * n, classes=("a", "b")) for n, name in enumerate(("one", "two"))]
    for n, folder in enumerate(folders):
        make_examples(folder, robust=0.1 + 0.4 * n)
    return load_runs(folders)


def sections(html: str) -> dict[str, str]:
    found = re.findall(r'<section class="view [a-z]+" id="g0-(\w+)".*?</section>', html, re.S)
    whole = re.split(r'(?=<section class="view )', html)[1:]
    return dict(zip(found, whole, strict=True))


def test_what_has_no_place_in_the_page_is_a_file(
    two: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build(two, tmp_path / "whole", formats=QUICK).page.read_text()
    assert "figures/ only" not in whole and "Too large" not in whole and whole.count("<img ") == 6
    figures = tmp_path / "whole" / "figures"
    monkeypatch.setattr(paging, "PICTURES", 1000)
    monkeypatch.setattr(building, "CHARTS", (figures / "scatter.svg").stat().st_size + 10)
    page = build(two, tmp_path / "small", formats=QUICK).page.read_text()
    now = sections(page)
    assert "<img " not in now["strips"] and "figures/ only" in now["strips"]
    assert sum("<figure>" in part for part in now.values()) == 1, "the smallest chart has a place"
    assert "Too large for this page" in now["multiples"] and 'href="figures/multiples.svg"' in now["multiples"]
    names = [sorted(path.name for path in (tmp_path / name / "figures").iterdir()) for name in ("whole", "small")]
    assert names[0] == names[1], "the files are all there"


def test_letters_that_figures_cannot_show_are_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not_drawn(["Größe, β ≤ 1, жар", "a\n"]) == ""
    folder = make_run(tmp_path, "plain", classes=("水果", "坚果", "fig"))
    build(load_runs([folder]), tmp_path / "report", formats=QUICK)
    (said,) = (record.getMessage() for record in caplog.records if "boxes" in record.getMessage())
    assert "坚果水" in said


@pytest.mark.parametrize("name", ["results.csv", "tables/overall.tex", "figures/mine.pdf", "summary.json"])
def test_what_is_not_of_a_report_is_not_written_over(two: list[Run], tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    with pytest.raises(RunConflict, match=name.partition("/")[0]):
        build(two, tmp_path, formats=QUICK)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [tmp_path / name]
    assert (tmp_path / name).read_text() == "{}"


def test_an_interrupted_report_is_taken_up_again(
    two: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(building.rows, "metrics_csv", stop)
    with pytest.raises(KeyboardInterrupt):
        build(two, tmp_path, formats=QUICK)
    assert json.loads((tmp_path / "summary.json").read_text())["unfinished"] is True
    monkeypatch.undo()
    build(two, tmp_path, formats=QUICK)
    assert "unfinished" not in json.loads((tmp_path / "summary.json").read_text())


def test_settings_of_a_user_change_nothing(two: list[Run], tmp_path: Path) -> None:
    build(two, tmp_path / "plain", formats=("svg", "pdf"))
    with mpl.rc_context({"savefig.bbox": "tight", "text.usetex": True, "lines.solid_capstyle": "round"}):
        build(two, tmp_path / "own", formats=("svg", "pdf"))
        assert mpl.rcParams["savefig.bbox"] == "tight"
    for path in (tmp_path / "plain" / "figures").iterdir():
        assert (tmp_path / "own" / "figures" / path.name).read_bytes() == path.read_bytes(), path.name


def test_dollar_signs_of_a_name_are_no_mathematics(tmp_path: Path) -> None:
    names = (r"$\bad{$", r"a$_b$")
    folders = [make_run(tmp_path, str(n), labels={"run": name}, classes=(name, "b")) for n, name in enumerate(names)]
    report = build(load_runs(folders), tmp_path / "report", formats=QUICK)
    assert all(name in report.page.read_text() for name in names)
    shutil.rmtree(tmp_path / "report")
