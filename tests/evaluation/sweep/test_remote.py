"""Cells of Ray's workers are those of one process, whatever happens to the workers."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rtx.engines import Engine
from rtx.errors import BadValue, DataError, RunConflict
from rtx.evaluation.evaluate import evaluate, prepare
from rtx.evaluation.sweep.batches import KeptLoader
from rtx.evaluation.sweep.forward import Job, plan_batches
from rtx.evaluation.sweep.forward import evaluate as passes
from rtx.evaluation.sweep.locks import driving
from rtx.evaluation.sweep.remote import CellSetup, one_card
from rtx.evaluation.sweep.share import Share
from rtx.types import Condition
from tests.evaluation.stand_in import PixelDetector, coco_config
from tests.makers import make_coco

PROJECT = Path(__file__).resolve().parents[3]
RAY = Engine("ray", workers=2)
FEW = dict(corruptions=("contrast", "fog"), severities=(1, 5), workers=0, resamples=10)


def contents(out: Path) -> Iterator[tuple[str, Any]]:
    """Every file; of a cell all but its timing and the checksum over it."""
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        found: Any = path.read_bytes()
        if path.parent.name == "cells" and path.suffix == ".json":
            found = {k: v for k, v in json.loads(found).items() if k not in ("timing", "checksum")}
        yield str(path.relative_to(out)), found


def test_the_same_bytes_but_for_timing(two_nodes: Any, made_coco: Path, tmp_path: Path) -> None:
    for name, engine in (("serial", "serial"), ("ray", RAY)):
        evaluate(PixelDetector(), coco_config(made_coco), tmp_path / name, run_on=engine, **FEW)
    assert dict(contents(tmp_path / "serial")) == dict(contents(tmp_path / "ray"))
    assert len(list((tmp_path / "ray" / "cells").glob("*.json"))) == 5


@pytest.mark.slow
def test_loader_processes_of_a_worker(two_nodes: Any, made_coco: Path, tmp_path: Path) -> None:
    options = {**FEW, "severities": (1,), "corruptions": ("contrast",)}
    here = evaluate(PixelDetector(), coco_config(made_coco), tmp_path / "a", **options)
    there = evaluate(PixelDetector(), coco_config(made_coco), tmp_path / "b", run_on=RAY, **{**options, "workers": 1})
    assert here["cells"] == there["cells"]


def test_loader_processes_of_a_worker_stay_from_cell_to_cell(
    made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptLoader()
    monkeypatch.setattr("rtx.evaluation.sweep.remote.KeptLoader", lambda: kept)

    def loaders() -> set[int | None]:
        return {process.pid for process in multiprocessing.active_children()}

    found, before = {}, loaders()
    for workers in (0, 1):
        job = prepare(PixelDetector(), coco_config(made_coco), tmp_path, **{**FEW, "workers": workers})
        work, _ = CellSetup(job, plan_batches(job), "mmdet")("cpu")
        seen = []
        for condition in (Condition("fog", 1), Condition("fog", 5), Condition("contrast", 1)):
            found[workers, condition.key] = work((condition, "key")).cell.metrics
            seen.append(loaders() - before)
        assert seen == [seen[0]] * 3 and len(seen[0]) == workers
        assert kept.loader is not None
        iterator = kept.loader._iterator
        kept.loader = None
    assert all(found[0, key] == found[1, key] for _, key in found)
    assert iterator is not None
    iterator._shutdown_workers()


def test_a_kept_loader_whose_process_was_killed_between_cells_is_not_asked_again(
    made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dead:
        """As PyTorch's, which never goes on without a process that it keeps."""

        batch_sampler = SimpleNamespace(conditions=())

        def __iter__(self) -> Iterator[Any]:
            raise RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")

    kept = KeptLoader()
    monkeypatch.setattr("rtx.evaluation.sweep.remote.KeptLoader", lambda: kept)
    job = prepare(PixelDetector(), coco_config(made_coco), tmp_path, **FEW)
    work, _ = CellSetup(job, plan_batches(job), "mmdet")("cpu")
    before = work((Condition("fog", 1), "key")).cell.metrics
    monkeypatch.setattr(kept, "loader", Dead())
    assert work((Condition("fog", 1), "key")).cell.metrics == before
    assert kept.loader is not None and not isinstance(kept.loader, Dead)


def test_images_that_a_node_does_not_see_are_an_error_before_anything_starts(
    tmp_path: Path,
) -> None:
    data = make_coco(tmp_path / "coco")
    job = prepare(PixelDetector(), coco_config(data), tmp_path / "out", **FEW)
    setup = CellSetup(job, [], "mmdet")
    setup("cpu")
    min((data / "val2017").iterdir()).unlink()
    with pytest.raises(DataError, match=r"image .* is not there; each node must see the data"):
        setup("cpu")


def test_loader_processes_that_are_killed_again_and_again(
    made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = iter(range(9))

    def killed(*args: Any) -> Iterator[Any]:
        next(passes)
        raise RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")
        yield

    monkeypatch.setattr("rtx.evaluation.sweep.remote.evaluate", killed)
    work, _ = CellSetup(prepare(PixelDetector(), coco_config(made_coco), tmp_path, **FEW), [], "mmdet")("cpu")
    with pytest.raises(DataError, match="fog_1: loader processes were killed 4 times in a row"):
        work((Condition("fog", 1), "key"))
    assert next(passes) == 4, "the driver does not start over what the worker has given up"


def test_finished_cells_are_held_against_the_card_of_the_workers(
    made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def on_gpus(engine: Engine, job: Job, share: Share) -> Iterator[tuple[Job, Any]]:
        yield replace(job, card={**job.card, "precision": "amp_fp16"}), passes

    monkeypatch.setattr("rtx.evaluation.evaluate.cells_on", on_gpus)
    done: list[Any] = []
    for _ in range(2):
        options = dict(run_on="ray", overwrite=None, on_cell=lambda *cell: done.append(cell), **FEW)
        evaluate(PixelDetector(), coco_config(made_coco), tmp_path, **options)
    assert len(done) == 5


def test_workers_of_two_kinds_are_refused() -> None:
    cards = {"a/1": {"device": "NVIDIA T4"}, "b/2": {"device": "NVIDIA A100"}}
    with pytest.raises(RunConflict, match="a/1 and b/2 differ in device: NVIDIA T4 and NVIDIA A100"):
        one_card(cards)
    assert one_card({"a/1": cards["a/1"]}) == cards["a/1"]


def test_a_second_driver_is_refused_before_workers_start(
    made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*args: Any) -> None:
        raise AssertionError("workers are started")

    monkeypatch.setattr("rtx.evaluation.evaluate.cells_on", start)
    with driving(tmp_path), pytest.raises(RunConflict, match="another process is at work there"):
        evaluate(PixelDetector(), coco_config(made_coco), tmp_path, run_on="ray", **FEW)
    with pytest.raises(BadValue, match="--shard 9/8"):
        evaluate(PixelDetector(), coco_config(made_coco), tmp_path, run_on="ray", shard=(9, 8), **FEW)


def test_ranks_and_ray_are_refused(made_coco: Path, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="leave --launcher away"):
        evaluate(PixelDetector(), coco_config(made_coco), tmp_path, share=Share(0, 2), run_on="ray", **FEW)


@pytest.mark.slow
def test_a_node_killed_in_the_middle_costs_nothing(made_coco: Path, tmp_path: Path) -> None:
    # In a process of its own, since this one may drive the cluster of other tests.
    command = [sys.executable, "-m", "tests.evaluation.sweep.killed_node", str(made_coco), str(tmp_path / "ray"), "20"]
    ended = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
    written = json.loads(ended.stdout.splitlines()[-1])
    evaluate(PixelDetector(), coco_config(made_coco), tmp_path / "serial", workers=0, resamples=10)
    assert len(written) == len(set(written)) == 76, "no finished cell is computed twice"
    assert dict(contents(tmp_path / "serial")) == dict(contents(tmp_path / "ray"))
