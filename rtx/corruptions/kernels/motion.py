"""Motion blur: a weighted trail of shifted copies. Snow blows along the same trails."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.memory import empty_like
from rtx.corruptions.registry import Image, corruption

MotionLevel = tuple[int, float]


def _draw_angle(image: Image, level: MotionLevel, rng: np.random.Generator) -> float:
    return float(rng.uniform(-45, 45))


@corruption(
    "blur",
    levels=((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    cifar10c=((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    draw=_draw_angle,
)
def motion_blur(image: Image, level: MotionLevel, angle: float) -> Image:
    """Move the camera along a straight line while the shutter is open.

    The weights are half a Gaussian, heaviest at the pixel itself. In the reference a trail longer than a side of the
    image ends early without its weights being scaled up, which darkens images of less than 41 pixels, here as well.
    `level` is (radius, standard deviation) of a trail of 2 * radius + 1 steps of a pixel, `angle` is in degrees.
    """
    height, width, channels = image.shape
    shifts, weights = trail(*level, angle=angle, height=height, width=width)
    padded, starts = _pad(image, shifts)
    out = empty_like(image)
    _drag_bytes(
        padded.reshape(padded.shape[0], -1),
        starts * np.array([1, channels]),
        weights,
        out.reshape(height, width * channels),
    )
    return out


def trail(
    radius: int, sigma: float, *, angle: float, height: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Steps (dy, dx) by which the image is shifted, and the weight of each, filled up with 0 to a multiple of 4.

    Args:
        radius: half the number of steps.
        sigma: standard deviation of the weights, in steps.
        angle: in degrees, 0 along a row.
        height: of the image; a shift as large as a side ends the trail.
        width: of the image.
    """
    steps = 2 * radius + 1
    weights = np.exp(-(np.arange(steps) ** 2) / (2.0 * sigma**2))
    weights /= weights.sum()
    point = (steps * np.sin(np.deg2rad(angle)), steps * np.cos(np.deg2rad(angle)))
    length = math.hypot(point[0], point[1])
    shifts = []
    for i in range(steps):
        dy = -math.ceil(((i * point[0]) / length) - 0.5)
        dx = -math.ceil(((i * point[1]) / length) - 0.5)
        if abs(dy) >= height or abs(dx) >= width:
            break
        shifts.append((dy, dx))
    weights = weights[: len(shifts)]
    extra = -len(shifts) % 4
    return (
        np.array(shifts + [(0, 0)] * extra, np.int64),
        np.concatenate([weights, np.zeros(extra)]).astype(np.float32),
    )


def _pad(image: NDArray[Any], shifts: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Continue the edges by their outermost pixels, and give the first row and column that each shift reads."""
    # A pixel at (y, x) of the image shifted by (dy, dx) comes from (y - dy, x - dx).
    top, left = np.maximum(shifts.max(axis=0), 0)
    bottom, right = np.maximum(-shifts.min(axis=0), 0)
    padded = cv2.copyMakeBorder(image, int(top), int(bottom), int(left), int(right), cv2.BORDER_REPLICATE)
    return padded, np.array([top, left]) - shifts


def drag(layer: NDArray[np.float32], shifts: NDArray[np.int64], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The weighted sum of shifted copies of one channel (H, W)."""
    padded, starts = _pad(layer, shifts)
    out = empty_like(layer)
    _drag_floats(padded, starts, weights, out)
    return out


@compiled
def _drag_bytes(padded: Image, starts: NDArray[np.int64], weights: NDArray[np.float32], out: Image) -> None:
    total = np.empty(out.shape[1], np.float32)
    for y in range(out.shape[0]):
        _drag_row(padded, starts, weights, y, total)
        row = out[y]
        for i in range(row.size):
            row[i] = np.uint8(np.int32(min(total[i], np.float32(255))))


@compiled
def _drag_floats(
    padded: NDArray[np.float32], starts: NDArray[np.int64], weights: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    for y in range(out.shape[0]):
        _drag_row(padded, starts, weights, y, out[y])


@compiled
def _drag_row(
    padded: Any, starts: NDArray[np.int64], weights: NDArray[np.float32], y: int, total: NDArray[np.float32]
) -> None:
    n = total.size
    total[:] = 0
    for k in range(0, weights.size, 4):
        _add_four(
            total,
            padded[starts[k, 0] + y, starts[k, 1] : starts[k, 1] + n],
            padded[starts[k + 1, 0] + y, starts[k + 1, 1] : starts[k + 1, 1] + n],
            padded[starts[k + 2, 0] + y, starts[k + 2, 1] : starts[k + 2, 1] + n],
            padded[starts[k + 3, 0] + y, starts[k + 3, 1] : starts[k + 3, 1] + n],
            weights[k : k + 4],
        )


@compiled
def _add_four(total: NDArray[np.float32], a: Any, b: Any, c: Any, d: Any, weights: NDArray[np.float32]) -> None:
    """Four copies on one walk over the row: a quarter of the loads and stores of `total`."""
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    for i in range(total.size):
        front = np.float32(a[i]) * w0 + np.float32(b[i]) * w1
        total[i] += front + (np.float32(c[i]) * w2 + np.float32(d[i]) * w3)
