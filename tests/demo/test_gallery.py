"""The gallery shows the clean scene and every corruption, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from rtx.corruptions import BENCHMARK
from rtx.demo.gallery import BAR, COLUMNS, ZOOM, write_gallery
from rtx.demo.scenes import SIZE, render_scene
from rtx.errors import MissingDependency


def test_gallery(tmp_path: Path) -> None:
    try:
        write_gallery(tmp_path / "a" / "sheet.png", 4)
    except MissingDependency as error:
        pytest.skip(str(error))
    write_gallery(tmp_path / "again.png", 4)
    assert (tmp_path / "a" / "sheet.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    sheet = cv2.imread(str(tmp_path / "again.png"))[..., ::-1]
    height, width = SIZE[0] * ZOOM + BAR, SIZE[1] * ZOOM
    assert sheet.shape == ((1 + len(BENCHMARK)) // COLUMNS * height, COLUMNS * width, 3)
    np.testing.assert_array_equal(sheet[BAR:height:ZOOM, :width:ZOOM], render_scene(4, "val", 0).image)
    tiles = {
        sheet[r * height + BAR : (r + 1) * height, c * width : (c + 1) * width].tobytes()
        for r in range(4)
        for c in range(COLUMNS)
    }
    assert len(tiles) == 1 + len(BENCHMARK)
