"""With and without kept images a sweep writes the same bytes, and decodes each image once or once a cell."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rtx.datasets import image_files
from rtx.datasets.openmmlab.image_loader import LoadImageChecked, with_checked_images
from rtx.errors import BadValue
from rtx.evaluation.evaluate import evaluate as evaluate_any
from rtx.evaluation.evaluate import prepare
from rtx.evaluation.models.adapters import Detector
from rtx.evaluation.protocol import Protocol
from rtx.evaluation.sweep.keep import _image_loaders
from rtx.evaluation.sweep.remote import CellSetup
from rtx.types import CLEAN, Condition
from tests.evaluation.models.plain_functions import by_colour
from tests.evaluation.stand_in import CLASSES, PixelDetector, coco_config
from tests.evaluation.worlds import table

FEW: dict[str, Any] = dict(corruptions=["gaussian_noise", "fog"], severities=[2], workers=0, resamples=0)
IMAGES, CELLS = 4, 3


def evaluate(root: Path, out: Path, **options: Any) -> None:
    evaluate_any(PixelDetector(), with_checked_images(coco_config(root)), out, **{**FEW, **options})


@pytest.fixture(scope="module")
def without(made_coco: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The files of a sweep that decodes each image in each cell."""
    out = tmp_path_factory.mktemp("without")
    evaluate(made_coco, out, cache=0)
    return table(out)


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each image that this process decodes."""
    found: list[int] = []

    def counted(content: bytes) -> Any:
        found.append(len(content))
        return image_files.rgb_pixels(content)

    monkeypatch.setattr("rtx.datasets.openmmlab.image_loader.rgb_pixels", counted)
    monkeypatch.setattr("rtx.evaluation.models.adapter_data.decode_rgb", lambda content, path: counted(content))
    return found


@pytest.mark.parametrize(("cache", "count"), [(1.0, IMAGES), (0.0, IMAGES * CELLS), (None, IMAGES)])
def test_each_image_is_decoded_once(
    made_coco: Path, tmp_path: Path, without: dict[str, object], decodes: list[int], cache: float | None, count: int
) -> None:
    evaluate(made_coco, tmp_path, cache=cache)
    assert len(decodes) == count
    assert table(tmp_path) == without


def test_what_has_no_room_is_decoded_in_each_cell(
    made_coco: Path, tmp_path: Path, without: dict[str, object], decodes: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        evaluate(made_coco, tmp_path, cache=80_000 / 10**9)  # two images of about 37,000 bytes
    assert len(decodes) == 2 + 2 * CELLS
    assert "2 of 4 decoded images are kept for the cells that follow" in caplog.text
    assert table(tmp_path) == without


@pytest.mark.skipif(not hasattr(os, "fork"), reason="loaders are forks")
def test_loader_processes_share_what_is_kept(
    made_coco: Path, tmp_path: Path, without: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The photographs are gone after the first cell, and nobody looks whether they are."""
    monkeypatch.setattr("rtx.evaluation.inputs.Inputs.check", lambda *given: None)
    root = tmp_path / made_coco.name
    shutil.copytree(made_coco, root)
    evaluate(root, tmp_path / "out", workers=2, cache=1.0, on_cell=lambda *_: empty(root / "val2017"))
    assert table(tmp_path / "out") == without


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def test_nothing_is_kept_where_memory_is_short_or_for_one_cell(
    made_coco: Path,
    tmp_path: Path,
    decodes: list[int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("rtx.evaluation.sweep.keep.memory", lambda: 500_000)
    with caplog.at_level("INFO"):
        evaluate(made_coco, tmp_path / "a")
    assert len(decodes) == IMAGES * CELLS
    assert "each cell decodes its images anew: they would take 0.0 GB" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        evaluate(made_coco, tmp_path / "b", corruptions=[], cache=1.0)
    assert "decoded images" not in caplog.text


def test_where_no_temporary_file_can_be_made_one_line_says_so(
    made_coco: Path, tmp_path: Path, without: dict[str, object], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr("rtx.datasets.decoded.tempfile.TemporaryFile", lambda **_: open(tmp_path / "no" / "where"))
    evaluate(made_coco, tmp_path / "out", cache=1.0)
    assert next(r.message for r in caplog.records if r.levelname == "WARNING").endswith("; each cell decodes anew")
    assert table(tmp_path / "out") == without


def test_a_worker_of_a_cluster_keeps_them_for_all_its_cells(
    made_coco: Path, tmp_path: Path, decodes: list[int]
) -> None:
    job = prepare(PixelDetector(), with_checked_images(coco_config(made_coco)), tmp_path, **FEW)
    work, _ = CellSetup(job, [[n] for n in job.indices], "mmdet")("cpu")
    for condition in (CLEAN, Condition("fog", 2)):
        work((condition, "key"))
    assert len(decodes) == IMAGES


def test_nothing_is_kept_where_two_loaders_make_two_colour_orders_of_a_file() -> None:
    steps = [[LoadImageChecked(rgb=rgb)] for rgb in (True, False, True)]
    assert _image_loaders(SimpleNamespace(transforms=steps)) == []
    assert _image_loaders(SimpleNamespace(transforms=steps[::2])) == [steps[0][0], steps[2][0]]


def test_plain_functions_have_it_too(made_coco: Path, tmp_path: Path, decodes: list[int]) -> None:
    for name, cache in (("a", 1.0), ("b", 0.0)):
        detector = Detector(by_colour, CLASSES, name="by colour")
        evaluate_any(detector, made_coco, tmp_path / name, cache=cache, **FEW)
    assert len(decodes) == IMAGES * (1 + CELLS)
    assert table(tmp_path / "a") == table(tmp_path / "b")


def test_nothing_is_kept_by_itself_where_temporary_space_is_short(
    made_coco: Path, tmp_path: Path, decodes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtx.evaluation.sweep.keep.temporary_space", lambda: 290_000)
    evaluate(made_coco, tmp_path)
    assert len(decodes) == IMAGES * CELLS


@pytest.mark.parametrize("cache", [-1.0, float("inf"), float("nan")])
def test_a_size_that_is_none_is_refused(cache: float) -> None:
    with pytest.raises(BadValue, match=r"--cache .*must be 0"):
        Protocol(cache=cache)
