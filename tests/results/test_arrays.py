"""Arrays under a head: what is read is what was written, and a damaged file is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtx.errors import BadValue
from rtx.results.arrays import pack, reading, unpack

FORM = "rtx.made/1"


def content() -> bytes:
    return pack({"format": FORM, "names": ["ä", "b"]}, {"n": np.arange(500), "boxes": np.zeros((0, 4), np.float32)})


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content())
    head, arrays = unpack(path, FORM)
    assert head == {"format": FORM, "names": ["ä", "b"]} and set(arrays) == {"n", "boxes"}
    assert np.array_equal(arrays["n"], np.arange(500)) and arrays["boxes"].shape == (0, 4)
    assert content() == path.read_bytes()


@pytest.mark.parametrize("kept", [0, 1, 30, 200, -1, -25])
def test_a_cut_file_is_named_with_its_remedy(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content()[:kept])
    with (
        pytest.raises(BadValue, match=r"a\.npz: not an rtx made file .*; make it again"),
        reading(path, "made file", "make it again"),
    ):
        unpack(path, FORM)


def test_objects_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", head=np.array([{"format": FORM}], dtype=object))
    with pytest.raises(BadValue, match="allow_pickle"), reading(tmp_path / "a.npz", "made file", "make it again"):
        unpack(tmp_path / "a.npz", FORM)


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(content())
    with pytest.raises(BadValue, match=r"format 'rtx\.made/1'"), reading(tmp_path / "a.npz", "file", "go on"):
        unpack(tmp_path / "a.npz", "rtx.made/2")
