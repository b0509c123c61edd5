"""Drift of run folders: what must be exactly 1, what must fall, and what must not matter."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rtx.drift.layers import _valid
from rtx.drift.measure import _cells, _Seen, measure
from rtx.drift.subject import DriftOptions, of_run
from rtx.errors import BadValue, RunConflict, WeightsError
from rtx.evaluation.protocol import Protocol
from rtx.results.drift import Drift, read_drift
from rtx.types import CLEAN, Condition
from tests.drift.worlds import classifier_run, source_file, written
from tests.makers import make_ade, make_coco
from tests.probe.worlds import colours
from tests.small_configs import small_config

STAGES = ("stage1", "stage2", "stage3", "stage4")
PROTOCOL = Protocol(corruptions=("gaussian_noise", "fog"), severities=(1, 5), batch_size=8, workers=0)
OPTIONS = DriftOptions(PROTOCOL, minibatch=16)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a source, a run of each kind, and their drift."""
    root = tmp_path_factory.mktemp("world")
    data, source = colours(root / "data", test=7), source_file(root)

    def trained(model: Any) -> None:
        for parameter in model.backbone.layer4.parameters():
            parameter.add_(0.3 * parameter.std() * torch.randn_like(parameter))

    classifier_run(root / "fixed", data, source)
    classifier_run(root / "last", data, source, transfer="blocks:2", change=trained)
    for name in ("fixed", "last"):
        measure(of_run(root / name, OPTIONS), root / name / "drift")
    return root


def drift(world: Path, name: str) -> Drift:
    found = read_drift(world / name / "drift")
    assert found is not None
    return found


def row(found: Drift, pair: str, measure: str = "cka", condition: Condition = CLEAN) -> list[float]:
    return [one.value for one in found.mean(pair, measure, lambda c: c == condition)]


def test_stages_that_did_not_train_are_those_of_the_source(world: Path) -> None:
    fixed, last = drift(world, "fixed"), drift(world, "last")
    assert fixed.layers == STAGES and len(fixed.cells) == 5
    for condition in fixed.cells:
        for measure_ in ("cka", "cosine", "cosine_pooled"):
            assert row(fixed, "source_to_run", measure_, condition) == [1, 1, 1, 1]
            *still, trained = row(last, "source_to_run", measure_, condition)
            assert still == [1, 1, 1] and trained < 0.999
    assert row(fixed, "run", condition=Condition("fog", 5)) == row(fixed, "source", condition=Condition("fog", 5))
    assert np.isnan(row(fixed, "run")).all()  # clean against clean says nothing


def test_severity_raises_drift(world: Path) -> None:
    found = drift(world, "fixed")
    for measure_ in ("cka", "cosine", "cosine_pooled"):
        mild, hard = (found.mean("run", measure_, lambda c, n=n: c.severity == n) for n in (1, 5))  # type: ignore[misc]
        assert all(a.value > b.value for a, b in zip(mild, hard, strict=True))
        assert all(-1 <= one.low <= one.value <= one.high for one in (*mild, *hard))


def test_batches_and_workers_do_not_matter(world: Path, tmp_path: Path) -> None:
    before = drift(world, "last")
    other = replace(OPTIONS, protocol=replace(PROTOCOL, batch_size=5, workers=2))
    after = measure(of_run(world / "last", other), tmp_path / "drift")
    for condition, cell in before.cells.items():
        assert np.allclose(cell.values, after.cells[condition].values, atol=1e-5, equal_nan=True)
        assert np.allclose(cell.without, after.cells[condition].without, atol=1e-5, equal_nan=True)
    same = measure(of_run(world / "last", OPTIONS), tmp_path / "again")
    files = [path for path in (world / "last" / "drift").rglob("*") if path.is_file()]
    assert same.card == before.card and len(files) == 8
    for path in files:
        assert (tmp_path / "again" / path.relative_to(world / "last" / "drift")).read_bytes() == path.read_bytes()


def test_what_is_there_is_not_measured_again(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "drift"
    shutil.copytree(world / "fixed" / "drift", root)
    subject = of_run(world / "fixed", OPTIONS)
    times = {path: path.stat().st_mtime_ns for path in (root / "cells").iterdir()}
    measure(subject, root)
    assert {path: path.stat().st_mtime_ns for path in (root / "cells").iterdir()} == times
    (root / "cells" / "fog_5.npz").write_bytes(b"half")  # as a crash would not leave it, but a disk may
    again = measure(subject, root)
    changed = [path.name for path in times if path.stat().st_mtime_ns != times[path]]
    assert changed == ["fog_5.npz"]
    assert np.array_equal(
        again.cells[Condition("fog", 5)].values, drift(world, "fixed").cells[Condition("fog", 5)].values
    )
    with pytest.raises(RunConflict, match=r"other weights, images or options \(features .*average_2x2"):
        measure(of_run(world / "fixed", replace(OPTIONS, grid=2)), root)
    measure(of_run(world / "fixed", replace(OPTIONS, grid=2)), root, overwrite=True)
    assert read_drift(root).card["features"] == "average_2x2"  # type: ignore[union-attr]


def test_runs_are_compared_image_by_image(world: Path) -> None:
    fixed, last = drift(world, "fixed"), drift(world, "last")
    less = last.minus(fixed, "run", "cka", lambda c: c != CLEAN)
    assert less is not None and [one.value for one in less[:3]] == [0, 0, 0] and less[0].low == less[0].high == 0
    alone = last.mean("run", "cka")[3].value - fixed.mean("run", "cka")[3].value
    assert less[3].value == pytest.approx(alone) and less[3].low < alone < less[3].high
    other = Drift("other", {**last.card, "images_sha256": "?"}, last.cells)
    assert other.minus(fixed, "run", "cka", lambda c: c != CLEAN) is None


@pytest.mark.parametrize("kind", ["detector", "segmenter"])
def test_necks_heads_and_padding(tmp_path: Path, kind: str) -> None:
    if kind == "detector":
        data = make_coco(tmp_path / "data", splits={"train2017": 2, "val2017": 9})
        cfg, more = small_config("maskrcnn_r50_coco.py", data), ("neck1", "neck2", "neck3", "neck4", "neck5")
    else:
        data = make_ade(tmp_path / "data", splits={"training": 2, "validation": 9})
        cfg, more = small_config("upernet_r50_ade20k.py", data), ("head",)
    run = written(tmp_path / "run", cfg)
    options = replace(OPTIONS, protocol=replace(PROTOCOL, corruptions=("fog",), severities=(3,), batch_size=3))
    found = measure(of_run(run, options), tmp_path / "drift")
    assert found.layers == (*STAGES, *more)
    assert not found.has("source") and found.card["source_absent"] == "it began with random weights"
    values = np.array(row(found, "run", "cosine", Condition("fog", 3)))
    assert np.isfinite(values).all() and (values < 1).all() and (values > 0).all()


def test_refused_before_anything_long(world: Path, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="4 images in minibatches of 256"):
        DriftOptions(Protocol(limit=4))
    with pytest.raises(BadValue, match="--grid 0"):
        DriftOptions(PROTOCOL, grid=0)
    few = colours(tmp_path / "few", test=2)
    with pytest.raises(BadValue, match="6 images in minibatches of 16"):
        of_run(classifier_run(tmp_path / "run", few, source_file(tmp_path)), OPTIONS)
    (tmp_path / "source.pth").unlink()
    with pytest.raises(WeightsError, match=r"run .*its source .*or leave it out with --no-source"):
        of_run(tmp_path / "run", replace(OPTIONS, data_root=world / "data"))
    assert of_run(tmp_path / "run", replace(OPTIONS, data_root=world / "data", source=False)).card["source_absent"]
    (tmp_path / "run" / "last_checkpoint").unlink()
    with pytest.raises(BadValue, match="names no checkpoint"):
        of_run(tmp_path / "run", OPTIONS)


def test_padding_is_left_out() -> None:
    one = torch.arange(16.0).view(1, 4, 4)
    assert _valid(one, (33, 64), torch.Size([64, 64])).shape == (1, 3, 4)
    assert _valid(one, (32, 1), torch.Size([64, 64])).tolist() == [[[0], [4]]]


@pytest.mark.parametrize("odd", [3, 11])
def test_what_a_value_is_without_an_image_stands_at_its_place(odd: int) -> None:
    seen, fog = _Seen(), Condition("fog", 1)
    drawn = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    for index in range(20):
        seen.vectors[("run", CLEAN), "stage1"][index] = drawn[index]
        seen.vectors[("run", fog), "stage1"][index] = 20 * drawn[index] if index == odd else drawn[index]
        seen.cosines["run", fog, "stage1"][index] = float(index == odd)
    job: Any = SimpleNamespace(indices=range(20))
    subject: Any = SimpleNamespace(job=job, options=OPTIONS, card={"layers": ["stage1"]})
    ((_, cell),) = _cells(subject, [fog], seen)
    for measure_ in (0, 1):
        away = np.abs(cell.without[0, 0, measure_] - cell.values[0, 0, measure_])
        assert away.argmax() == odd
    assert cell.without[0, 0, 0, odd] == pytest.approx(1), "the others did not move"
