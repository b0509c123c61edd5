"""Views of an image: what is left of its resolution and of its frequencies."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow

from rtx.datasets.views import View
from rtx.errors import BadValue

TEXTS = ("none", "downscale:32", "downscale:32x48", "lowpass:keep32", "lowpass:drop32")
SIZES = ((64, 96), (97, 65), (224, 224))


def noise(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)


def wave(size: tuple[int, int], rows: int, columns: int) -> np.ndarray:
    """A cosine of so many cycles along each axis around grey 128."""
    y, x = np.mgrid[: size[0], : size[1]]
    value = 128 + 100 * np.cos(2 * np.pi * (rows * y / size[0] + columns * x / size[1]))
    return np.repeat(value.round().astype(np.uint8)[..., None], 3, axis=2)


def energy_left(text: str, image: np.ndarray) -> float:
    before, after = (i.astype(float) - 128 for i in (image, View.parse(text)(image)))
    return float((after**2).sum() / (before**2).sum())


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("text", TEXTS)
def test_an_image_keeps_its_form_and_a_flat_one_its_pixels(text: str, size: tuple[int, int]) -> None:
    image, view = noise(size), View.parse(text)
    seen = view(image)
    assert seen.shape == image.shape and seen.dtype == np.uint8 and (image == noise(size)).all()
    assert (view(np.full_like(image, 77)) == 77).all()
    assert (view(image[..., ::-1]) == seen[..., ::-1]).all(), "RGB or BGR is all the same"
    assert str(view) == text and View.parse(str(view)) == view


@pytest.mark.parametrize(("text", "small"), [("downscale:32", (32, 48)), ("downscale:32x40", (32, 40))])
def test_downscale_is_resize_and_back(text: str, small: tuple[int, int]) -> None:
    image = noise((100, 151))
    there = Pillow.fromarray(image).resize(small[::-1], Pillow.Resampling.BILINEAR)
    back = np.asarray(there.resize((151, 100), Pillow.Resampling.BILINEAR))
    assert (View.parse(text)(image) == back).all()


def test_the_short_side_decides_and_the_exact_form_is_another_view() -> None:
    transforms = pytest.importorskip("torchvision.transforms.functional")
    for size in ((100, 151), (151, 100), (75, 75)):
        image = noise(size)
        small = transforms.resize(Pillow.fromarray(image), 32)
        back = np.asarray(transforms.resize(small, list(size)))
        assert (View.parse("downscale:32")(image) == back).all()
        square = View.parse("downscale:32x32")(image)
        assert (square == back).all() == (size[0] == size[1])


def test_nothing_is_enlarged() -> None:
    image = noise((28, 30))
    for text in ("downscale:32", "downscale:30x30", "lowpass:keep32"):
        assert (View.parse(text)(image) == image).all()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_keep_leaves_the_low_frequencies_alone(size: tuple[int, int]) -> None:
    for rows, columns in ((15, 0), (0, 15), (15, 15), (3, 8)):
        assert energy_left("lowpass:keep32", wave(size, rows, columns)) > 0.99
    for rows, columns in ((16, 0), (0, 16), (15, 16), (25, 25)):
        assert energy_left("lowpass:keep32", wave(size, rows, columns)) < 0.01


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_drop_takes_the_corner_of_high_frequencies_alone(size: tuple[int, int]) -> None:
    high = [(side - 32) // 2 + 1 for side in size]
    assert energy_left("lowpass:drop32", wave(size, *high)) < 0.01
    for rows, columns in ((high[0] - 1, high[1]), (high[0], high[1] - 1), (high[0], 0), (0, high[1]), (5, 5)):
        assert energy_left("lowpass:drop32", wave(size, rows, columns)) > 0.99


def test_what_a_low_pass_left_it_leaves_again() -> None:
    view = View.parse("lowpass:keep32")
    once = view(noise((97, 128)) // 4 + 96)  # far from black and white, where pixels are cut off
    assert np.abs(view(once).astype(int) - once).max() <= 1


@pytest.mark.parametrize("text", ["", "downscale", "downscale:0", "downscale:3.5", "lowpass:32", "lowpass:keep", "low"])
def test_another_word_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(BadValue, match="must be one of none, downscale:N, downscale:HxW, lowpass:keepN"):
        View.parse(text)


def test_images_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadValue, match=r"uint8 images \(H, W, 3\), got float32"):
        View.parse("downscale:8")(noise((40, 40)).astype(np.float32))
    with pytest.raises(BadValue, match=r"got uint8 \(40, 40\)"):
        View.parse("none")(noise((40, 40))[..., 0])
    with pytest.raises(BadValue, match="32 x 40 pixels has no frequencies beside"):
        View.parse("lowpass:drop32")(noise((40, 32)))
