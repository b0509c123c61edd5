"""The reference package's own random fields, in the form that rtx's kernels take.

Each function draws from NumPy's global state exactly what `imagecorruptions` would draw from it, in its order; with the
same `np.random.seed` before both, the two apply the same field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from imagecorruptions import corrupt as reference_corrupt
from numba import njit
from numpy.typing import NDArray

from rtx.corruptions.kernels import KERNELS
from rtx.corruptions.kernels.elastic import ElasticField
from rtx.corruptions.kernels.fog import map_size
from rtx.corruptions.kernels.frost import FILES, FrostField, scaled_size
from rtx.corruptions.kernels.snow import SnowField, noise_window

Image = NDArray[np.uint8]


def _normal(image: Image, level: Any, seed: int) -> Any:
    return np.random.normal(size=image.shape).astype(np.float32)


def _counts(image: Image, photons: float, seed: int) -> Any:
    return np.random.poisson(np.array(image) / 255.0 * photons).astype(np.int16)


def _impulses(image: Image, amount: float, seed: int) -> Any:
    """As skimage.util.random_noise does, from a generator of its own."""
    rng = np.random.default_rng(seed)
    flipped = rng.random(image.shape) <= amount
    salted = rng.random(image.shape) <= 0.5
    return np.where(flipped, np.where(salted, 255, 1), 0).astype(np.uint8)


@njit
def _glass_offsets(iterations: int, height: int, width: int, reach: int, seed: int) -> NDArray[np.int8]:
    np.random.seed(seed)
    offsets = np.empty((iterations, height - 2 * reach, width - 2 * reach, 2), np.int8)
    for iteration in range(iterations):
        for i in range(height - 2 * reach):
            for j in range(width - 2 * reach):
                dx, dy = np.random.randint(-reach, reach, size=(2,))
                offsets[iteration, i, j, 0] = dx
                offsets[iteration, i, j, 1] = dy
    return offsets


def _offsets(image: Image, level: Any, seed: int) -> Any:
    _, reach, iterations = level
    return _glass_offsets(iterations, *image.shape[:2], reach, seed)


def _angle(image: Image, level: Any, seed: int) -> Any:
    return float(np.random.uniform(-45, 45))


def _snow(image: Image, level: Any, seed: int) -> Any:
    noise = np.random.normal(size=image.shape[:2])
    angle = float(np.random.uniform(-135, -45))
    return SnowField(np.ascontiguousarray(noise[noise_window(*image.shape[:2], level.zoom)]), angle)


def _frost(image: Image, level: Any, seed: int) -> Any:
    texture = int(np.random.randint(len(FILES)))
    width, height = scaled_size(texture, *image.shape[:2], level.scale)
    return FrostField(
        texture, int(np.random.randint(0, height - image.shape[0])), int(np.random.randint(0, width - image.shape[1]))
    )


def _cloud(image: Image, level: Any, seed: int) -> Any:
    # np.random.uniform(-w, w) is -w + 2 w * random_sample(): one stream of unit numbers serves all rounds.
    return np.random.random_sample(map_size(*image.shape[:2]) ** 2 - 1)


def _moves(image: Image, level: Any, seed: int) -> Any:
    shape = image.shape[:2]
    return ElasticField(
        np.stack([np.random.uniform(-1, 1, size=shape), np.random.uniform(-1, 1, size=shape)], axis=1), np.zeros((3, 2))
    )


def _liquid(image: Image, level: Any, seed: int) -> Any:
    return np.random.normal(size=image.shape[:2])


FIELDS: dict[str, Callable[[Image, Any, int], Any]] = {
    "gaussian_noise": _normal,
    "speckle_noise": _normal,
    "shot_noise": _counts,
    "impulse_noise": _impulses,
    "glass_blur": _offsets,
    "motion_blur": _angle,
    "snow": _snow,
    "frost": _frost,
    "fog": _cloud,
    "elastic_transform": _moves,
    "spatter": _liquid,
}
OWN_SEED = frozenset({"impulse_noise", "glass_blur"})


def both(image: Image, name: str, severity: int, seed: int) -> tuple[Image, Image]:
    """(rtx's pixels, the reference's pixels) for one and the same random field."""
    kernel = KERNELS[name]
    level = kernel.levels[severity - 1]
    state = np.random.get_state()
    try:
        np.random.seed(seed)
        options = {"seed": seed} if name in OWN_SEED else {}
        theirs = reference_corrupt(image, severity=severity, corruption_name=name, **options)
        np.random.seed(seed)
        field = FIELDS[name](image, level, seed) if name in FIELDS else None
    finally:
        np.random.set_state(state)
    return kernel.apply(image, level, field), theirs
