"""An evaluation folder from anybody: no file in it makes a command wait, fill the memory or end in a traceback."""

from __future__ import annotations

import errno
import os
import signal
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rtx.cli import main as cli
from rtx.errors import OutputError, RtxError
from rtx.reports.runs.runs import load_run
from rtx.results import folder as folders
from rtx.results.evaluation import Evaluation, sound_cells
from rtx.results.examples import read_examples
from rtx.results.folder import CellFolder, evidence_path, stored_conditions
from rtx.types import CLEAN
from tests.reports.made import make_evidence_run, make_examples, make_run

FILES = (
    "protocol.json",
    "cells/clean.json",
    "cells/fog_3.json",
    "cells/fog_3.npz",
    "summary.json",
    "command.json",
    "confidence.json",
    "resamples.npz",
    "by_class.json",
    "examples/index.json",
)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def holes(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b'{"a": "')
        file.truncate(2**32)


def deep(path: Path) -> None:
    path.write_text('{"protocol": ' + "[" * 5_000 + "]" * 5_000 + "}")


def bomb(path: Path) -> None:
    """An archive whose one array claims, and unpacks to, 8 GB."""
    shape = 8 * 2**30
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape},), }}\n".encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("head.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(1000))
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 2**32 - 2)
    path.write_bytes(content)


DAMAGE: tuple[Callable[[Path], None], ...] = (pipe, device, holes, deep, bomb)


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """A wait ends in an error instead of holding up everything."""

    def over(*_: Any) -> None:
        raise AssertionError("waited for 20 s")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    for name in ("a", "b"):
        out = make_run(root, name, conditions=(CLEAN, folders.Condition("fog", 3)), classes=("x",), resamples=20)
        make_examples(out, robust=0.5, images=1)
    return root


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: d.__name__)
def test_no_command_hangs_or_fails(
    runs: Path, name: str, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    path = runs / "a" / name
    before = path.read_bytes() if path.exists() else None
    path.unlink(missing_ok=True)
    damage(path)
    try:
        for words in (
            ["status", str(runs)],
            ["compare", str(runs / "a"), str(runs / "b")],
        ):
            assert cli.main(words) in (0, 1, 2), words
        with suppress(RtxError):  # what a report reads, before it draws
            load_run(runs / "a")
        with suppress(RtxError):
            read_examples(runs / "a")
    finally:
        path.unlink()
        if before is not None:
            path.write_bytes(before)


@pytest.mark.parametrize("what", ["cell", "evidence"])
def test_a_read_error_moves_no_cell_aside(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = make_evidence_run(tmp_path, "m", robust=0.3, images=2)
    folder = CellFolder.there(out)
    bad = folder.path(CLEAN) if what == "cell" else evidence_path(out, CLEAN)
    real = Path.stat

    def stale(self: Path, **options: Any) -> os.stat_result:
        if self == bad:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(self))
        return real(self, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", stale)
        with pytest.raises(OutputError, match=r"cannot be read \(Stale file handle\)"):
            sound_cells(folder, stored_conditions(out))
    assert not list(out.rglob("*.damaged"))
    assert len(sound_cells(folder, stored_conditions(out))) == 76
    assert Evaluation.read(out).evidence[CLEAN]
