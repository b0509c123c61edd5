"""What keeps a report quick: each picture is compressed once a format, and nothing heavy is imported for it."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from rtx.reports.figures import pictures
from rtx.reports.figures.style import save
from rtx.reports.strips import figure as strip
from rtx.reports.strips.examples import picture
from rtx.reports.strips.selection import choose
from rtx.results.examples import read_examples
from rtx.types import CLEAN, SEVERITIES, Condition
from tests.reports.made import make_examples


def png(image: Image.Image, **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def test_a_picture_is_compressed_once_and_stays_what_it_was() -> None:
    pictures.encode.cache_clear()
    pixels = np.random.default_rng(0).integers(0, 255, (9, 13, 3), np.uint8)
    opaque = np.dstack([pixels, np.full((9, 13), 255, np.uint8)])
    clear = opaque.copy()
    clear[0, 0, 3] = 7
    with pictures.compressed_once():
        files = [png(Image.fromarray(a)) for a in (pixels, opaque, pixels.copy())]
        through = png(Image.fromarray(clear))
        png(Image.fromarray(pixels), compress_level=9)  # whoever asks for a level of his own is left alone
    assert files[0] == files[1] == files[2]
    assert pictures.encode.cache_info().misses == 2  # one for the three, one for the clear one
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(files[0]))), pixels)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(through))), clear)
    png(Image.fromarray(pixels[::-1].copy()))
    assert pictures.encode.cache_info().currsize == 2  # Pillow is as before, outside


def test_a_strip_of_three_models_compresses_each_picture_once_a_format(tmp_path: Path) -> None:
    for robust in (0.1, 0.3, 0.6):
        (tmp_path / str(robust)).mkdir()
        make_examples(tmp_path / str(robust), robust=robust, images=1)
    runs = [(folder.name, found) for folder in sorted(tmp_path.iterdir()) if (found := read_examples(folder))]
    choice = choose([found for _, found in runs])[0]
    shown = (CLEAN, *(Condition(choice.corruption, level) for level in SEVERITIES))
    example = runs[0][1].images[choice.image]
    figure = strip.draw(choice, runs, {condition: picture(example, condition) for condition in shown})
    pictures.encode.cache_clear()
    save(figure, tmp_path / "strip", ("pdf", "svg"))
    assert (tmp_path / "strip.svg").read_text().count("<image ") == 18
    # Of 36 places: in PDF a picture lies upside down, so that each is compressed once for each format.
    assert 6 < pictures.encode.cache_info().misses <= 12


def test_a_report_imports_neither_torch_nor_a_detector_framework() -> None:
    script = (
        "import sys; import rtx.cli.report, rtx.reports.build, rtx.reports.runs.runs; "
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    loaded = set(run.stdout.split())
    assert loaded.isdisjoint({"torch", "torchvision", "mmcv", "mmengine", "mmdet", "mmseg", "numba", "cv2", "scipy"})
