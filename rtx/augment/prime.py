"""PRIME while training (Modas et al., 2022), without its geometric part: boxes, masks and label maps stay right.

Yamada & Otani (2022), appendix B.2, train detectors and segmenters with it: colour and filter primitives only, the
constants of ImageNet, no JSD loss.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from rtx.errors import BadValue, unknown_name

DELTAS = ("upstream", "centre")
WIDTH, MAX_DEPTH = 3, 3
MAX_FREQUENCY, BAND, MAX_TEMPERATURE = 500, 20, 0.05
MAX_SIGMA = 4.0


@TRANSFORMS.register_module()
class Prime(BaseTransform):
    """Mix the picture with three random chains of one to three primitives, each a colour map or a 3x3 filter.

    Goes behind everything that resizes, crops and changes colours, right before packing: the picture is not padded yet,
    so that padding stays out of it. Channels are treated alike and independently, so BGR and RGB make no difference.

    Required key: `img`, (H, W, 3) with values 0 to 255. Modified key: `img`, float32, same range.

    Args:
        delta: where the filter's identity tap lies. `upstream` is the published code: the lower right corner, which
            moves the content by one pixel; `centre` does not.

    Raises:
        UnknownName: no such place.
        BadValue: an image of another shape.
    """

    def __init__(self, delta: str = "upstream") -> None:
        if delta not in DELTAS:
            raise unknown_name("place of the identity tap", delta, place="rtx/augment/prime.py", choices=DELTAS)
        self.delta = delta

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Augment `results["img"]`."""
        image = np.asarray(results["img"])
        if image.ndim != 3 or image.shape[2] != 3:
            raise BadValue(f"image {results.get('img_path')!r} has shape {image.shape}: Prime takes colour pictures")
        # OpenMMLab seeds NumPy's global state for each worker.
        rng = np.random.default_rng(np.random.randint(2**31))
        results["img"] = prime(image.astype(np.float32) / 255, rng, delta=self.delta) * 255
        return results


def prime(image: np.ndarray, rng: np.random.Generator, *, delta: str = "upstream") -> np.ndarray:
    """Augment an image with one random sample of PRIME.

    Source: PRIME's `GeneralizedPRIMEModule` with `no_jsd`, width 3, stochastic depth; parameters are drawn for each
    picture, where the published code shares cut, temperature and sigma within a batch.

    Args:
        image: float32 (H, W, 3) in [0, 1].
        rng: all randomness.
        delta: see `Prime`.

    Returns:
        float32 (H, W, 3) in [0, 1].
    """
    weights = rng.dirichlet(np.ones(WIDTH))
    share = rng.beta(1, 1)
    mixed = (1 - share) * image
    for weight in weights:
        chain = image
        for _ in range(rng.integers(1, MAX_DEPTH + 1)):
            chain = _colour(chain, rng) if rng.integers(2) else _filter(chain, rng, delta)
        mixed += share * weight * chain
    return mixed.astype(np.float32)


def _colour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    cut = int(rng.integers(1, MAX_FREQUENCY + 1))
    temperature = rng.uniform(0, MAX_TEMPERATURE)
    first = int(rng.integers(1, cut + 1))
    count = min(BAND, cut + 1 - first)
    return smooth_colour(image, first, math.sqrt(temperature) * rng.standard_normal((count, 3)))


def smooth_colour(image: np.ndarray, first: int, coefficients: np.ndarray) -> np.ndarray:
    """Add the sum of c_k sin(pi k x) to x, cut to [0, 1].

    Args:
        image: float32 (H, W, 3) in [0, 1].
        first: lowest frequency k.
        coefficients: (n, 3), for the frequencies first, first + 1, ...
    """
    angle = np.float32(math.pi) * image
    # sin(k+1)t = 2 cos t sin kt - sin(k-1)t: two sines a picture instead of one for each frequency.
    twice = 2 * np.cos(angle)
    now, before = np.sin(first * angle), np.sin((first - 1) * angle)
    result = image.copy()
    for row in coefficients.astype(np.float32):
        result += row * now
        now, before = twice * now - before, now
    return np.clip(result, 0, 1)


def _filter(image: np.ndarray, rng: np.random.Generator, delta: str) -> np.ndarray:
    kernel = rng.uniform(0, MAX_SIGMA) * rng.standard_normal((3, 3))
    tap = 2 if delta == "upstream" else 1
    kernel[tap, tap] += 1
    filtered = cv2.filter2D(image, -1, kernel.astype(np.float32), borderType=cv2.BORDER_CONSTANT)
    return np.clip(filtered, 0, 1)
