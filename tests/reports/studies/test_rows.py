"""Tidy tables become settings and seeds; what cannot be meant is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtx.errors import BadValue
from rtx.reports.studies.order import sources_of
from rtx.reports.studies.rows import read_study
from tests.reports.studies.made_tables import NATURAL, ROBUST, probed, subsets, trained, write_table


def test_trainings_and_probes_are_read_together(tmp_path: Path) -> None:
    rows = [*subsets(), trained(NATURAL, "full", "pets", 0, 0.9, lr=0.001, view="downscale:32", subset=True)]
    rows += [dict(trained(NATURAL, "full", "pets", 1, 0.8), state="failed"), trained("x", "full", "coco", 0, 0.3)]
    probes = [probed(ROBUST, "pets", 3680, 0, 0.8), probed(ROBUST, "cifar10", 400, 0, 0.8, selected_on="test")]
    study = read_study([write_table(tmp_path / "runs.csv", rows), write_table(tmp_path / "probe.csv", probes)])
    assert len(study.scores) == 2 * 2 * 2 + 1 + 2 and study.selected_on_test
    (odd,) = study.part(transfer="full")
    assert (odd.images, odd.view, odd.training, odd.partial) == (
        None,
        "downscale:32",
        "utrera, lr 0.001, part of the data",
        True,
    )
    (whole,) = study.part(transfer="fixed", target="pets")
    assert whole.images is None and study.scores[whole] == {0: 0.4}, "all images, mean per class"
    (subset,) = study.part(transfer="fixed", target="cifar10")
    assert subset.images == 400 and study.scores[subset] == {0: 0.8}
    curves = next(c for s, c in study.epochs.items() if (s.source.text, s.target, s.images) == (ROBUST, "svhn", 100))
    assert curves[1] == pytest.approx({1: 0.1, 11: 0.4, 100: 0.4})


def test_trainings_of_other_settings_stay_apart(tmp_path: Path) -> None:
    more = [
        dict(head_init="utrera"),
        dict(lr=0.01),
        dict(norm="upstream"),
        dict(view="lowpass:keep32"),
        dict(images=9),
        dict(options="train_dataloader.batch_size=32"),
        {},
    ]
    rows = [trained(NATURAL, "full", "pets", 0, 0.1 * n, **options) for n, options in enumerate(more)]
    assert len(read_study([write_table(tmp_path / "a.csv", rows)]).scores) == len(more)


def test_sources_of_one_name_stay_apart(tmp_path: Path) -> None:
    names = ("resnet18:random", "resnet50:random", "resnet18:/a/last.pth", "resnet18:/b/last.pth")
    study = read_study([write_table(tmp_path / "a.csv", [probed(name, "pets", 400, 0, 0.5) for name in names])])
    assert [source.text for source in sources_of(study.scores)] == [*names[2:], *names[:2]], "random weights last"


def test_all_images_of_a_part_of_a_set_and_of_a_folder_are_all(tmp_path: Path) -> None:
    probes = [probed(ROBUST, "cifar10", n, 0, 0.5, whole=n == 2280) for n in (400, 2280)]
    probes += [probed(ROBUST, "folder", 90, 0, 0.5, whole=True), probed(ROBUST, "pets", 3680, 0, 0.5, whole=True)]
    study = read_study([write_table(tmp_path / "probe.csv", probes)])
    found = [(s.target, s.images, s.partial) for s in study.scores]
    assert found == [("cifar10", 400, False), ("cifar10", None, True), ("folder", None, False), ("pets", None, False)]


def test_a_grid_of_probes_is_read_as_probes(tmp_path: Path) -> None:
    probe = dict(seed=0, state="done", **{"set.source": ROBUST, "set.target": "pets", "set.images": "all"})
    probe |= {"score.accuracy": 0.8, "score.mean_per_class": 0.7, "score.images": 3680, "score.selected_on": "test"}
    rows = [probe, {**probe, "set.view": "downscale:32", "set.head": "salman"}, {**probe, "state": "failed", "seed": 1}]
    study = read_study([write_table(tmp_path / "runs.csv", rows)])
    found = [(s.source.text, s.transfer, s.images, s.view, s.training, scores) for s, scores in study.scores.items()]
    assert found == [
        (ROBUST, "fixed", None, "", "probe, logistic", {0: 0.7}),
        (ROBUST, "fixed", None, "downscale:32", "probe, salman", {0: 0.7}),
    ]
    assert study.selected_on_test


def test_probes_of_other_settings_stay_apart(tmp_path: Path) -> None:
    usual = dict(preprocessing="salman", normalise="imagenet", image_size=224, subset_rule="stratified")
    more = [dict(normalise="upstream"), dict(image_size=64), dict(preprocessing="utrera"), dict(subset=True), {}]
    rows = [probed(NATURAL, "pets", 3680, 0, 0.1 * n, **{**usual, **one}) for n, one in enumerate(more)]
    whole = {"state": "done", "score.accuracy": 0, "score.mean_per_class": 0.2, "score.images": 3680, "seed": 0}
    grid = [
        {"set.source": NATURAL, "set.target": "pets", **whole, **{f"set.{k}": v for k, v in one.items()}}
        for one in more
    ]
    grid = [{**row, "score.mean_per_class": 0.05 * n} for n, row in enumerate(grid)]
    paths = [write_table(tmp_path / "a.csv", rows), write_table(tmp_path / "b.csv", grid)]
    found = [(s.training, s.partial) for s in read_study(paths).scores]
    how = ("normalise upstream", "image size 64", "preprocessing utrera")
    assert found == [
        *((f"probe, logistic, {one}", False) for one in how),
        ("probe, logistic, part of the data", True),
        ("probe, logistic", False),
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([dict(a=1)], "lacks the columns of `rtx probe`"),
        ([trained(NATURAL, "full", "pets", 0, 55.0)], "line 2: score 55.0 is no fraction of 1"),
        (
            [trained(NATURAL, "full", "pets", 0, 0.5), trained(NATURAL, "full", "pets", 0, 0.6)],
            "line 3: .* there twice",
        ),
        ([trained(NATURAL, "full", "coco", 0, 0.5)], "no finished training or probe of a target"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, rows: list[dict[str, object]], message: str) -> None:
    with pytest.raises(BadValue, match=message):
        read_study([write_table(tmp_path / "a.csv", rows)])


def test_the_same_row_twice_counts_once(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", subsets())
    assert read_study([path, path]).scores == read_study([path]).scores
    with pytest.raises(BadValue, match="cannot be read as CSV"):
        read_study([tmp_path / "none.csv"])
