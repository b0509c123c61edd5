"""Figures of influence: any number of classes, sorted by label, and the finding in the title is the matrix's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtx.reports.figures.influence import Tile, gallery, heat, label_match
from rtx.reports.figures.style import save, settings


def titled(figure: Any) -> str:
    return " ".join(figure.texts[0].get_text().split())


@pytest.mark.parametrize("classes", [2, 30], ids=["named", "too many to name"])
def test_heat_is_sorted_by_label(classes: int) -> None:
    test, train = np.arange(90) % classes, np.arange(120)[::-1] % classes
    same = train == test[:, None]
    with settings():
        figure = heat(np.where(same, 3.0, -1.0), test, train, [f"c{n}" for n in range(classes)], "mine")
    assert "mine: a pair of one class weighs 3.0 times" in titled(figure)
    shown = figure.axes[0].images[0].get_array()
    assert np.linalg.norm(shown) == pytest.approx(1)
    assert (shown[: 90 // classes, : 120 // classes] > 0).all() and (shown[0, 120 // classes :] < 0).all()
    assert len(figure.axes[0].get_xticklabels()) == (classes if classes == 2 else 0)


def test_heat_of_nothing() -> None:
    with settings():
        assert "influence of training images" in titled(
            heat(np.zeros((2, 3)), np.arange(2), np.arange(3), "abc", "zero")
        )


def test_label_match_names_the_best() -> None:
    with settings():
        figure = label_match([("a", np.array([0.5, 0.2])), ("b", np.array([0.75, 0.1]))], 0.1)
        alone = label_match([("a", np.array([0.5]))], 0.1)
    assert titled(figure) == "75 % of test images have the label of their most helpful training image (b)"
    assert titled(alone).endswith("training image")
    assert figure.axes[0].lines[0].get_ydata().tolist() == [50, 20]


def test_gallery_is_written(tmp_path: Path) -> None:
    tile = Tile(np.full((8, 6, 3), 200, np.uint8), "a class with a long name", same=True)
    with settings():
        save(gallery([(tile, [tile, tile], [tile, tile])] * 2, "mine"), tmp_path / "gallery", ("png",))
    assert (tmp_path / "gallery.png").stat().st_size > 1000
