"""Reading what a checkpoint says of its training ends, whatever the file holds."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer

from rtx.errors import WeightsError
from rtx.evaluation.models.load import training_meta
from tests.sources.hostile import DOUBLED, zip_around


def test_the_training_state_of_mmengine_is_read(tmp_path: Path) -> None:
    state = OrderedDict(weight=torch.zeros(2))
    hub = {"log_scalars": {"loss": HistoryBuffer([1.0, 2.0], [1, 1])}}
    optimizer = {"state": {0: {"step": torch.ones(1)}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999)}]}
    content = {"meta": {"epoch": 3, "iter": 9}, "state_dict": state, "message_hub": hub, "optimizer": optimizer}
    torch.save(content, tmp_path / "epoch_3.pth")
    assert training_meta(tmp_path / "epoch_3.pth") == {"epoch": 3, "iter": 9}


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02}" + DOUBLED + b"K\x02s.",
        b"\x80\x02cbuiltins\nset\n](" + DOUBLED + b"e\x85R.",
        b"\x80\x02ccollections\nCounter\n](" + DOUBLED + b"K\x00K\x00\x87e\x85R.",
    ],
    ids=["key", "member of a set", "counted"],
)
def test_a_key_that_takes_forever_to_hash_is_refused_at_once(program: bytes, tmp_path: Path) -> None:
    path = tmp_path / "epoch_3.pth"
    zip_around(path, program)
    # In a process of its own: a hanging hash cannot be interrupted.
    code = f"from rtx.evaluation.models.load import training_meta\ntraining_meta({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert WeightsError.__name__ in done.stderr and "key or set member of type tuple" in done.stderr


def test_an_error_without_words_is_named_by_its_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"meta": {}}, tmp_path / "a.pth")

    def fail(*_: object, **__: object) -> None:
        raise EOFError

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(WeightsError, match=r"\(EOFError: EOFError\).*resume only"):
        training_meta(tmp_path / "a.pth")
