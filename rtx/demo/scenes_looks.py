"""The looks of rendered objects and backgrounds: shapes, textures, colours and grounds, in NumPy alone.

A shape is a signed distance in pixels (negative inside), a texture the share in [0, 1] of the first of two colours;
both are functions of object coordinates `u, v` in pixels, so that they turn with the object.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Plane = NDArray[np.float64]
Colour = NDArray[np.float64]


def _disc(u: Plane, v: Plane, radius: float) -> Plane:
    return np.hypot(u, v) - radius


def _ring(u: Plane, v: Plane, radius: float) -> Plane:
    # Wide enough that two periods of a texture fit across.
    return np.abs(np.hypot(u, v) - 0.7 * radius) - 0.3 * radius


def _box(u: Plane, v: Plane, radius: float) -> Plane:
    return np.maximum(np.abs(u) - 0.92 * radius, np.abs(v) - 0.72 * radius)


def _polygon(u: Plane, v: Plane, radius: float, *, corners: int, waist: float) -> Plane:
    """Distance to a star polygon with `corners` tips at `radius` and notches at `waist * radius` between them."""
    half = np.pi / corners
    # Fold the plane into half a tip, where the outline is one straight line from the tip to the notch.
    turn = np.abs((np.arctan2(v, u) + half) % (2 * half) - half)
    distance = np.hypot(u, v)
    x, y = distance * np.cos(turn), distance * np.sin(turn)
    notch_x, notch_y = waist * radius * np.cos(half), waist * radius * np.sin(half)
    normal = np.array([notch_y, radius - notch_x])
    normal /= np.linalg.norm(normal)
    return (x - radius) * normal[0] + y * normal[1]


def _soft(wave: Plane, sharpness: float = 3.0) -> Plane:
    """A wave in [-1, 1] -> a share in [0, 1] with soft edges, so that no texture is aliased."""
    return np.clip(0.5 + 0.5 * sharpness * wave, 0.0, 1.0)


def _striped(u: Plane, v: Plane, period: float) -> Plane:
    return _soft(np.sin(2 * np.pi * u / period))


def _checked(u: Plane, v: Plane, period: float) -> Plane:
    return _soft(np.sin(np.pi * u / period) * np.sin(np.pi * v / period))


def _dotted(u: Plane, v: Plane, period: float) -> Plane:
    return _soft(np.cos(2 * np.pi * u / period) + np.cos(2 * np.pi * v / period) - 0.7, 1.5)


SHAPES: dict[str, Callable[[Plane, Plane, float], Plane]] = {
    "disc": _disc,
    "box": _box,
    "star": partial(_polygon, corners=5, waist=0.5),
    "ring": _ring,
    "triangle": partial(_polygon, corners=3, waist=0.5),
    "cross": partial(_polygon, corners=4, waist=0.35),
}
TEXTURES: dict[str, Callable[[Plane, Plane, float], Plane]] = {
    "striped": _striped,
    "dotted": _dotted,
    "checked": _checked,
    "plain": lambda u, v, period: np.ones_like(u),
}


def two_colours(rng: Generator) -> tuple[Colour, Colour]:
    """Two colours of clearly different brightness, in random order; the hue says nothing about the class."""
    dark, bright = rng.uniform(20, 100, 3), rng.uniform(130, 235, 3)
    return (dark, bright) if rng.random() < 0.5 else (bright, dark)


def draw_background(rng: Generator, size: tuple[int, int]) -> Colour:
    """A wall above a floor, or one of the two alone, each with its own mottling: RGB float (H, W, 3) in 0..255."""
    height, width = size
    horizon = height * float(rng.uniform(-0.2, 1.2)) + np.arange(width) * float(rng.uniform(-0.15, 0.15))
    is_floor = np.arange(height)[:, None] >= horizon[None, :]
    wall = _mottled(rng, size, cell=max(4, height // 6))
    floor = _mottled(rng, size, cell=max(4, height // 24))
    return np.where(is_floor[..., None], floor, wall)


def _mottled(rng: Generator, size: tuple[int, int], *, cell: int) -> Colour:
    """Two octaves of value noise between two colours."""
    share = 0.65 * _value_noise(rng, size, cell) + 0.35 * _value_noise(rng, size, max(2, cell // 3))
    base = rng.uniform(60, 190, 3)
    other = np.clip(base + rng.uniform(-70, 70, 3), 10, 245)
    return base * share[..., None] + other * (1 - share[..., None])


def _value_noise(rng: Generator, size: tuple[int, int], cell: int) -> Plane:
    """Random values on a grid of `cell` pixels, with smooth steps between them."""
    height, width = size
    grid = rng.random((height // cell + 2, width // cell + 2))
    rows, columns = np.arange(height) / cell, np.arange(width) / cell
    r, c = rows.astype(int), columns.astype(int)
    fr, fc = rows - r, columns - c
    fr, fc = fr * fr * (3 - 2 * fr), fc * fc * (3 - 2 * fc)
    top = grid[r][:, c] * (1 - fc) + grid[r][:, c + 1] * fc
    bottom = grid[r + 1][:, c] * (1 - fc) + grid[r + 1][:, c + 1] * fc
    return np.asarray(top * (1 - fr[:, None]) + bottom * fr[:, None])
