"""What makes a sweep fast, as laws: loaders that live for all cells, work beside the model, amp by its name."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from torch.utils.data import Dataset

from rtx.errors import BadValue, RunConflict
from rtx.evaluation.evaluate import evaluate as evaluate_model
from rtx.evaluation.sweep.batches import loaders
from rtx.evaluation.sweep.events import CellDone, CellStarted, Event
from rtx.evaluation.sweep.room import RoomyRunner
from rtx.types import Condition
from tests.evaluation.stand_in import PixelDetector, coco_config

FEW: dict[str, Any] = dict(corruptions=["gaussian_noise", "fog"], severities=[2], resamples=0)


@TRANSFORMS.register_module(force=True)
class NoteLoader(BaseTransform):
    """Notes which process loaded an image."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        return {**results, "loader": os.getpid()}


class Listening(PixelDetector):
    """Keeps who loaded its images, and whether autocast was on."""

    def __init__(self) -> None:
        super().__init__()
        self.loaders: list[int] = []
        self.autocast: list[bool] = []

    def test_step(self, batch: dict[str, Any]) -> Any:
        self.loaders += [sample.metainfo["loader"] for sample in batch["data_samples"]]
        self.autocast.append(torch.is_autocast_enabled("cpu"))
        return super().test_step(batch)


def evaluate(root: Path, out: Path, **options: Any) -> tuple[Listening, dict[str, Any], list[Event]]:
    cfg, model, events = coco_config(root), Listening(), []
    pipeline = cfg.test_dataloader.dataset.pipeline
    pipeline.insert(1, dict(type="NoteLoader"))
    pipeline[-1].meta_keys = (*pipeline[-1].meta_keys, "loader")
    summary = evaluate_model(model, cfg, out, on_event=events.append, **{**FEW, **options})
    return model, summary, events


def test_loaders_live_for_all_cells_and_load_the_next_one_before_a_cell_is_scored(
    made_coco: Path, tmp_path: Path
) -> None:
    model, _, events = evaluate(made_coco, tmp_path, workers=2)
    assert len(model.loaders) == 3 * 4 and len(set(model.loaders)) == 2, "two processes for three cells"
    assert os.getpid() not in model.loaders
    told = [
        (type(event), event.condition if isinstance(event, CellStarted) else event.cell.condition)
        for event in events
        if isinstance(event, CellStarted | CellDone)
    ]
    fog, noise = Condition("fog", 2), Condition("gaussian_noise", 2)
    assert told.index((CellStarted, fog)) < told.index((CellDone, noise)), told


@pytest.mark.parametrize(
    ("asked", "device", "cores", "workers"),
    [
        (3, "cpu", 2, 3),
        (0, "meta", 8, 0),
        (None, "meta", 1, 1),
        (None, "meta", 8, 7),
        (None, "meta", 64, 16),
        (None, "cpu", 2, 0),
        (None, "cpu", 4, 2),
    ],
)
def test_loaders_by_default_are_as_many_as_the_model_leaves_processors(
    asked: int | None,
    device: str,
    cores: int,
    workers: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("rtx.evaluation.sweep.batches.processors", lambda: (cores, f"{cores} processors"))
    with caplog.at_level("INFO"):
        assert loaders(asked, torch.nn.Linear(1, 1, device=device)) == workers
    where = "the CPU" if device == "cpu" else "a GPU"
    said = f"{workers} loader processes: {cores} processors, the model on {where} (--workers for others)"
    assert [record.message for record in caplog.records] == ([said] if asked is None else [])
    with pytest.raises(BadValue, match="--workers -1"):
        loaders(-1, torch.nn.Linear(1, 1))


@pytest.mark.parametrize("amp", [False, True])
def test_autocast_is_on_where_it_is_asked_for_and_the_card_names_it(made_coco: Path, tmp_path: Path, amp: bool) -> None:
    model, summary, _ = evaluate(made_coco, tmp_path, workers=0, amp=amp)
    assert set(model.autocast) == {amp}
    assert ("amp" in summary["protocol"]["precision"]) is amp
    with pytest.raises(RunConflict, match="precision"):
        evaluate(made_coco, tmp_path, workers=0, amp=not amp)


def test_too_little_shared_memory_for_the_loaders_is_said_and_images_load_here(
    made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Their batches would wait for room without end."""
    asked: list[Path] = []

    def disk_usage(path: Path) -> Any:
        asked.append(path)
        return SimpleNamespace(free=60_000)  # an image of 120 x 120 takes 43,200 bytes

    monkeypatch.setattr("rtx.evaluation.sweep.room.shutil.disk_usage", disk_usage)
    model, *_ = evaluate(made_coco, tmp_path, workers=1)
    assert asked == [Path("/dev/shm")]
    assert set(model.loaders) == {os.getpid()}
    assert "has 0 MB free; images are loaded in this process instead" in caplog.text


def test_only_as_many_loaders_start_as_shared_memory_holds_batches_of(
    made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    free = SimpleNamespace(free=150_000)  # three images: two ahead, and one with the model
    monkeypatch.setattr("rtx.evaluation.sweep.room.shutil.disk_usage", lambda path: free)
    model, *_ = evaluate(made_coco, tmp_path, workers=3)
    assert len(set(model.loaders)) == 1 and os.getpid() not in model.loaders
    assert "3 loader processes may need 0 MB" in caplog.text and "; 1 load images instead" in caplog.text


@pytest.mark.parametrize(("free", "left"), [(1000, 2), (46, 1), (45, 0), (5, 0)])
def test_only_as_many_loaders_start_as_files_may_be_opened_for(
    free: int, left: int, made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("rtx.evaluation.sweep.room.open_files", lambda wanted: asked.append(wanted) or free)
    model, *_ = evaluate(made_coco, tmp_path, workers=2)
    assert len(set(model.loaders) - {os.getpid()}) == left and len(asked) == 1
    assert ("loader processes may need" in caplog.text) is (left < 2)


def test_the_soft_limit_of_open_files_is_raised_as_far_as_it_may_be() -> None:
    code = (
        "import resource\n"
        "from rtx.evaluation.sweep.machine import open_files\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (30, 60))\n"
        "print(20 <= open_files(5) <= 30, resource.getrlimit(resource.RLIMIT_NOFILE))\n"
        "print(open_files(40) >= 40, resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 60)\n"
        "print(50 < open_files(1000) < 60, resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["True (30, 60)", "True True", "True (60, 60)"]


@pytest.mark.parametrize(("free", "left"), [(100_000, 0), (400_000, 1), (10**7, 2), (10**11, 2)])
def test_a_training_has_as_many_loaders_as_there_is_room_for(
    free: int, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two images of 43,200 bytes, which may be half as large again, each two batches ahead, and one with the model."""

    class Images(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Any:
            return {"inputs": torch.rand(3, 120, 30), "drawn": np.random.rand(), "more": random.random()}

    monkeypatch.setattr("rtx.evaluation.sweep.room.shutil.disk_usage", lambda path: SimpleNamespace(free=free))
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    loader = RoomyRunner.build_dataloader(
        dict(batch_size=2, num_workers=2, dataset=Images(), sampler=dict(type="DefaultSampler", shuffle=False)),
        seed=0,  # else the sampler draws one
    )
    assert loader.num_workers == left
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
