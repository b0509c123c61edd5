"""Table 1, the best eps, R2 and width: computed from rows by hand, the authors' released runs beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtx.reports.studies.rows import Study, read_study
from rtx.reports.studies.salman import best_eps, by_eps, source_and_target, table_1, width
from rtx.reports.tables.table import Table
from rtx.reports.text.wording import DASH
from rtx.sources.catalog.rows import find
from tests.reports.studies.made_tables import trained, write_table

SCORES = {
    ("resnet18", "0"): (0.60, 0.62),
    ("resnet18", "3"): (0.70, 0.71),
    ("resnet50", "0"): (0.75, 0.77),
    ("resnet50", "0.1"): (0.78, 0.81),
    ("resnet50", "3"): (0.79, 0.80),
}


def study(path: Path, **more: object) -> Study:
    rows = [
        trained(f"{arch}_l2_eps{eps}", "fixed", "cifar10", seed, score, recipe="salman", **more)
        for (arch, eps), scores in SCORES.items()
        for seed, score in enumerate(scores)
    ]
    rows += [trained("resnet50_l2_eps3", "fixed", "pets", 0, 0.9, recipe="salman", **more)]
    return read_study([write_table(path / "runs.csv", rows)])


def texts(table: Table | None) -> list[dict[str, str]]:
    assert table is not None
    return [
        {name: f"{e.text} {e.below}".strip() for name, e in zip(table.head, row, strict=True)} for row in table.rows
    ]


def test_table_1_is_the_maximum_over_architectures_and_eps_of_means(tmp_path: Path) -> None:
    table = table_1(study(tmp_path))
    robust, standard, released = texts(table)
    assert (robust["source"], robust["CIFAR-10"]) == ("robust", "79.50 (resnet50 l2 0.1)")
    assert standard["CIFAR-10"] == "76.00 (resnet50)"
    assert (robust["Pets"], standard["Pets"]) == ("90.00 (resnet50 l2 3)", DASH)
    assert released["CIFAR-10"] == "95.57 (wide_resnet50_4 l2_eps3)"
    assert table is not None and table.rows[0][2].best and not table.rows[1][2].best
    assert any("Selected on the test set" in note for note in table.notes)
    assert any("mean per class for Pets" in note for note in table.notes)
    assert any(note.startswith("Released best run") for note in table.notes)


def test_table_1_has_a_random_source_and_no_row_without_one(tmp_path: Path) -> None:
    names = (("resnet18:random", 0.3), ("resnet18_l2_eps0", 0.5))
    rows = [trained(name, "full", "cifar10", 0, score, recipe="salman", subset=True) for name, score in names]
    table = table_1(read_study([write_table(tmp_path / "a.csv", rows)]))
    assert [(row["source"], row["CIFAR-10"]) for row in texts(table)] == [
        ("standard", "50.00 (resnet18)"),
        ("random", "30.00 (resnet18)"),
    ]


def test_no_published_run_stands_beside_a_part_of_the_data(tmp_path: Path) -> None:
    table = table_1(study(tmp_path, subset=True))
    assert [row["source"] for row in texts(table)] == ["robust", "standard"]
    assert table is not None and len(table.notes) == 1, "no note on a row that is not there"


def test_views_and_subsets_are_no_part_of_table_1(tmp_path: Path) -> None:
    assert table_1(study(tmp_path, view="downscale:32")) is None
    assert table_1(study(tmp_path, images=400)) is None


def test_the_best_eps_comes_with_its_ties(tmp_path: Path) -> None:
    rows = {(row["target"], row["architecture"]): row for row in texts(best_eps(study(tmp_path)))}
    assert set(rows) == {("CIFAR-10", "resnet18"), ("CIFAR-10", "resnet50")}, "one eps alone is no choice"
    small, large = rows[("CIFAR-10", "resnet18")], rows[("CIFAR-10", "resnet50")]
    assert (large["best eps"], large["score"], large["min to max"]) == ("0.1", "79.50", "78.00 to 81.00")
    assert large["ties"] == "0, 3"
    assert small["best eps"] == "3"


def test_a_part_of_the_data_is_another_line(tmp_path: Path) -> None:
    rows = [
        trained(f"resnet50_l2_eps{eps}", "fixed", "cifar10", 0, 0.1 * n + 0.05 * part, subset=part or "")
        for part in (False, True)
        for n, eps in enumerate(("0", "1", "3"))
    ]
    lines = dict(by_eps(read_study([write_table(tmp_path / "a.csv", rows)])))
    assert [[scores[0] for scores in line.values()] for line in lines.values()] == [
        pytest.approx([0.0, 0.1, 0.2]),
        pytest.approx([0.05, 0.15, 0.25]),
    ]


def test_r2_is_of_published_source_accuracies(tmp_path: Path) -> None:
    pairs = [("densenet161", 97.84), ("resnext50_32x4d", 97.47), ("vgg16_bn", 96.08)]
    pairs += [("mobilenet_v2", 95.86), ("shufflenet_v2_x1_0", 95.82), ("mnasnet1_0", 95.55)]
    rows = [trained(f"{arch}_l2_eps0", "full", "cifar10", 0, score / 100, recipe="salman") for arch, score in pairs]
    found = read_study([write_table(tmp_path / "a.csv", rows)])
    (row,) = texts(source_and_target(found, lambda source: find(source.text).clean_top1))
    assert (row["R2"], row["source"]) == ("0.79", "l2_eps0") and row["ImageNet → target"].startswith(
        "resnext50_32x4d 77.38"
    )
    assert source_and_target(found, lambda source: None) is None


def test_width_compares_architectures(tmp_path: Path) -> None:
    rows = [row for row in texts(width(study(tmp_path))) if row["target"] == "CIFAR-10"]
    assert [(row["source"], row["resnet18"], row["resnet50"]) for row in rows] == [
        ("standard", "61.00", "76.00"),
        ("robust", "70.50 (eps 3)", "79.50 (eps 0.1)"),
    ]


def test_width_names_a_norm_other_than_l2(tmp_path: Path) -> None:
    names = ("resnet18_l2_eps0", "resnet18_linf_eps4", "resnet50_l2_eps3")
    rows = [trained(name, "fixed", "pets", 0, 0.5, recipe="salman") for name in names]
    robust = texts(width(read_study([write_table(tmp_path / "a.csv", rows)])))[-1]
    assert (robust["resnet18"], robust["resnet50"]) == ("50.00 (linf eps 4)", "50.00 (eps 3)")


@pytest.mark.parametrize("function", [table_1, best_eps, width])
def test_one_source_makes_no_table(tmp_path: Path, function: object) -> None:
    rows = [trained("resnet50_l2_eps3", "fixed", "pets", 0, 0.9)]
    assert callable(function) and function(read_study([write_table(tmp_path / "a.csv", rows)])) is None
