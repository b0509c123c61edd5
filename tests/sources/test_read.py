"""Honest files of every age are read, and what is foreign in them stays unread."""

from __future__ import annotations

import io
import json
import pickle
import sys
import tracemalloc
import types
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
import torch

from rtx.errors import WeightsError
from rtx.sources.reading.read import read_checkpoint, read_content
from rtx.sources.reading.safetensors_file import read_safetensors, write_safetensors
from rtx.sources.reading.unpickle import Inert
from tests.sources.hostile import good_state
from tests.sources.made_up import metadata_of


@pytest.fixture
def foreign_class():
    """A class that exists while the file is written and is gone when it is read, as with dill, cox or old torch."""
    module = types.ModuleType("gone_for_good")

    class Schedule:
        def __init__(self):
            self.lr = 0.1

    Schedule.__module__, Schedule.__qualname__ = "gone_for_good", "Schedule"
    module.Schedule = Schedule
    sys.modules["gone_for_good"] = module
    yield Schedule
    sys.modules.pop("gone_for_good", None)


def assert_same(one, two):
    assert list(one) == list(two)
    for key in one:
        assert one[key].dtype == two[key].dtype and torch.equal(one[key], two[key]), key


@pytest.mark.parametrize("legacy", [False, True])
def test_weights_beside_foreign_objects_are_read_and_the_objects_are_not(tmp_path, foreign_class, legacy):
    state = good_state()
    content = {
        "model": state,
        "schedule": foreign_class(),
        "args": [foreign_class],
        "epoch": 3,
        "best": np.float32(0.5),
    }
    torch.save(content, tmp_path / "f.pth", _use_new_zipfile_serialization=not legacy)
    del sys.modules["gone_for_good"]
    found = read_content(tmp_path / "f.pth")
    assert "gone_for_good.Schedule" in found.foreign
    assert_same(found.value["model"], state)
    assert found.value["epoch"] == 3
    assert isinstance(found.value["schedule"], Inert) and isinstance(found.value["best"], Inert)
    assert "gone_for_good" not in sys.modules


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool]
)
def test_every_type_and_view_is_read_as_torch_reads_it(tmp_path, legacy, dtype):
    whole = (torch.arange(60) % 7).to(dtype)
    state = {
        "plain": whole.clone(),
        "view": whole.view(6, 10)[1:4, ::3],
        "turned": whole.view(6, 10).t(),
        "empty": whole[:0],
        "number": whole[3].clone(),
        "same storage": whole.view(10, 6),
        "parameter": torch.nn.Parameter(whole.clone(), requires_grad=False),
    }
    torch.save(state, tmp_path / "f.pth", _use_new_zipfile_serialization=not legacy)
    found = read_checkpoint(tmp_path / "f.pth")
    assert_same(found, torch.load(tmp_path / "f.pth", weights_only=True))
    assert_same(found, state)


def test_harmless_globals_that_checkpoints_do_have_are_no_reason_to_refuse(tmp_path):
    import argparse
    import functools
    from pathlib import Path

    content = {
        "model": good_state(),
        "args": argparse.Namespace(x=1),
        "path": Path("x"),
        "f": functools.partial(len, [1]),
    }
    torch.save(content, tmp_path / "f.pth")
    assert_same(read_checkpoint(tmp_path / "f.pth")["model"], good_state())


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("legacy", [False, True])
def test_containers_become_plain_ones(tmp_path, foreign_class, protocol, legacy):
    content = {
        "ordered": OrderedDict(a=1),
        "default": defaultdict(list, b=[2]),
        "tuple": (1, "x"),
        "set": {3},
        "frozen": frozenset({4}),
        "bytes": b"x",
        "size": torch.Size([1, 2]),
        "force": foreign_class(),
    }
    torch.save(content, tmp_path / "f.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    value = read_checkpoint(tmp_path / "f.pth")
    assert type(value["ordered"]) is dict and value["ordered"] == {"a": 1}
    assert type(value["default"]) is dict and value["default"] == {"b": [2]}
    assert (value["tuple"], value["set"], value["frozen"], value["size"]) == ([1, "x"], [3], [4], [1, 2])
    assert value["bytes"] == b"x"


def test_tensors_saved_on_a_gpu_land_on_the_cpu(tmp_path, foreign_class, monkeypatch):
    """The location is only a string beside each storage."""
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:7")
    for legacy in (False, True):
        torch.save(
            {"w": torch.ones(3), "x": foreign_class()}, tmp_path / "f.pth", _use_new_zipfile_serialization=not legacy
        )
        assert read_checkpoint(tmp_path / "f.pth")["w"].device.type == "cpu"


def test_a_file_pickled_by_another_module_as_dill_does(tmp_path, foreign_class):
    """robustness saves with pickle_module=dill; torch's legacy format then starts with dill's protocol."""

    class Dill:
        Pickler, Unpickler = pickle._Pickler, pickle._Unpickler
        dump, dumps = staticmethod(pickle.dump), staticmethod(pickle.dumps)
        __name__ = "dill"

    for legacy in (False, True):
        for protocol in (2, 3, 4):
            torch.save(
                {"model": good_state(), "schedule": foreign_class()}, tmp_path / "f.pt", pickle_module=Dill,
                pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy,
            )  # fmt: skip
            assert_same(read_checkpoint(tmp_path / "f.pt")["model"], good_state())


@pytest.mark.parametrize("protocol", range(2, 6))
def test_numpy_arrays_of_plain_pickles_become_tensors(tmp_path, protocol):
    """The format of detectron2's model zoo."""
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "f": np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    (tmp_path / "f.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "x"}, protocol=protocol))
    value = read_checkpoint(tmp_path / "f.pkl")
    assert torch.equal(value["model"]["a"], torch.from_numpy(arrays["a"]))
    assert torch.equal(value["model"]["f"], torch.from_numpy(np.ascontiguousarray(arrays["f"])))


def test_an_openmmlab_checkpoint_with_its_history_is_read(tmp_path):
    pytest.importorskip("mmengine")
    from mmengine.logging import HistoryBuffer

    torch.save(
        {"meta": {}, "state_dict": good_state(), "message_hub": {"loss": HistoryBuffer([1.0], [1])}}, tmp_path / "f.pth"
    )
    assert_same(read_checkpoint(tmp_path / "f.pth")["state_dict"], good_state())


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        read_checkpoint(tmp_path / "nothing.pth")
    with pytest.raises(WeightsError, match="is a folder"):
        read_checkpoint(tmp_path)


def test_safetensors_round_trip_is_bit_equal_and_deterministic(tmp_path):
    state = {
        **good_state(),
        "half": torch.randn(3).half(),
        "brain": torch.randn(3).bfloat16(),
        "none": torch.zeros(0, 4),
    }
    write_safetensors(tmp_path / "a.safetensors", state, {"b": "2", "a": "1"})
    write_safetensors(tmp_path / "b.safetensors", dict(reversed(state.items())), {"a": "1", "b": "2"})
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    found = read_safetensors(tmp_path / "a.safetensors")
    assert set(found) == set(state) and all(torch.equal(found[key], state[key]) for key in state)
    assert metadata_of(tmp_path / "a.safetensors") == {"a": "1", "b": "2"}
    assert read_content(tmp_path / "a.safetensors").kind.name == "safetensors"


def test_a_large_file_of_holes_is_refused_before_it_takes_memory(tmp_path):
    values = 2**26
    entry = {"conv1.weight": {"dtype": "F32", "shape": [values], "data_offsets": [0, 4 * values]}}
    header = json.dumps(entry).encode()
    path = tmp_path / "holes.safetensors"
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 4 * values)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=r"of its 2684\d+ bytes were never written.*get it again"):
            read_content(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_a_large_file_that_was_written_is_read(tmp_path):
    write_safetensors(tmp_path / "f.safetensors", {"w": torch.ones(2**24 + 2**20)})
    assert read_checkpoint(tmp_path / "f.safetensors")["w"].sum() == 2**24 + 2**20


def test_a_buffer_of_junk_never_raises_anything_else(tmp_path):
    """Damage at every place of a small file gives weights or a WeightsError, nothing else."""
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(2), "n": 1}, buffer, _use_new_zipfile_serialization=False)
    data = buffer.getvalue()
    path = tmp_path / "f.pth"
    for position in range(0, len(data), 3):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
        try:
            read_checkpoint(path)
        except WeightsError:
            pass
