from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from rtx.corruptions import BENCHMARK, FAMILIES
from rtx.errors import BadValue, RunConflict
from rtx.reports.build import build
from rtx.reports.figures.style import COLUMN, FAMILY_COLOURS
from rtx.reports.page.charts import EVERY
from rtx.reports.runs.groups import group_runs
from rtx.reports.runs.runs import load_runs
from rtx.reports.tables.table import Table, latex, markdown, row, tex
from tests.reports.made import HOSTILE, make_family, make_map_examples, make_mixed, make_run

QUICK = ("svg",)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("four")
    build(load_runs(make_family(root / "runs", resamples=40, diagnosed=True)), root / "report")
    return root


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_same_input_same_bytes(four: Path) -> None:
    order = ("standard full", "standard fixed", "eps3 full", "eps3 fixed")
    build(load_runs([four / "runs" / name for name in order]), four / "again")
    assert contents(four / "again") == contents(four / "report")


def test_every_promised_file_is_there(four: Path) -> None:
    files = set(contents(four / "report"))
    assert {"report.html", "results.csv", "metrics.csv", "summary.json"} <= files
    for name in ("curve", "heat", "multiples", "families", "scatter", "diagnosis", "sizes", "eps"):
        assert {f"figures/{name}.{kind}" for kind in ("pdf", "svg", "png")} <= files
    for name in (
        "overall",
        "corruptions",
        "families",
        "layout_salman",
        "layout_utrera",
        "layout_yamada",
        "paper_against_yours",
    ):
        assert {f"tables/{name}.{kind}" for kind in ("md", "tex")} <= files
    assert files == set(json.loads((four / "report" / "summary.json").read_text())["files"])


def test_one_row_a_cell_at_full_precision(four: Path) -> None:
    rows = list(csv.DictReader((four / "report" / "results.csv").open()))
    assert len(rows) == 4 * 76
    run = load_runs([four / "runs" / "eps3 full"])[0]
    for found in (r for r in rows if r["model"] == "eps3 full"):
        key = "clean" if found["corruption"] == "clean" else f"{found['corruption']}_{found['severity']}"
        cell = json.loads((run.folder / "cells" / f"{key}.json").read_text())
        assert float(found["value"]) == cell["metrics"]["bbox_mAP"]
        assert found["family"] == cell["family"] and float(found["low"]) <= float(found["high"])


def test_figures_are_vector_fit_a_column_and_embed_fonts(four: Path) -> None:
    for path in (four / "report" / "figures").glob("*.pdf"):
        raw = path.read_bytes()
        width = float(re.search(rb"/MediaBox \[ ?0 0 ([\d.]+)", raw).group(1))  # type: ignore[union-attr]
        assert width <= COLUMN * 72 + 0.01, path.name
        assert b"/FontFile2" in raw and b"/Type3" not in raw, path.name
        assert b"CreationDate" not in raw and b"/Subtype /Image" not in raw, path.name


def test_one_colour_a_family_everywhere(four: Path) -> None:
    assert len(set(FAMILY_COLOURS.values())) == len(FAMILY_COLOURS)
    for name in ("families", "heat", "multiples"):
        text = (four / "report" / "figures" / f"{name}.svg").read_text()
        assert all(FAMILY_COLOURS[family] in text for family in FAMILIES), name


def test_the_page_stands_alone(four: Path) -> None:
    page = (four / "report" / "report.html").read_text()
    assert len(page.encode()) < 3_000_000
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\'' in page
    outside = re.findall(r'(?:src|href)="(https?:[^"]+)"', page)
    assert outside == []
    assert str(four) not in re.sub(r"Folder [^<]*|--out [^<\n]*|folder [^\"]*", "", page)


def test_order_of_the_page(four: Path) -> None:
    page = (four / "report" / "report.html").read_text()
    order = [
        'class="verdicts"',
        *(f'id="g0-{n}"' for n in ("curve", "strips", "heat", "multiples", "families", "scatter")),
    ]
    order += ['id="g0-sizes"', 'id="g0-completeness"', 'id="cards"']
    places = [page.index(mark) for mark in order]
    assert places == sorted(places)


def test_a_missing_cell_is_named_where_it_is_needed(tmp_path: Path) -> None:
    run = make_run(tmp_path, "m")
    (run / "cells" / "fog_3.json").unlink()
    (group,) = group_runs(load_runs([run]))
    for view in EVERY:
        lacking = view.missing(group)
        assert [[c.key for c in cells] for _, cells in lacking] == ([["fog_3"]] if view.required else [])
    report = build([*group.runs], tmp_path / "out", formats=QUICK)
    page = report.page.read_text()
    assert "fog 3" in page and "rtx corrupt_eval made.py made.pth --out" in page
    model = report.summary["groups"][0]["models"][0]
    assert model["complete"] is False and model["missing"] == ["fog_3"] and model["label"] != "mPC"


def test_hostile_text_is_text(tmp_path: Path) -> None:
    report = build(load_runs(make_mixed(tmp_path / "runs")), tmp_path / "out", formats=QUICK)
    page = report.page.read_text()
    assert page.count("<script") == 1 and "<img src=x" not in page and HOSTILE not in page
    for path in (tmp_path / "out" / "tables").rglob("*.md"):
        assert "<script" not in path.read_text()
    assert tex(r"\input{/etc/passwd}") == r"\textbackslash{}input\{/etc/passwd\}"
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").open()))
    assert {r["model"] for r in rows} == {"whole", HOSTILE, "preview (PREVIEW)", "amp", "upernet"}


def test_a_formula_in_a_name_is_no_formula(tmp_path: Path) -> None:
    build(load_runs([make_run(tmp_path, "=1+1", folder="m")]), tmp_path / "out", formats=QUICK)
    assert (tmp_path / "out" / "results.csv").read_text().splitlines()[1].startswith("'=1+1,")


def test_old_files_go_and_an_evaluation_stays(tmp_path: Path) -> None:
    run = make_run(tmp_path, "m")
    other = make_run(tmp_path, "n", source="resnet50_l2_eps3")
    build(load_runs([run, other]), tmp_path / "out", formats=QUICK)
    assert (tmp_path / "out" / "tables" / "layout_yamada.md").is_file()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    build(load_runs([run]), tmp_path / "out", formats=QUICK)
    assert not (tmp_path / "out" / "tables" / "layout_yamada.md").exists() and (tmp_path / "out" / "mine.txt").exists()
    with pytest.raises(RunConflict, match="holds an evaluation"):
        build(load_runs([run]), other)
    with pytest.raises(BadValue, match="no run"):
        build([], tmp_path / "x")


def test_zero_score_and_undefined_metrics_make_a_report(tmp_path: Path) -> None:
    report = build(
        load_runs([make_run(tmp_path, "dead", clean=0.0, flags=("no predictions",))]), tmp_path / "out", formats=QUICK
    )
    titles = [banner.title for banner in report.banners]
    assert "P is 0: dead" in titles and "Flagged: dead" in titles


def test_label_maps_are_drawn(tmp_path: Path) -> None:
    run = make_run(tmp_path, "seg", metric="mIoU", n_images=2000)
    make_map_examples(run, robust=0.2)
    report = build(load_runs([run]), tmp_path / "out", formats=QUICK)
    assert (tmp_path / "out" / "figures" / "strip_1.svg").is_file()
    assert report.page.read_text().count("data:image/jpeg") == 1


def test_a_table_in_both_forms() -> None:
    table = Table("t", "50 % of a_b", ("model", "P"), (row("x|y", "1.0"),), 1, ("note",))
    assert markdown(table) == "**50 % of a\\_b**\n\n| model | P |\n|---|---:|\n| x\\|y | 1.0 |\n\nnote\n"
    assert "50 \\% of a\\_b" in latex(table) and "x|y & 1.0 \\\\" in latex(table)


def test_all_benchmark_corruptions_have_a_panel() -> None:
    from rtx.reports.figures.multiples import COLUMNS, ROWS

    assert len(BENCHMARK) == COLUMNS * ROWS
