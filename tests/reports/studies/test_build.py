"""The command over tidy tables: what it prints and writes, figures among it."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from rtx.cli.main import main
from rtx.reports.studies.build import build, tables_of
from rtx.reports.studies.figures import by_epoch, by_size, draw_pair
from rtx.reports.studies.order import references_of
from rtx.reports.studies.rows import read_study
from tests.reports.studies.made_tables import NATURAL, ROBUST, probed, subsets, trained, write_table


def test_everything_that_there_are_rows_for_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    eps = [
        trained(f"resnet50_l2_eps{e}", "fixed", "dtd", s, 0.5 + 0.01 * s, recipe="salman")
        for e in (0, 3)
        for s in (0, 1)
    ]
    files = [write_table(tmp_path / "runs.csv", [*subsets(), *eps])]
    files += [write_table(tmp_path / "probe.csv", [probed(ROBUST, "svhn", 200, 0, 0.7, selected_on="test")])]
    out = tmp_path / "out"
    assert main(["experiments", "table", *map(str, files), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    for name in ("salman_table1", "best_eps", "utrera_table7_1", "differences", "epochs"):
        assert f"[{name}]" in text and (out / f"{name}.md").is_file() and (out / f"{name}.tex").is_file()
    for name in ("by_size_1", "by_epoch_1", "by_eps_fixed"):
        assert {path.suffix for path in out.glob(f"{name}.*")} == {".pdf", ".svg", ".png"}
    assert "chosen on the test set" in text
    with (out / "scores.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 + 2 + 1
    row = next(r for r in rows if (r["source"], r["target"], r["images"]) == (NATURAL, "svhn", "400"))
    assert (row["seeds"], row["metric"]) == ("3", "top-1") and float(row["mean"]) == pytest.approx(0.6)
    assert float(row["lowest"]) == pytest.approx(0.5) and float(row["t_low"]) < float(row["bootstrap_low"]) < 0.6


def test_the_same_tables_give_the_same_bytes(tmp_path: Path) -> None:
    study = read_study([write_table(tmp_path / "runs.csv", subsets())])
    for out in ("one", "two"):
        build(study, tmp_path / out, tables_of(study))
    names = [path.name for path in (tmp_path / "one").iterdir()]
    assert len(names) > 10
    assert all((tmp_path / "one" / n).read_bytes() == (tmp_path / "two" / n).read_bytes() for n in names)


def test_lines_of_the_figures_are_of_pairs(tmp_path: Path) -> None:
    study = read_study([write_table(tmp_path / "runs.csv", subsets())])
    (pair,) = by_size(study, references_of(study, None))
    assert (pair.source.text, pair.reference.text) == (ROBUST, NATURAL) and list(pair.gains) == ["cifar10", "svhn"]
    assert {n: round(s.mean, 4) for n, s in pair.gains["svhn"].items()} == {100: 0.051, 400: 0.051}
    whole = [trained(s, "blocks:3", "svhn", 0, 0.5, subset=True) for s in (NATURAL, ROBUST)]
    study = read_study([write_table(tmp_path / "runs.csv", [*subsets(), *whole])])
    pairs = by_size(study, references_of(study, None))
    assert 73_257 not in pairs[0].gains["svhn"], "all images of a part are not all of the published set"
    curves = by_epoch(study, references_of(study, None))
    assert [round(curve.gains["svhn"][11].mean, 4) for curve in curves] == [0.1, 0.1]
    few = {epoch: curves[0].gains["svhn"][11] for epoch in (5, 6)}
    figure = draw_pair(replace(curves[0], scores={"svhn": (few, few)}, gains={"svhn": few}))
    assert all(tick == int(tick) for axes in figure.axes for tick in axes.get_xticks()), "epochs are whole numbers"


def test_long_names_of_two_files_stay_apart_in_the_legend(tmp_path: Path) -> None:
    names = [f"resnet18:weights/of/some/experiment/resnet18_{name}.pth" for name in ("standard", "l2_eps0.5")]
    rows = [trained(name, "full", "svhn", 0, 0.5, images=n) for name in names for n in (100, 400)]
    study = read_study([write_table(tmp_path / "runs.csv", rows)])
    (pair,) = by_size(study, references_of(study, None))
    shown = [text.get_text() for text in draw_pair(pair).legends[0].get_texts()]
    assert shown[-2].endswith("l2_eps0.5.pth") and shown[-1].endswith("standard.pth (dashed)")


def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_table(tmp_path / "runs.csv", subsets()))
    for words, message in (
        (["--only", "table9"], "--only table9: must be one of salman_table1"),
        (["--reference", "resnet50_in1k"], "did you mean 'resnet50_in1k_v1'"),
        (["--out", path], "is a file"),
    ):
        assert main(["experiments", "table", path, *words]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
