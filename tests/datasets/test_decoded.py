"""Decoded images are kept as they are, by whichever process had them first, and nothing is left of them."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rtx.datasets.decoded import DecodedImages
from rtx.errors import OutputError

SHAPES = {"a.jpg": (40, 56, 3), "b.jpg": (32, 33, 3), "c.jpg": (56, 40, 3)}
SIZES = {path: int(np.prod(shape)) for path, shape in SHAPES.items()}
GB = 10**9


def image(path: str) -> np.ndarray:
    return np.random.default_rng(len(path) + ord(path[0])).integers(0, 256, SHAPES[path], np.uint8)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_each_image_comes_back_in_its_order_as_an_array_of_its_own(folder: Path) -> None:
    decoded = DecodedImages(SIZES, GB)
    assert all(decoded.get(path, "rgb") is None for path in SIZES)
    for path in SIZES:
        decoded.put(path, "rgb", image(path))
    for path in SIZES:
        found = decoded.get(path, "rgb")
        assert found is not None and (found == image(path)).all()
        found[:] = 0  # a step of the pipeline may write into it
        again = decoded.get(path, "rgb")
        assert again is not None and (again == image(path)).all() and again.flags.writeable
        assert decoded.get(path, "bgr") is None
    assert not list(folder.iterdir()), "the file has no name"
    decoded.close()
    assert decoded.get("a.jpg", "rgb") is None


def test_what_is_no_colour_image_of_the_expected_size_is_not_kept() -> None:
    decoded = DecodedImages(SIZES, GB)
    decoded.put("a.jpg", "rgb", image("b.jpg"))
    decoded.put("b.jpg", "rgb", image("b.jpg").astype(np.float32))
    decoded.put("c.jpg", "rgb", image("c.jpg").reshape(56, 120))
    decoded.put("d.jpg", "rgb", image("a.jpg"))
    assert [decoded.get(path, "rgb") for path in (*SIZES, "d.jpg")] == [None] * 4
    decoded.put("a.jpg", "rgb", image("c.jpg"))  # turned by its EXIF data
    found = decoded.get("a.jpg", "rgb")
    assert found is not None and (found == image("c.jpg")).all()


def test_the_first_images_get_what_room_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = DecodedImages(SIZES, SIZES["a.jpg"] + SIZES["b.jpg"])
    assert (decoded.held, decoded.bytes) == (2, SIZES["a.jpg"] + SIZES["b.jpg"])
    decoded.put("c.jpg", "rgb", image("c.jpg"))
    assert decoded.get("c.jpg", "rgb") is None
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=SIZES["b.jpg"] / 0.89))
    assert DecodedImages(SIZES, GB).held == 1, "a tenth of the disk stays free"
    assert DecodedImages(SIZES, 0).get("a.jpg", "rgb") is None


def test_a_disk_that_fills_up_is_one_line_and_what_was_kept_stays(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    decoded = DecodedImages(SIZES, GB)
    decoded.put("a.jpg", "rgb", image("a.jpg"))

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    for path in ("b.jpg", "c.jpg"):
        decoded.put(path, "rgb", image(path))
    assert [record.message for record in caplog.records] == [
        f"decoded images: No space left on device in {decoded.folder}; the rest is decoded in each cell"
    ]
    found = decoded.get("a.jpg", "rgb")
    assert found is not None and (found == image("a.jpg")).all()
    assert decoded.get("b.jpg", "rgb") is None


def test_several_that_found_the_same_space_free_leave_a_tenth_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    free = [20_000]
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free[0]))
    one, other = DecodedImages(SIZES, SIZES["a.jpg"] * 2), DecodedImages(SIZES, SIZES["a.jpg"] * 2)
    one.put("a.jpg", "rgb", image("a.jpg"))
    free[0] -= 2 * SIZES["a.jpg"]  # the first one's and somebody else's
    other.put("a.jpg", "rgb", image("a.jpg"))
    assert one.get("a.jpg", "rgb") is not None and other.get("a.jpg", "rgb") is None


def test_no_folder_for_temporary_files_is_an_error_with_a_remedy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(folder / "gone"))
    with pytest.raises(OutputError, match=r"--cache: .*gone.*set TMPDIR"):
        DecodedImages(SIZES, GB)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="loaders are forks")
def test_forks_share_it_and_other_processes_do_without() -> None:
    decoded = DecodedImages(SIZES, GB)
    child = os.fork()
    if not child:
        decoded.put("b.jpg", "bgr", image("b.jpg"))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    found = decoded.get("b.jpg", "bgr")
    assert found is not None and (found == image("b.jpg")).all()
    assert pickle.loads(pickle.dumps(decoded)) is None
