"""A probe from folder to rows: what is there is skipped, what cannot be done is said before a pass begins."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rtx.datasets.classification import TARGETS
from rtx.datasets.label_subset import choose
from rtx.datasets.target_data import open_target
from rtx.errors import BadValue, DataError, RunConflict, UnknownName, WeightsError
from rtx.probe import run
from rtx.probe.results import write_csv
from rtx.probe.run import open_data, run_probe
from rtx.sources.catalog.archs import build_reference
from tests.datasets.target_worlds import caltech
from tests.probe.worlds import colours, options


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colours(tmp_path_factory.mktemp("data"))


def test_rows_and_going_on(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = options(tmp_path, data)
    (found,) = run_probe(asked)
    assert [(row.images, row.seed) for row in found.rows] == [(6, 0), (6, 1), (6, 2), (24, 0)]
    assert all(0 <= row.accuracy <= 1 and row.selected_on == "held-out" for row in found.rows)
    assert [row.whole for row in found.rows] == [False, False, False, True]
    assert all(
        row.decay == pytest.approx(row.relative_decay * found.rows[0].decay / found.rows[0].relative_decay)
        for row in found.rows
    )
    fitted: list[Any] = []
    original = run.fit_heads

    def noted(options: Any, split: Any, scale: Any, rows: Any, seeds: list[int]) -> Any:
        fitted.append((rows.shape[1], list(seeds)))
        assert np.array_equal(rows[0], choose(split.train_labels, rows.shape[1], seeds[0]))
        return original(options, split, scale, rows, seeds)

    monkeypatch.setattr(run, "fit_heads", noted)
    assert next(run_probe(asked)) == found and fitted == []
    (more,) = run_probe(replace(asked, seeds=4, images=(6, 9)))
    assert fitted == [(6, [3]), (9, [0, 1, 2, 3])] and set(found.rows) < set(more.rows)


def test_sgd_heads(tmp_path: Path, data: Path) -> None:
    asked = options(tmp_path, data, head="utrera", seeds=2, images=(9,))
    (found,) = run_probe(asked)
    assert [row.selected_on for row in found.rows] == ["none", "none"] and found.rows[0].decay is None
    assert found.settings["preprocessing"] == "utrera" and found.path.name.endswith("_utrera.json")


def test_other_settings_in_the_same_folder(tmp_path: Path, data: Path) -> None:
    list(run_probe(options(tmp_path, data)))
    with pytest.raises(RunConflict, match="another selected_on"):
        list(run_probe(options(tmp_path, data, select="test")))


def test_upstream_statistics_are_another_cache(tmp_path: Path, data: Path) -> None:
    (ours,) = run_probe(options(tmp_path, data, images=(6,), seeds=1))
    (theirs,) = run_probe(options(tmp_path, data, images=(6,), seeds=1, normalise="upstream", out=tmp_path / "b"))
    assert ours.settings["cache"] != theirs.settings["cache"]


def test_the_table_says_what_was_set(tmp_path: Path, data: Path) -> None:
    asked = options(tmp_path, data, images=(6,), seeds=1, normalise="upstream", subset=True)
    write_csv(tmp_path / "probe.csv", run_probe(asked))
    (row,) = csv.DictReader((tmp_path / "probe.csv").open())
    assert (row["normalise"], row["image_size"], row["subset"], row["caltech_split"]) == ("upstream", "32", "True", "")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (dict(images=(25,)), BadValue, "25 images of a training set of 24"),
        (dict(images=(2,)), BadValue, "2 images for 3 classes"),
        (dict(seeds=0), BadValue, "--seeds 0"),
        (dict(sources=("resnet18:random", "resnet18:random")), BadValue, "each once"),
        (dict(sources=("resnet18:random", "resnet18:no.pth")), WeightsError, "no such file"),
        (dict(sources=("random",)), BadValue, "of which architecture"),
        (dict(head="adam"), UnknownName, "head 'adam'"),
        (dict(select="val"), UnknownName, "selection 'val'"),
        (dict(subset_rule="first"), UnknownName, "subset rule 'first'"),
        (dict(decays=(0.0,)), BadValue, "--decays 0.0"),
        (dict(target="flowers"), DataError, "3 classes, flowers has 102"),
        (dict(image_size=16), BadValue, "--image-size 16"),
    ],
)
def test_bad_input_begins_nothing(tmp_path: Path, data: Path, change: dict, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        list(run_probe(options(tmp_path, data, **change)))
    assert not list(tmp_path.glob("features/*.npy")) and not list(tmp_path.glob("out/*"))


def test_a_file_has_one_name_with_and_without_its_architecture(tmp_path: Path, data: Path) -> None:
    path = tmp_path / "mine.pth"
    torch.save(build_reference("resnet18", num_classes=5).state_dict(), path)
    (alone,) = run_probe(options(tmp_path, data, images=(6,), seeds=1, sources=(str(path),)))
    assert alone.source == f"resnet18:{path}"
    (named,) = run_probe(options(tmp_path, data, images=(6,), seeds=1, sources=(alone.source,)))
    assert named == alone
    with pytest.raises(BadValue, match="each source once"):
        list(run_probe(options(tmp_path, data, sources=(str(path), alone.source))))


def test_a_random_caltech_split_is_that_of_a_training_with_the_same_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = replace(TARGETS["caltech101"], classes=3, train=None, test=None)
    monkeypatch.setitem(TARGETS, "caltech101", row)
    root = caltech(tmp_path, [31, 40, 50])
    train, _ = open_data(options(tmp_path, root, target="caltech101", caltech_split="random:5"))
    assert train.names == open_target("caltech101", root, "train", caltech_split="random", split_seed=5).names
    assert train.names != open_target("caltech101", root, "train", caltech_split="random").names


def test_classes_that_differ_between_splits(tmp_path: Path) -> None:
    root = colours(tmp_path / "data")
    (root / "test" / "c2").rename(root / "test" / "c9")
    with pytest.raises(DataError):
        list(run_probe(options(tmp_path, root)))
