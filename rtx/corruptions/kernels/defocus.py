"""Defocus blur: every point becomes a disk."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.registry import Image, corruption

DefocusLevel = tuple[float, float]
Taps = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], np.float32, int]


@corruption(
    "blur",
    levels=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    cifar10c=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
)
def defocus_blur(image: Image, level: DefocusLevel, rng: np.random.Generator) -> Image:
    """Average over a disk, as a lens out of focus does.

    `level` is (radius of the disk, standard deviation of the smoothing of its edge), both in pixels.
    """
    runs, quads, weights, plateau, reach = _decompose(*level)
    height, width, channels = image.shape
    padded = cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_REFLECT_101)
    out = np.empty_like(image)
    _blur(
        padded.reshape(padded.shape[0], -1),
        channels,
        runs,
        quads,
        weights,
        plateau,
        out.reshape(height, width * channels),
    )
    return out


def disk_kernel(radius: float, edge_sigma: float) -> NDArray[np.float32]:
    """The disk of ImageNet-C: all cells within `radius`, smoothed, its size cut off at 17 x 17 or at the disk."""
    reach, size = (8, (3, 3)) if radius <= 8 else (int(radius), (5, 5))
    x = np.arange(-reach, reach + 1)
    disk = ((x[:, None] ** 2 + x[None, :] ** 2) <= radius**2).astype(np.float32)
    disk /= disk.sum()
    smoothed: NDArray[np.float32] = cv2.GaussianBlur(disk, ksize=size, sigmaX=edge_sigma)
    return smoothed


@lru_cache(maxsize=16)
def _decompose(radius: float, edge_sigma: float) -> Taps:
    """Split the kernel: its plateau in rows, each a difference of two running sums, and what differs around its edge.

    Returns:
        runs: rows (dy, first dx, last dx) of plateau, over all dy.
        quads, weights: (dy, dx) >= 0 and the weight of each of the four cells (+-dy, +-dx), halved for each of the two
            that is 0, because the sum over four signs then meets the same cell twice.
        plateau: the weight on the plateau.
        reach: largest offset.
    """
    kernel = disk_kernel(radius, edge_sigma).astype(np.float64)
    c = kernel.shape[0] // 2
    plateau = kernel[c, c]
    seen = kernel > 1e-9 * plateau
    flat = np.abs(kernel - plateau) < 1e-6 * plateau
    runs, quads, weights = [], [], []
    for dy in range(-c, c + 1):
        # The plateau is convex, so that each of its rows is one run around the middle.
        length = int(flat[c + dy, c:].argmin()) if not flat[c + dy, c:].all() else c + 1
        if length:
            runs.append((dy, -(length - 1), length - 1))
        for dx in range(length, c + 1) if dy >= 0 else ():
            if seen[c + dy, c + dx]:
                quads.append((dy, dx))
                weights.append(kernel[c + dy, c + dx] / ((1 + (dy == 0)) * (1 + (dx == 0))))
    reach = int(np.abs(np.argwhere(seen) - c).max())
    return (
        np.array(runs, np.int64).reshape(-1, 3),
        np.array(quads, np.int64).reshape(-1, 2),
        np.array(weights, np.float32),
        np.float32(plateau),
        max(reach, 1),
    )


@compiled
def _blur(
    padded: Image,
    channels: int,
    runs: NDArray[np.int64],
    quads: NDArray[np.int64],
    weights: NDArray[np.float32],
    plateau: np.float32,
    out: Image,
) -> None:
    height, n = out.shape
    reach = (padded.shape[0] - height) // 2
    span = 2 * reach + 1
    edge = reach * channels
    # Running sums along each row and channel, of the rows in use; row y lives at y % span.
    sums = np.zeros((span, padded.shape[1] + channels), np.int32)
    count = np.empty(n, np.int32)
    total = np.empty(n, np.float32)
    filled = 0
    for y in range(height):
        while filled < y + span:
            _run_sums(padded[filled], channels, sums[filled % span])
            filled += 1
        count[:] = 0
        for r in range(runs.shape[0]):
            row = sums[(y + reach + runs[r, 0]) % span]
            low = edge + runs[r, 1] * channels
            high = edge + (runs[r, 2] + 1) * channels
            _add_run(count, row[high : high + n], row[low : low + n])
        total[:] = 0
        for q in range(quads.shape[0]):
            up, down = padded[y + reach - quads[q, 0]], padded[y + reach + quads[q, 0]]
            left, right = edge - quads[q, 1] * channels, edge + quads[q, 1] * channels
            _add_quad(
                total,
                up[left : left + n],
                up[right : right + n],
                down[left : left + n],
                down[right : right + n],
                weights[q],
            )
        row_out = out[y]
        # In doubles: a mean of 29 equal values must not end a last bit below them.
        for i in range(n):
            value = np.float64(count[i]) * np.float64(plateau) + np.float64(total[i])
            row_out[i] = np.uint8(np.int32(min(value, 255.0)))


@compiled
def _run_sums(row: Image, channels: int, sums: NDArray[np.int32]) -> None:
    for i in range(row.size):
        sums[i + channels] = sums[i] + np.int32(row[i])


@compiled
def _add_run(count: NDArray[np.int32], high: NDArray[np.int32], low: NDArray[np.int32]) -> None:
    for i in range(count.size):
        count[i] += high[i] - low[i]


@compiled
def _add_quad(total: NDArray[np.float32], a: Image, b: Image, c: Image, d: Image, weight: np.float32) -> None:
    for i in range(total.size):
        four = np.int16(np.int16(a[i]) + np.int16(b[i])) + np.int16(np.int16(c[i]) + np.int16(d[i]))
        total[i] += np.float32(np.int32(four)) * weight
