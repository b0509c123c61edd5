"""On a GPU the batch size is doubled while an image gets cheaper; stand-ins are timed here, there is no GPU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from rtx.errors import BadValue
from rtx.evaluation.evaluate import prepare
from rtx.evaluation.hook import CorruptionEvalHook
from rtx.evaluation.sweep import batch_size, batches
from rtx.evaluation.sweep.batch_size import doubled
from rtx.evaluation.sweep.forward import Forward, loader_died, plan_batches
from tests.evaluation.stand_in import PixelDetector, coco_config
from tests.evaluation.sweep.small_sweep import FEW, evaluate
from tests.evaluation.worlds import table

GPU = torch.device("cuda")


@pytest.mark.parametrize(
    ("once", "each", "most", "held", "size"),
    [
        (0.010, 0.001, 64, 64, 64),
        (0.010, 0.001, 40, 64, 32),  # the largest that the images fill
        (0.002, 0.010, 64, 64, 2),  # 12, 11 and 10.5 ms: the last is not worth it
        (0.0, 0.010, 64, 64, 1),
        (0.010, 0.001, 64, 8, 8),
        (0.010, 0.001, 64, 0, 1),
        (0.010, 0.001, 1, 64, 1),
    ],
)
def test_doubling_ends_where_an_image_gets_no_cheaper_or_memory_ends(
    once: float, each: float, most: int, held: int, size: int
) -> None:
    asked: list[int] = []

    def seconds(count: int) -> float | None:
        asked.append(count)
        return once + each * count if count <= held else None

    chosen, why = doubled(seconds, most)
    assert chosen == size
    assert max(asked) <= most and len(asked) == len(set(asked)), "each size once, none that no batch has"
    assert ("fill the memory" in why) is (0 < held < min(2 * size, most))


class Timed(PixelDetector):
    """Each pass takes 10 s and 1 s an image, by the clock of the probe."""

    now = 0.0

    def test_step(self, batch: dict[str, Any]) -> Any:
        Timed.now += 10 + len(batch["inputs"])
        return super().test_step(batch)


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody asks for a batch size, and the model counts as one on a GPU."""
    monkeypatch.setattr("rtx.evaluation.evaluate.device_of", lambda model: GPU)
    monkeypatch.setattr(batch_size, "time", SimpleNamespace(perf_counter=lambda: Timed.now))
    yield
    Timed.now = 0.0


def test_the_probe_chooses_for_the_sweep_says_why_and_changes_no_score(
    equal_sizes: Path, tmp_path: Path, as_on_a_gpu: None, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    probed = Timed()
    with caplog.at_level("INFO"):
        evaluate(equal_sizes, tmp_path / "a", probed, cache=0)
    said = "batches of 4 images: 11000.0, 6000.0, 3500.0 ms an image with 1, 2, 4; there are no larger ones"
    assert f"{said} (--batch-size for others)" in caplog.text
    assert json.loads((tmp_path / "a/cells/fog_2.json").read_text())["timing"]["batch_size"] == 4
    evaluate(equal_sizes, tmp_path / "b", batch_size=1)
    assert table(tmp_path / "a") == table(tmp_path / "b")
    # One cell more, after the probe would find another size: rounding is that of the cells that are there.
    monkeypatch.setattr("rtx.evaluation.sweep.forward.probed_batch_size", lambda *_: pytest.fail("a second probe"))
    evaluate(equal_sizes, tmp_path / "a", corruptions=["contrast"])
    assert json.loads((tmp_path / "a/cells/contrast_2.json").read_text())["timing"]["batch_size"] == 4


class OneByOne(Timed):
    """Fails on two images, or on two of different sizes."""

    alike = False

    def test_step(self, batch: dict[str, Any]) -> Any:
        assert len({tuple(image.shape) if self.alike else id(image) for image in batch["inputs"]}) == 1, "one, please"
        return super().test_step(batch)


def test_a_model_that_takes_single_images_gets_them(
    equal_sizes: Path, tmp_path: Path, as_on_a_gpu: None, caplog: pytest.LogCaptureFixture
) -> None:
    evaluate(equal_sizes, tmp_path / "a", OneByOne())
    assert "the model fails on 2 images at once (AssertionError: one, please)" in caplog.text
    assert json.loads((tmp_path / "a/cells/fog_2.json").read_text())["timing"]["batch_size"] == 1


def test_annotations_that_state_wrong_sizes_end_no_probe(
    equal_sizes: Path,
    tmp_path: Path,
    as_on_a_gpu: None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where nothing has refused them before."""
    monkeypatch.setattr("rtx.evaluation.evaluate.check_data", lambda *given, **options: None)
    file = max((equal_sizes / "val2017").iterdir())
    Image.open(file).resize((120, 90)).save(file)
    model = OneByOne()
    model.alike = True
    evaluate(equal_sizes, tmp_path / "a", model)
    assert json.loads((tmp_path / "a/cells/fog_2.json").read_text())["timing"]["batch_size"] == 4
    assert "fails" not in caplog.text


def test_a_size_that_is_asked_for_and_the_cpu_have_no_probe(made_coco: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def job(**options: Any) -> Any:
        return prepare(PixelDetector(), coco_config(made_coco), tmp_path, **FEW, **options)

    assert (job().batch_size, job(batch_size=3).batch_size) == (1, 3)
    monkeypatch.setattr("rtx.evaluation.evaluate.device_of", lambda model: GPU)
    assert (job().batch_size, job(batch_size=3).batch_size) == (None, 3)
    with pytest.raises(BadValue, match="batch size 0"):
        plan_batches(replace(job(), batch_size=0))
    assert CorruptionEvalHook().protocol.batch_size == 1, "a training leaves little memory"


def test_memory_is_pinned_where_the_model_is_on_a_gpu(
    made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    loader = batches.DataLoader

    def opened(*args: Any, pin_memory: bool, **options: Any) -> Any:
        asked.append(pin_memory)
        return loader(*args, **options)

    class OnGpu(Forward):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.on_gpu = True

    monkeypatch.setattr(batches, "DataLoader", opened)
    evaluate(made_coco, tmp_path / "a")
    monkeypatch.setattr("rtx.evaluation.sweep.forward.Forward", OnGpu)
    evaluate(made_coco, tmp_path / "b")
    assert asked == [False, True]
    assert loader_died(RuntimeError("Pin memory thread exited unexpectedly"))
