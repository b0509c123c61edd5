"""Files are read within bounds, whatever they are, and a fault of the machine is told from a damaged file."""

from __future__ import annotations

import errno
import json
import os
import tracemalloc
from pathlib import Path

import pytest

from rtx.errors import OutputError
from rtx.files import MOST_JSON, cannot_read, of_the_machine, read_bounded, read_json


def test_a_pipe_a_device_a_folder_and_a_large_file_are_refused_without_reading(tmp_path: Path) -> None:
    pipe, device, holes = tmp_path / "pipe", tmp_path / "device", tmp_path / "holes"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    with holes.open("wb") as file:
        file.truncate(4 * 2**30)
    tracemalloc.start()
    for path in (pipe, device, holes, tmp_path):
        with pytest.raises(ValueError, match=r"regular file|MB at most|folder"):
            read_json(path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "absent", 1)


@pytest.mark.parametrize("depth", [65, 1_000, 100_000])
def test_deep_nesting_is_refused(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": ' + "[" * depth + "]" * depth + "}")
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        read_json(path)
    path.write_text('{"a":' * depth + "1" + "}" * depth)
    with pytest.raises(ValueError, match="nested more than 64 deep"):
        read_json(path)


def test_an_object_is_read_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    deep: object = 1
    for _ in range(63):
        deep = {"a": [1]} if deep == 1 else {"b": deep}
    path.write_text(json.dumps(deep))
    assert read_json(path) == deep
    for text in ("[1]", "null", "1", '"a"', "", "{", "\xff"):
        path.write_text(text, "latin-1")
        with pytest.raises(ValueError):
            read_json(path)
    assert 2**24 < MOST_JSON < 2**26


def test_faults_of_the_machine_are_no_faults_of_the_file(tmp_path: Path) -> None:
    ours = [errno.ESTALE, errno.EIO, errno.EACCES, errno.EMFILE, errno.ETIMEDOUT]
    assert all(of_the_machine(OSError(number, os.strerror(number))) for number in ours)
    theirs = [
        OSError("bad"),
        FileNotFoundError(errno.ENOENT, "no"),
        IsADirectoryError(errno.EISDIR, "no"),
        ValueError(),
    ]
    assert not any(map(of_the_machine, theirs))
    stale = OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    assert isinstance(cannot_read(tmp_path, stale), OutputError) and "Stale" in str(cannot_read(tmp_path, stale))
