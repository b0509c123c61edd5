"""Whatever OpenMMLab reads while rtx runs, no code of a file runs."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader, load_checkpoint

from rtx import training
from rtx.datasets.openmmlab.reading import read_safely
from rtx.errors import DataError, RtxError, WeightsError
from rtx.evaluation.models import load
from tests.sources.watch import watched

ROOT = Path(__file__).resolve().parents[3]


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return open, (str(self.mark), "w")


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    torch.save({"state_dict": {"weight": torch.zeros(1)}, "more": Evil(tmp_path / "run")}, tmp_path / "evil.pth")
    return tmp_path / "evil.pth"


def run_folder(root: Path, **more: Any) -> Config:
    root.mkdir(exist_ok=True)
    return Config({"work_dir": str(root), **more})


WAYS: dict[str, Callable[[Path], object]] = {
    "init_cfg": lambda path: BaseModule(dict(type="Pretrained", checkpoint=str(path))).init_weights(),
    "init_cfg with a prefix": lambda path: BaseModule(
        dict(type="Pretrained", checkpoint=str(path), prefix="backbone.")
    ).init_weights(),
    "load_checkpoint": lambda path: load_checkpoint(BaseModule(), str(path), strict=False),
    "mmengine's loader": lambda path: CheckpointLoader.load_checkpoint(str(path), "cpu"),
    "load_from": lambda path: training.check_checkpoint(Config({"load_from": str(path), "work_dir": "."})),
    "resume": lambda path: training.check_checkpoint(Config({"load_from": str(path), "resume": True, "work_dir": "."})),
    "evaluation": lambda path: load.load_model(Config(), path),
    "torch.load of anybody": lambda path: torch.load(path, weights_only=False),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_to_name_weights_runs_their_code(way: str, evil: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "")
    read_safely.cache_clear()
    read_safely()
    with watched(memory=2**31) as events, pytest.raises((RtxError, pickle.UnpicklingError)):
        WAYS[way](evil)
    assert not (evil.parent / "run").exists() and not [e for e in events if "find_class" in e or "run" in e]


def test_the_list_of_readers_of_torch_files_is_complete() -> None:
    found = []
    for path in sorted(ROOT.glob("rtx/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            if name in ("torch.load", "pickle.load") or name.startswith("torch.hub.load"):
                found.append((path.relative_to(ROOT).as_posix(), name))
    assert found == [("rtx/datasets/openmmlab/reading.py", "torch.load")]


@pytest.mark.parametrize(
    "name", ["http://127.0.0.1:9/a.pth", "s3://bucket/a.pth", "ftp://host/a.pth", "torchvision://x"]
)
def test_an_address_is_no_file(name: str, tmp_path: Path) -> None:
    read_safely()
    for more in ({"load_from": name}, {"load_from": name, "resume": True}):
        with pytest.raises(WeightsError, match=r"is no file"):
            training.check_checkpoint(run_folder(tmp_path / "run", **more))
    (tmp_path / "run" / "last_checkpoint").write_text(name)
    with pytest.raises(WeightsError, match="does not exist"):
        training.check_checkpoint(run_folder(tmp_path / "run", resume=True))
    with pytest.raises(WeightsError, match=r"download them|give a file"):
        CheckpointLoader.load_checkpoint(name, "cpu")


def test_honest_weights_and_training_state_arrive_whole(tmp_path: Path) -> None:
    read_safely()
    hub = {"log_scalars": {"loss": HistoryBuffer([1.0, 2.0], [1, 1])}}
    optimizer = {"state": {0: {"step": torch.ones(1)}}, "param_groups": [{"betas": (0.9, 0.999)}]}
    torch.save({"state_dict": {"w": torch.ones(2)}, "message_hub": hub, "optimizer": optimizer}, tmp_path / "a.pth")
    content = CheckpointLoader.load_checkpoint(str(tmp_path / "a.pth"), "cpu")
    assert content["message_hub"]["log_scalars"]["loss"].mean() == 1.5
    assert content["optimizer"]["param_groups"] == [{"betas": (0.9, 0.999)}]

    class Foreign:
        pass

    globals()["Foreign"] = Foreign
    Foreign.__qualname__ = "Foreign"
    torch.save({"state_dict": {"w": torch.ones(2)}, "args": Foreign()}, tmp_path / "b.pth")
    assert torch.equal(
        CheckpointLoader.load_checkpoint(str(tmp_path / "b.pth"), "cpu")["state_dict"]["w"], torch.ones(2)
    )


def test_yaml_and_pickles_are_data(tmp_path: Path) -> None:
    read_safely()
    (tmp_path / "a.yaml").write_text("a: [1, 2]\n")
    assert mmengine.load(tmp_path / "a.yaml") == {"a": [1, 2]}
    (tmp_path / "b.yml").write_text(f"a: !!python/object/apply:builtins.open ['{tmp_path}/run', 'w']\n")
    with pytest.raises(Exception, match="could not determine a constructor"):
        mmengine.load(tmp_path / "b.yml")
    parts = [{"a": np.float64(1.5), "b": np.arange(3), "c": torch.ones(2), "d": {1, 2}, "e": (b"x", None)}]
    mmengine.dump(parts, tmp_path / "part.pkl")  # what ranks exchange
    back = mmengine.load(tmp_path / "part.pkl")[0]
    assert back["a"] == 1.5 and back["c"].tolist() == [1, 1] and back["d"] == {1, 2} and back["b"].tolist() == [0, 1, 2]
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil(tmp_path / "run")))
    with pytest.raises(DataError, match=r"asks for .*open"):
        mmengine.load(tmp_path / "evil.pkl")
    assert not (tmp_path / "run").exists()
