"""Snow: enlarged noise, cut to flakes, blown along a line, over a whitened image."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtx.compiled import compiled
from rtx.corruptions.arithmetic.bits import Field, normals
from rtx.corruptions.arithmetic.pixels import Words, channel, level_of, to_bytes, to_words, word_of
from rtx.corruptions.kernels.motion import drag, trail
from rtx.corruptions.kernels.zoom import Axis, zoomed_axis
from rtx.corruptions.memory import empty, empty_like
from rtx.corruptions.registry import Image, corruption


class SnowLevel(NamedTuple):
    """Noise (mean, spread), enlargement, threshold of a flake, trail (radius, sigma), share of the image kept."""

    mean: float
    spread: float
    zoom: float
    threshold: float
    radius: int
    sigma: float
    kept: float


class SnowField(NamedTuple):
    """Standard normal noise of the middle part that is enlarged, and the direction of the wind in degrees."""

    noise: NDArray[np.floating]
    angle: float


def noise_window(height: int, width: int, zoom: float) -> tuple[slice, slice]:
    """The part of noise of the image's size that is enlarged to fill the image; the rest is never seen."""
    rows, columns = zoomed_axis(height, zoom), zoomed_axis(width, zoom)
    return slice(rows[0], rows[0] + rows[1]), slice(columns[0], columns[0] + columns[1])


def _draw_snow(image: Image, level: SnowLevel, rng: np.random.Generator) -> SnowField:
    rows, columns = noise_window(image.shape[0], image.shape[1], level.zoom)
    angle = float(rng.uniform(-135, -45))
    return SnowField(normals(rng, (rows.stop - rows.start, columns.stop - columns.start)), angle)


@corruption(
    "weather",
    levels=(
        SnowLevel(0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        SnowLevel(0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        SnowLevel(0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        SnowLevel(0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        SnowLevel(0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    cifar10c=(
        SnowLevel(0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        SnowLevel(0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        SnowLevel(0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        SnowLevel(0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        SnowLevel(0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    draw=_draw_snow,
)
def snow(image: Image, level: SnowLevel, field: SnowField) -> Image:
    """Let it snow: the layer of flakes is added twice, as it is and turned by 180 degrees."""
    height, width = image.shape[:2]
    rows, columns = zoomed_axis(height, level.zoom)[2], zoomed_axis(width, level.zoom)[2]
    flakes = empty((len(rows.first), len(columns.first)), np.float32)
    _enlarge(field.noise, rows, columns, level.mean, level.spread, level.threshold, flakes)
    shifts, weights = trail(level.radius, level.sigma, angle=field.angle, height=flakes.shape[0], width=flakes.shape[1])
    blown = drag(flakes, shifts, weights)[:height, :width]
    out = empty_like(image)
    _cover(image, np.ascontiguousarray(blown), np.float32(level.kept), out)
    return out


@compiled
def _enlarge(
    noise: NDArray[Any], rows: Axis, columns: Axis, mean: float, spread: float, threshold: float, out: Field
) -> None:
    """Linear interpolation, then only what exceeds the threshold, cut to 1."""
    mixed = np.empty(noise.shape[1], np.float64)
    for y in range(out.shape[0]):
        one, other = noise[rows.first[y]], noise[rows.second[y]]
        high = rows.weight[y]
        for x in range(mixed.size):
            mixed[x] = mean + spread * (one[x] * (1 - high) + other[x] * high)
        row = out[y]
        for x in range(row.size):
            w = columns.weight[x]
            value = mixed[np.uintp(columns.first[x])] * (1 - w) + mixed[np.uintp(columns.second[x])] * w
            value *= rows.inside[y] * columns.inside[x]
            row[x] = np.float32(min(value, 1.0) if value >= threshold else 0.0)


@compiled
def _cover(image: Image, flakes: Field, kept: np.float32, out: Image) -> None:
    """`flakes` is overwritten."""
    height, width = flakes.shape
    # The layer goes through eight bits; halves go to even, as NumPy rounds.
    for y in range(height):
        for x in range(width):
            flakes[y, x] = np.rint(flakes[y, x] * np.float32(255))
    veil = np.float32(1) - kept
    words, added = np.empty(width, np.uint32), np.empty(width, np.float32)
    for y in range(height):
        _add_turned(flakes[y], flakes[height - 1 - y], added)
        to_words(image[y].reshape(-1), words)
        _cover_row(words, added, kept, veil)
        to_bytes(words, out[y].reshape(-1))


@compiled
def _add_turned(here: Field, turned: Field, added: Field) -> None:
    back = turned[::-1]
    for x in range(added.size):
        added[x] = here[x] + back[x]


@compiled
def _cover_row(words: Words, added: Field, kept: np.float32, veil: np.float32) -> None:
    for x in range(words.size):
        r, g, b = np.float32(channel(words[x], 0)), np.float32(channel(words[x], 8)), np.float32(channel(words[x], 16))
        grey = np.float32(0.299) * r + np.float32(0.587) * g + np.float32(0.114) * b
        white = grey * np.float32(1.5) + np.float32(127.5)
        r = kept * r + veil * (white if white > r else r) + added[x]
        g = kept * g + veil * (white if white > g else g) + added[x]
        b = kept * b + veil * (white if white > b else b) + added[x]
        words[x] = word_of(level_of(r), level_of(g), level_of(b))
