"""The kernel of defocus blur in two forms: as it is, cell by cell, and as a disk that a small Gaussian smooths."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]
Vector = NDArray[np.float32]


class Cells(NamedTuple):
    """The kernel as it is: a plateau in columns, and what differs around its edge.

    Attributes:
        runs: (dx, dy): the plateau's cells in column dx reach from -dy to dy.
        quads: (dy, dx) >= 0 of the edge.
        weights: of each of the four cells (+-dy, +-dx), halved for each of the two that is 0, because the sum over four
            signs then meets the same cell twice.
        plateau: the weight on the plateau.
    """

    runs: Index
    quads: Index
    weights: Vector
    plateau: np.float32


class Disk(NamedTuple):
    """The kernel as a disk and what follows it.

    Attributes:
        runs: (dx, dy) of the disk.
        taps: of the Gaussian, at distance 0, 1, ..., each for a disk of sum 1.
        rim: (o, h) of lines of 2 h + 1 cells at distance o from the middle: the reference smooths its kernel in a
            square that ends at the disk, mirrored at its sides, which moves weight from beyond the square into it.
        rim_weights: of those lines, which the Gaussian then smooths along the line.
        scale: of the sums over cells.
    """

    runs: Index
    taps: Vector
    rim: Index
    rim_weights: Vector
    scale: np.float32


def _square(radius: float) -> tuple[int, int]:
    """(half the side of the square that holds the disk, taps of its smoothing on one side), as in the reference."""
    return (8, 1) if radius <= 8 else (int(radius), 2)


def disk_kernel(radius: float, edge_sigma: float) -> Vector:
    """The disk of ImageNet-C: all cells within `radius`, smoothed, its size cut off at 17 x 17 or at the disk."""
    reach, side = _square(radius)
    x = np.arange(-reach, reach + 1)
    disk = ((x[:, None] ** 2 + x[None, :] ** 2) <= radius**2).astype(np.float32)
    disk /= disk.sum()
    smoothed: Vector = cv2.GaussianBlur(disk, ksize=(2 * side + 1, 2 * side + 1), sigmaX=edge_sigma)
    return smoothed


@lru_cache(maxsize=16)
def cells_of(radius: float, edge_sigma: float) -> Cells:
    """`disk_kernel` as a plateau and its edge."""
    kernel = disk_kernel(radius, edge_sigma).astype(np.float64)
    c = kernel.shape[0] // 2
    plateau = kernel[c, c]
    seen = kernel > 1e-9 * plateau
    flat = np.abs(kernel - plateau) < 1e-6 * plateau
    runs, quads, weights = [], [], []
    for dy in range(-c, c + 1):
        # The plateau is convex, so that each of its rows is one run around the middle; its columns are the same.
        length = int(flat[c + dy, c:].argmin()) if not flat[c + dy, c:].all() else c + 1
        if length:
            runs.append((dy, length - 1))
        for dx in range(length, c + 1) if dy >= 0 else ():
            if seen[c + dy, c + dx]:
                quads.append((dy, dx))
                weights.append(kernel[c + dy, c + dx] / ((1 + (dy == 0)) * (1 + (dx == 0))))
    return Cells(
        np.array(runs, np.int64).reshape(-1, 2),
        np.array(quads, np.int64).reshape(-1, 2),
        np.array(weights, np.float32),
        np.float32(plateau),
    )


@lru_cache(maxsize=16)
def disk_of(radius: float, edge_sigma: float) -> Disk:
    """The same kernel as a disk and its smoothing."""
    assert radius <= 12, "half a larger disk does not fit into 16 bits, see `rtx.corruptions.kernels.defocus_sums`"
    reach, side = _square(radius)
    half = {d: int(np.sqrt(radius**2 - d * d)) for d in range(int(radius) + 1)}
    taps = cv2.getGaussianKernel(2 * side + 1, edge_sigma)[side:, 0]
    rim: dict[tuple[int, int], float] = {}
    for at in range(reach - side + 1, reach + side + 1):
        for tap in range(1, side + 1):
            # A line beyond the square is lost; within it, the lines that its smoothing meets beyond are mirrored.
            if at > reach and at - tap in half:
                rim[at, half[at - tap]] = rim.get((at, half[at - tap]), 0.0) - taps[tap]
            mirrored = 2 * reach - (at + tap)
            if at <= reach < at + tap and mirrored in half:
                rim[at, half[mirrored]] = rim.get((at, half[mirrored]), 0.0) + taps[tap]
    scale = np.float32(1 / sum(2 * half[abs(d)] + 1 for d in range(-int(radius), int(radius) + 1)))
    return Disk(
        np.array([(d, half[abs(d)]) for d in range(-int(radius), int(radius) + 1)], np.int64),
        taps.astype(np.float32),
        np.array(list(rim), np.int64).reshape(-1, 2),
        np.array(list(rim.values()), np.float32),
        scale,
    )
