"""Laws of the kernels themselves: tables, variants, order of severity, oddities that are kept, compilation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rtx.corruptions import CORRUPTIONS, corrupt
from rtx.corruptions.kernels import KERNELS
from rtx.corruptions.kernels.elastic import ElasticField, ElasticLevel
from rtx.corruptions.kernels.glass import glass_blur
from rtx.corruptions.kernels.motion import trail
from rtx.rng import image_rng
from rtx.types import Condition
from tests.corruptions.conftest import made_photo

Image = NDArray[np.uint8]


def out(image: Image, name: str, severity: int, engine: str = "rtx") -> Image:
    condition = Condition(name, severity)
    return corrupt(image, condition, image_rng(0, "k", condition), engine=engine)


def test_every_corruption_has_a_kernel_with_both_tables() -> None:
    assert set(KERNELS) == set(CORRUPTIONS)
    for name, kernel in KERNELS.items():
        assert kernel.name == name and kernel.family == CORRUPTIONS[name]
        assert len(set(kernel.levels)) == 5 and len(set(kernel.cifar10c or ())) == 5


def test_constants_are_those_of_imagenet_c() -> None:
    """The scalar tables, written out again from the publication's code."""
    expected: dict[str, tuple[Any, ...]] = {
        "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
        "shot_noise": (60, 25, 12, 5, 3),
        "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
        "speckle_noise": (0.15, 0.2, 0.35, 0.45, 0.6),
        "gaussian_blur": (1, 2, 3, 4, 6),
        "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
        "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
        "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
        "jpeg_compression": (25, 18, 15, 10, 7),
        "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    }
    cifar: dict[str, tuple[Any, ...]] = {
        "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
        "shot_noise": (500, 250, 100, 75, 50),
        "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
        "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
        "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
        "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
        "jpeg_compression": (80, 65, 58, 50, 40),
    }
    for name, levels in expected.items():
        assert KERNELS[name].levels == levels, name
    for name, levels in cifar.items():
        assert KERNELS[name].cifar10c == levels, name


@pytest.mark.parametrize("name", [n for n in CORRUPTIONS if n not in {"saturate", "spatter"}])
def test_severity_5_is_further_from_the_original_than_severity_1(name: str) -> None:
    image = made_photo(128, 160)
    distance = [np.abs(out(image, name, s).astype(int) - image).mean() for s in (1, 5)]
    assert 0 < distance[0] < distance[1]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_constants_of_cifar10c_are_milder(name: str) -> None:
    image = made_photo(32, 32)
    mild, strong = (
        np.mean([np.abs(out(image, name, s, e).astype(int) - image).mean() for s in (1, 2, 3, 4, 5)])
        for e in ("rtx-cifar10c", "rtx")
    )
    assert mild < strong * (1.3 if name == "spatter" else 1)


def test_grey_levels_are_cut_and_not_rounded() -> None:
    """As the reference casts: brightness adds 25.5 levels."""
    assert set(np.unique(out(np.full((40, 40, 3), 100, np.uint8), "brightness", 1))) == {125}


def test_glass_copies_pixels_instead_of_swapping_them() -> None:
    image = np.arange(40 * 40, dtype=np.uint16).view(np.uint8)[: 40 * 40].reshape(40, 40)
    image = np.stack([image, image, image], axis=-1)
    level = (1e-9, 2, 3)  # no smoothing: what is left is the shuffle
    assert glass_blur.draw is not None
    copied = glass_blur.apply(image, level, glass_blur.draw(image, level, np.random.default_rng(0)))
    assert sorted(copied[..., 0].ravel()) != sorted(image[..., 0].ravel())


def test_a_trail_that_leaves_the_image_loses_weight() -> None:
    shifts, weights = trail(20, 15, angle=0.0, height=32, width=32)
    assert np.abs(shifts).max() == 31
    assert float(weights.sum()) == pytest.approx(0.97, abs=0.02)


@pytest.mark.parametrize("share", [-2.3, -1.2, -0.4, -0.1, 0.1, 0.4, 1.2, 2.3])
def test_elastic_mirrors_however_far_a_pixel_looks(share: float) -> None:
    """All pixels look by the same share of the height up or down, over several strips of rows and beyond both edges."""
    from scipy.ndimage import map_coordinates

    image = made_photo(150, 40)
    height, width = image.shape[:2]
    level = ElasticLevel(alpha=1.0, reach=abs(share))
    moves = np.full((height, 2, width), np.sign(share), np.float32)
    moves[:, 0] = 0
    ours = KERNELS["elastic_transform"].apply(image, level, ElasticField(moves, np.zeros((3, 2))))
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    expected = [
        map_coordinates(image[..., c].astype(np.float64), [y + share * height, x], order=1, mode="reflect")
        for c in range(3)
    ]
    assert np.abs(ours - np.stack(expected, axis=-1)).max() < 1.1


def test_spatter_without_a_drop_leaves_the_image() -> None:
    image = made_photo(32, 32)
    kernel = KERNELS["spatter"]
    np.testing.assert_array_equal(kernel.apply(image, kernel.levels[0], np.full((32, 32), -5.0)), image)
