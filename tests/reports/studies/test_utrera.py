"""Table 7 beside the printed one, differences paired by seed, blocks and epochs."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtx.errors import UnknownName
from rtx.reports.studies.order import references_of
from rtx.reports.studies.rows import Study, read_study
from rtx.reports.studies.utrera import blocks, differences, epochs_table, selection, table_7
from rtx.reports.tables.table import Table
from rtx.reports.text.wording import DASH, MINUS
from tests.reports.studies.made_tables import NATURAL, ROBUST, subsets, trained, write_table


@pytest.fixture
def study(tmp_path: Path) -> Study:
    scratch = [trained("random", "full", "cifar10", seed, 0.1, images=100) for seed in range(2)]
    return read_study([write_table(tmp_path / "runs.csv", [*subsets(), *scratch])])


def rows(table: Table | None) -> list[list[str]]:
    assert table is not None
    return [[f"{e.text} {e.below}".strip() for e in row] for row in table.rows]


def test_table_7_has_the_printed_numbers_beside_yours(study: Study) -> None:
    (table,) = table_7(study)
    assert table.head == ("target", "images", "seeds", NATURAL, ROBUST, "random, full")
    assert rows(table)[0] == ["CIFAR-10", "100", "2 or 3", "40.00 (48.49)", "45.10 (51.89)", "10.00 (12.29)"]
    assert rows(table)[1] == ["CIFAR-10", "400", "3", "60.00 (66.84)", "65.10 (71.65)", f"{DASH} (12.01)"]
    assert [entry.best for entry in table.rows[0]] == [False] * 4 + [True, False]


@pytest.mark.parametrize("more", [dict(subset=True), dict(view="downscale:32x32")], ids=str)
def test_other_data_have_no_printed_numbers(tmp_path: Path, more: dict[str, object]) -> None:
    (table,) = table_7(read_study([write_table(tmp_path / "a.csv", [{**row, **more} for row in subsets()])]))
    assert not any(entry.below for row in table.rows for entry in row)


def test_a_tested_head_stands_in_a_table_of_its_own(tmp_path: Path) -> None:
    table = [trained(s, "own_head", "stylized_imagenet", 0, score) for s, score in ((NATURAL, 0.1), (ROBUST, 0.2))]
    (found,) = table_7(read_study([write_table(tmp_path / "a.csv", table)]))
    assert rows(found) == [["Stylized-ImageNet", "all", "1", "10.00", "20.00"]]
    assert "own_head" in found.title and "ImageNet's own head" in found.notes[0]


def test_differences_are_paired_by_seed(study: Study) -> None:
    table = differences(study, references_of(study, None))
    first = rows(table)[0]
    assert first[:5] == [ROBUST, NATURAL, "CIFAR-10", "100", "blocks:3"]
    # The luck of a seed, 10 points, is gone; its thousandths are left.
    assert first[6:8] == ["3", "+5.10"] and first[8] == "[+4.85, +5.35]"
    assert table is not None and len(table.rows) == 4 and all(row[7].best for row in table.rows)
    turned = differences(study, references_of(study, ROBUST))
    assert rows(turned)[0][7] == f"{MINUS}5.10"
    with pytest.raises(UnknownName, match="did you mean"):
        references_of(study, "resnet50_madry_l2_eps4")


def test_differences_of_published_and_partial_sets_stand_together(tmp_path: Path) -> None:
    sets = (("cifar10", dict(subset=True)), ("folder", {}), ("pets", dict(subset=True)))
    table = [trained(s, "fixed", t, 0, 0.5, **how) for t, how in sets for s in (NATURAL, ROBUST)]
    study = read_study([write_table(tmp_path / "a.csv", table)])
    found = differences(study, references_of(study, None))
    assert sorted(row[2] for row in rows(found)) == ["CIFAR-10", "Pets", "folder"]


def test_a_source_is_compared_with_the_standard_one_of_its_architecture(tmp_path: Path) -> None:
    names = ("resnet18_l2_eps0", "resnet50_l2_eps0", "resnet50_l2_eps3", "wide_resnet50_2_l2_eps3")
    table = [trained(name, "fixed", "pets", 0, 0.5) for name in names]
    found = read_study([write_table(tmp_path / "a.csv", table)])
    reference = references_of(found, None)
    pairs = {s.source.text: other.text for s in found.scores if (other := reference(s.source))}
    assert pairs["resnet50_l2_eps3"] == "resnet50_l2_eps0" and pairs["resnet18_l2_eps0"] == "resnet18_l2_eps0"
    assert pairs["wide_resnet50_2_l2_eps3"] == "resnet18_l2_eps0", "the first standard one where there is none"


def test_blocks_lay_transfer_modes_side_by_side(tmp_path: Path) -> None:
    table = [
        trained(ROBUST, f"blocks:{k}", "svhn", seed, score + 0.1 * seed, images=200)
        for k, score in ((1, 0.4), (3, 0.5), (9, 0.3))
        for seed in range(3)
    ]
    found = blocks(read_study([write_table(tmp_path / "a.csv", table)]))
    assert rows(found)[0] == [ROBUST, "SVHN", "200", "utrera", "50.00", "60.00", "40.00", "+10.00", "[+10.00, +10.00]"]


def test_the_best_epoch_is_another_table_that_says_so(tmp_path: Path) -> None:
    table = [
        trained(ROBUST, f"blocks:{k}", "svhn", 0, last, images=200, epochs_scored={5: first, 10: last})
        for k, first, last in ((1, 0.6, 0.4), (3, 0.2, 0.5))
    ]
    study = read_study([write_table(tmp_path / "a.csv", table)])
    assert rows(blocks(study))[0][4:6] == ["40.00", "50.00"]
    best = blocks(study, best=True)
    assert rows(best)[0][4:6] == ["60.00", "50.00"]
    assert best is not None and "test set" in best.title and "selected on the test set" in best.notes[0]
    found = selection(study)
    assert [row[5:] for row in rows(found)] == [
        ["1", "2", "40.00", "60.00", "+20.00"],
        ["1", "2", "50.00", "50.00", "0.00"],
    ]
    assert found is not None and "selected on the test set" in found.notes[0]


def test_one_tested_epoch_is_no_choice(tmp_path: Path) -> None:
    table = [trained(ROBUST, f"blocks:{k}", "svhn", 0, 0.5, images=200, epochs_scored={5: 0.5}) for k in (1, 3)]
    study = read_study([write_table(tmp_path / "a.csv", table)])
    assert selection(study) is None and blocks(study, best=True) is None and blocks(study) is not None
    assert epochs_table(study, references_of(study, None)) is None


def test_epochs_show_who_is_faster(study: Study) -> None:
    table = epochs_table(study, references_of(study, None))
    assert table is not None and table.head[-2:] == ("epoch 1", "epoch 11")
    robust = [row for row in rows(table) if row[:3] == [ROBUST, "CIFAR-10", "100"]]
    assert robust[0][4:] == ["", "3", "10.00", "40.00"]
    assert robust[1][4:] == [f"minus {NATURAL}", "3", "0.00", "+10.00"]


@pytest.mark.parametrize(
    ("tested", "shown"),
    [
        (range(10, 151, 10), (10, 20, 40, 80, 150)),
        (range(20, 101, 20), (20, 40, 60, 80, 100)),
        (range(5, 91, 5), (15, 30, 45, 60, 75, 90)),
    ],
)
def test_the_last_epoch_is_among_those_shown(tmp_path: Path, tested: range, shown: tuple[int, ...]) -> None:
    curve = dict.fromkeys(tested, 0.5)
    row = trained(ROBUST, "blocks:3", "svhn", 0, 0.5, images=200, epochs_scored=curve)
    study = read_study([write_table(tmp_path / "a.csv", [row])])
    table = epochs_table(study, references_of(study, None))
    assert table is not None and table.head[6:] == tuple(f"epoch {epoch}" for epoch in shown)
