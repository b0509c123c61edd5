"""What cannot be asked of an engine is an error before anything starts."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from rtx.engines import Engine, opened
from rtx.engines.cluster import check_answers, check_limits, room
from rtx.errors import EngineError, MissingDependency, RtxError
from tests.engines.units import setup


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (dict(name="rey"), "did you mean 'ray'"),
        (dict(workers=0), "--ray-workers 0"),
        (dict(per_gpu=1.5), "--per-gpu 1.5"),
        (dict(per_gpu=-1), "--per-gpu -1"),
        (dict(cpus_per_worker=0), "--cpus-per-worker 0"),
    ],
    ids=str,
)
def test_bad_numbers(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(RtxError, match=fault):
        Engine(**options)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match=r"rtx-robustness\[ray\]"), opened(Engine("ray"), setup):
        pass


def test_an_address_that_does_not_answer() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(EngineError, match="does not answer"):
            check_answers(f"127.0.0.1:{taken.getsockname()[1]}")
    for address in ("127.0.0.1:70000", "a..b:6379"):
        with pytest.raises(EngineError, match="does not answer"):
            check_answers(address)
    for address in ("ray://127.0.0.1:10001", "127.0.0.1", "host:"):
        with pytest.raises(EngineError, match="HOST:PORT"):
            check_answers(address)


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ({}, None),
        ({"RAY_AUTH_TOKEN": "secret"}, "token"),
        ({"HOME": "token"}, "token"),
        ({"RAY_AUTH_TOKEN": "secret", "RAY_AUTH_MODE": "disabled"}, "disabled"),
    ],
    ids=["none", "variable", "file", "as asked"],
)
def test_a_cluster_by_address_gets_the_token_that_is_here(
    given: dict[str, str], mode: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pytest.importorskip("ray").is_initialized():
        pytest.skip("this process is connected to a cluster, by an earlier test")
    (tmp_path / "token" / ".ray").mkdir(parents=True)
    (tmp_path / "token" / ".ray" / "auth_token").touch()
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "")  # so that what the code sets goes with the test
        monkeypatch.delenv(name)
    for name, value in {"HOME": str(tmp_path), **given}.items():
        monkeypatch.setenv(name, str(tmp_path / value) if name == "HOME" else value)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        with pytest.raises(EngineError, match="does not answer"):
            with opened(Engine("ray", address=f"127.0.0.1:{silent.getsockname()[1]}"), setup):
                pass
    assert os.environ.get("RAY_AUTH_MODE") == mode


@pytest.mark.parametrize(
    ("gpus", "count"), [(1.0, 2), (0.25, 8), (0.4, 4), (2.0, 1), (4.0, 0), (0.0, 16)], ids=lambda x: str(x)
)
def test_a_worker_never_spans_parts_of_two_gpus(gpus: float, count: int) -> None:
    assert room({"CPU": 16, "GPU": 2, "memory": 1e12}, Engine("ray"), gpus, 2**30)[0] == count


def test_a_limit_that_ray_does_not_see() -> None:
    check_limits({"a (node 1)": (2, 8 * 2**30)}, 4 * 2**30)
    with pytest.raises(EngineError, match=r"2 Ray workers on a \(node 1\) need 10.0 GiB.*allows 8.0 GiB; give fewer"):
        check_limits({"b (node 2)": (1, 2**40), "a (node 1)": (2, 8 * 2**30)}, 5 * 2**30)
