"""Sheets of searched images: one column a network, and one in front where images were given."""

from __future__ import annotations

import numpy as np
import pytest

from rtx.reports.figures.style import settings
from rtx.reports.figures.visualise import SheetImage, sheet


@pytest.mark.parametrize("front", [False, True])
def test_a_column_for_each_network(front: bool) -> None:
    def tile(shade: int) -> SheetImage:
        return SheetImage(np.full((8, 8, 3), shade, np.uint8), f"{shade}")

    rows = [("unit 4", tile(9) if front else None, [tile(1), tile(2)]), ("unit 7", None, [tile(3), tile(4)])]
    with settings():
        figure = sheet(rows, ["plain", "robust"], "What units answer to")
    (axes,) = figure.axes
    shown = [(image.get_array()[0, 0, 0], image.get_extent()) for image in axes.images]
    assert [shade for shade, _ in shown] == ([9] if front else []) + [1, 2, 3, 4]
    by_shade = dict(shown)
    assert by_shade[1][0] == by_shade[3][0] < by_shade[2][0] == by_shade[4][0] and by_shade[1][2] > by_shade[3][3]
    texts = [text.get_text() for text in axes.texts]
    assert {"plain", "robust", "unit 4", "unit 7"} <= set(texts) and ("given" in texts) == front
