"""rtx's kernels against imagecorruptions-imaug 1.1.5: with the same random field, at most one grey level apart."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("imagecorruptions", reason="parity is against imagecorruptions-imaug")

from rtx.corruptions import CORRUPTIONS
from tests.corruptions.conftest import made_photo
from tests.corruptions.fields import FIELDS, both

Image = NDArray[np.uint8]

SMALL = {"tiny": (32, 32), "odd": (47, 61), "tall": (129, 33), "wide": (34, 171)}
LARGE = {"photo": (480, 640), "side_2000": (65, 2000), "height_2000": (2000, 40), "square": (512, 512)}


def pictures(height: int, width: int) -> dict[str, Image]:
    rng = np.random.default_rng(7)
    shape = (height, width, 3)
    return {
        "made": made_photo(height, width),
        "noise": rng.integers(0, 256, shape, dtype=np.uint8),
        "black": np.zeros(shape, np.uint8),
        "white": np.full(shape, 255, np.uint8),
        "plain": np.full(shape, 77, np.uint8),
        "saturated": (rng.integers(0, 2, shape) * 255).astype(np.uint8),
    }


def expect_parity(image: Image, name: str, severity: int, seed: int, what: str) -> None:
    if name == "spatter" and severity <= 3 and not drops_expected(image):
        return
    ours, theirs = both(image, name, severity, seed)
    assert ours.shape == theirs.shape and ours.dtype == np.uint8
    apart = np.abs(ours.astype(np.int16) - theirs)
    assert apart.max() <= 1, f"{name} {severity} on {what}: {apart.max()} levels apart at {(apart > 1).mean():.2%}"


def drops_expected(image: Image) -> bool:
    """On a few dozen pixels no drop may form: the reference then divides 0 by 0, which no one can agree with."""
    return min(image.shape[:2]) > 32


@pytest.mark.parametrize("size", SMALL)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_small_images_of_all_kinds_at_all_severities(name: str, size: str) -> None:
    for kind, image in pictures(*SMALL[size]).items():
        for severity in range(1, 6):
            expect_parity(image, name, severity, seed=severity, what=f"{kind} {size}")


@pytest.mark.slow  # test_golden.py holds the pixels in the default run
@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_large_images_of_all_kinds_at_all_severities(name: str, size: str) -> None:
    for kind, image in pictures(*LARGE[size]).items():
        for severity in range(1, 6):
            for seed in range(1 if name not in FIELDS or kind != "made" else 3):
                expect_parity(image, name, severity, seed=seed, what=f"{kind} {size}")


@pytest.mark.parametrize("size", [(1100, 1990), pytest.param((3000, 4000), marks=pytest.mark.slow)])
def test_elastic_of_many_pixels_whose_smoothing_is_another(size: tuple[int, int]) -> None:
    """Above about two megapixels the weights are a sum of cosines; the reference adds up all of them in doubles."""
    for kind in ("made", "noise"):
        image = pictures(*size)[kind]
        ours, theirs = both(image, "elastic_transform", 5, 1)
        apart = np.abs(ours.astype(np.int16) - theirs)
        assert apart.max() <= 1, kind
        assert (apart > 0).mean() < 1e-4, f"{kind}: {(apart > 0).mean():.1e}"


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_nearly_every_value_is_the_same(name: str) -> None:
    # Without plain patches, whose blurred values lie a last bit above or below a whole grey level.
    image = pictures(150, 201)["noise"]
    pairs = [both(image, name, severity, 3) for severity in range(1, 6)]
    differing = [np.mean(ours != theirs) for ours, theirs in pairs]
    # Saturate and brightness often end exactly on a grey level, which skimage's way through HSV hits or misses.
    assert max(differing) < {"saturate": 0.25, "brightness": 0.01}.get(name, 0.002), differing
    if name in {"jpeg_compression", "pixelate", "frost", "gaussian_blur", "glass_blur", "impulse_noise", "shot_noise"}:
        assert max(differing) == 0, differing


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_real_photo(name: str, real_data) -> None:  # type: ignore[no-untyped-def]
    from PIL import Image as Pillow

    image = np.asarray(Pillow.open(real_data / "ref_imagecorruptions" / "test_image.jpg").convert("RGB"))
    for severity in range(1, 6):
        expect_parity(image, name, severity, seed=severity, what="test_image.jpg")
