"""A contact sheet has a cell for each corruption and severity, with the pixels of an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rtx.corruptions import BENCHMARK, corrupt
from rtx.corruptions.settings import Settings
from rtx.datasets.image_files import read_rgb
from rtx.datasets.sheet import write_sheet
from rtx.rng import image_rng
from rtx.types import Condition


def test_cells_are_the_pixels_of_an_evaluation(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    names = ("contrast", "impulse_noise", "pixelate")
    for file in ("a/sheet.png", "again.png"):
        write_sheet(tmp_path / file, image, "name", names, (2, 5), [Settings(seed=4)])
    assert (tmp_path / "a/sheet.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    sheet = read_rgb(tmp_path / "again.png")
    assert set(names) < set(BENCHMARK)
    for row, name in enumerate(names):
        for column, severity in enumerate((2, 5)):
            condition = Condition(name, severity)
            cell = sheet[24 + row * 46 : 64 + row * 46, 140 + column * 56 : 190 + column * 56]
            assert (cell == corrupt(image, condition, image_rng(4, "name", condition))).all()
