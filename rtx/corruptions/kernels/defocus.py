"""Defocus blur: every point becomes a disk.

ImageNet-C's kernel is a disk whose edge a small Gaussian smooths. Cell by cell that edge is most of the work; here the
disk is added up by running sums, and the Gaussian follows, a few taps each way. What lies too near a whole grey level
for float32 to decide is computed again, cell by cell: the cut to whole grey levels never depends on the short cut.
"""

from __future__ import annotations

import cv2
import numpy as np

from rtx.compiled import compiled
from rtx.corruptions.kernels.defocus_cells import one_value, whole_row
from rtx.corruptions.kernels.defocus_kernel import Cells, Disk, Vector, cells_of, disk_of
from rtx.corruptions.kernels.defocus_sums import Words, add_disk, add_line, add_row, add_sides, smooth_line, smooth_rows
from rtx.corruptions.memory import empty_like
from rtx.corruptions.registry import Image, corruption

DefocusLevel = tuple[float, float]

# On no image does the short cut differ from the kernel cell by cell by more than 3.5e-4 grey levels: 1.2e-5 by weights,
# the rest if every addition and product of both rounded by half a last bit the same way. The most seen is 1.4e-4.
_DOUBT = np.float32(5e-4)
_BLOCK = 128


@corruption(
    "blur",
    levels=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    cifar10c=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
)
def defocus_blur(image: Image, level: DefocusLevel, rng: np.random.Generator) -> Image:
    """Average over a disk, as a lens out of focus does.

    `level` is (radius of the disk, standard deviation of the smoothing of its edge), both in pixels.
    """
    cells, disk = cells_of(*level), disk_of(*level)
    height, width, channels = image.shape
    reach = int(disk.runs[:, 0].max()) + disk.taps.size - 1
    padded = cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_REFLECT_101)
    out = empty_like(image)
    _blur(padded.reshape(padded.shape[0], -1), channels, cells, disk, out.reshape(height, width * channels))
    return out


@compiled
def _blur(padded: Image, channels: int, cells: Cells, disk: Disk, out: Image) -> None:
    height, n = out.shape
    reach = (padded.shape[0] - height) // 2
    side = disk.taps.size - 1
    radius = reach - side
    edge, margin = reach * channels, side * channels
    wide = n + 2 * margin
    # Running sums down the columns, modulo 2**16, of the rows in use; the sum of the first y rows lives at y % span.
    span = 2 * reach + 2
    sums = np.zeros((span, padded.shape[1]), np.uint16)
    ring = np.empty((2 * side + 1, n), np.float32)
    left, right = np.empty(wide, np.uint16), np.empty(wide, np.uint16)
    both = np.empty(padded.shape[1], np.uint16)
    line, middle, value = np.empty(wide, np.float32), np.empty(n, np.float32), np.empty(n, np.float32)
    known, filled = 0, 0
    for y in range(height):
        while known < y + 2 * side + 1:
            # Row `known` of the disk, around row known + radius of the padded image.
            while filled < known + 2 * radius + 1:
                add_row(sums[filled % span], padded[filled], sums[(filled + 1) % span])
                filled += 1
            add_disk(sums, known + radius, disk.runs, (reach - side) * channels, channels, left, right, line)
            into = ring[known % (2 * side + 1)]
            smooth_line(line, disk.taps, channels, into)
            for r in range(disk.rim.shape[0]):
                away, half = disk.rim[r, 0] * channels, disk.rim[r, 1]
                high = sums[(known + radius + half + 1) % span]
                low = sums[(known + radius - half) % span]
                a, b = edge - away, edge + away
                add_sides(into, high[a : a + n], low[a : a + n], high[b : b + n], low[b : b + n], disk.rim_weights[r])
            known += 1
        smooth_rows(ring, y, disk.taps, value)
        if disk.rim.shape[0]:
            line[:] = 0
            for r in range(disk.rim.shape[0]):
                up, down = padded[y + reach - disk.rim[r, 0]], padded[y + reach + disk.rim[r, 0]]
                add_line(line, up, down, edge - margin, disk.rim[r, 1], channels, disk.rim_weights[r], both)
            smooth_line(line, disk.taps, channels, middle)
            for i in range(n):
                value[i] += middle[i]
        if cells.quads.shape[0]:
            _store(value, disk.scale, padded, sums, y, channels, cells, out[y])
        else:
            # A bare disk: its sums are whole numbers, and exact.
            _store_sums(value, cells.plateau, out[y])


@compiled
def _store_sums(value: Vector, plateau: np.float32, out: Image) -> None:
    for i in range(out.size):
        out[i] = np.uint8(np.int32(min(np.float64(value[i]) * np.float64(plateau), 255.0)))


@compiled
def _store(
    value: Vector, scale: np.float32, padded: Image, sums: Words, y: int, channels: int, cells: Cells, out: Image
) -> None:
    n = out.size
    doubtful = np.zeros(-(-n // _BLOCK), np.int32)
    for k in range(doubtful.size):
        part, part_out = value[k * _BLOCK : (k + 1) * _BLOCK], out[k * _BLOCK : (k + 1) * _BLOCK]
        doubts = np.int32(0)
        for i in range(part.size):
            grey = min(part[i] * scale + _DOUBT, np.float32(255.5))
            whole = np.int32(grey)
            part[i] = grey - np.float32(whole)
            part_out[i] = np.uint8(whole)
            doubts += np.int32(part[i] < np.float32(2) * _DOUBT)
        doubtful[k] = doubts
    if doubtful.sum() > n // 16:  # a plain region, where the whole row is as quick
        whole_row(padded, sums, y, channels, cells, out)
        return
    for k in range(doubtful.size):
        if doubtful[k]:
            for i in range(k * _BLOCK, min((k + 1) * _BLOCK, n)):
                if value[i] < np.float32(2) * _DOUBT:
                    out[i] = one_value(padded, sums, y, channels, cells, i)
