"""PRIME changes pixels and nothing else, as its published formulas say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rtx.augment import prime as module
from rtx.augment.prime import Prime, prime, smooth_colour
from rtx.errors import BadValue, UnknownName


@pytest.fixture
def photo():
    rows, columns = np.mgrid[0:47, 0:61] / 60
    return np.stack([rows, columns, 1 - rows], axis=-1).astype(np.float32)


@pytest.mark.parametrize("first", [1, 7, 250, 481])
def test_the_colour_map_is_the_sum_of_sines(photo, first):
    coefficients = np.random.default_rng(first).standard_normal((20, 3)) * 0.05
    x = photo.astype(np.float64)
    waves = np.sin(np.pi * np.arange(first, first + 20) * x[..., None])
    expected = np.clip(x + np.einsum("fc,hwcf->hwc", coefficients, waves), 0, 1)
    # A tenth of a grey level; 32-bit angles of 500 pi are good to 1e-4.
    assert np.abs(smooth_colour(photo, first, coefficients) - expected).max() < 0.1 / 255


@pytest.mark.parametrize(("delta", "tap"), [("upstream", 2), ("centre", 1)])
def test_the_filter_is_a_zero_padded_convolution_around_its_tap(photo, delta, tap):
    draws = np.random.default_rng(3)
    kernel = draws.uniform(0, 4.0) * draws.standard_normal((3, 3))
    kernel[tap, tap] += 1
    planes = torch.from_numpy(photo).permute(2, 0, 1)[:, None].double()
    expected = torch.nn.functional.conv2d(planes, torch.from_numpy(kernel)[None, None], padding="same").clamp(0, 1)
    found = module._filter(photo, np.random.default_rng(3), delta)
    assert np.abs(found - expected[:, 0].permute(1, 2, 0).numpy()).max() < 1e-5


def test_the_result_is_a_convex_mixture_that_differs_from_draw_to_draw(photo):
    draws = [prime(photo, np.random.default_rng(seed)) for seed in range(40)]
    for draw in draws:
        assert draw.shape == photo.shape and draw.dtype == np.float32
        assert 0 <= draw.min() and draw.max() <= 1 + 1e-6
    changes = [float(np.abs(draw - photo).mean()) for draw in draws]
    assert min(changes) < 0.05 < max(changes) and len(set(changes)) == 40
    assert np.array_equal(draws[0], prime(photo, np.random.default_rng(0)))


def test_black_stays_black():
    """Every primitive maps 0 to 0: sines vanish there, and filters have no constant."""
    black = np.zeros((16, 16, 3), np.float32)
    assert not any(prime(black, np.random.default_rng(seed)).any() for seed in range(20))


def test_primitives_and_depths_are_drawn_evenly(photo, monkeypatch):
    calls = []
    monkeypatch.setattr(module, "_colour", lambda image, rng: calls.append("c") or image)
    monkeypatch.setattr(module, "_filter", lambda image, rng, delta: calls.append("f") or image)
    for seed in range(300):
        prime(photo[:2, :2], np.random.default_rng(seed))
    # 300 pictures, 3 chains of depth 2 on average.
    assert 1700 < len(calls) < 1900 and 0.45 < calls.count("c") / len(calls) < 0.55


def test_the_transform_touches_the_image_alone_and_follows_numpys_seed(photo):
    boxes = np.array([[1.0, 2.0, 30.0, 40.0]])
    image = (255 * photo).astype(np.uint8)

    def run():
        np.random.seed(5)
        return Prime()({"img": image, "gt_bboxes": boxes, "img_shape": image.shape[:2]})

    one, two = run(), run()
    assert np.array_equal(one["img"], two["img"]) and one["img"].dtype == np.float32
    assert one["gt_bboxes"] is boxes and one["img_shape"] == image.shape[:2]
    assert 1 < one["img"].max() <= 255.01


def test_wrong_input_is_named():
    with pytest.raises(UnknownName, match="centre"):
        Prime(delta="center")
    with pytest.raises(BadValue, match=r"\(4, 4\)"):
        Prime()({"img": np.zeros((4, 4), np.uint8), "img_path": "x.png"})
