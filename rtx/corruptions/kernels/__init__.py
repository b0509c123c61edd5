"""All corruptions of rtx's own engine, by name. Importing this module imports numba."""

from __future__ import annotations

from rtx.corruptions.kernels import (
    colour,
    defocus,
    elastic,
    fog,
    frost,
    gauss,
    glass,
    jpeg,
    motion,
    noise,
    pixels,
    snow,
    spatter,
    zoom,
)
from rtx.corruptions.names import CORRUPTIONS
from rtx.corruptions.registry import KERNELS

__all__ = ["KERNELS"]

_MODULES = (colour, defocus, elastic, fog, frost, gauss, glass, jpeg, motion, noise, pixels, snow, spatter, zoom)
assert set(KERNELS) == set(CORRUPTIONS), f"without a kernel: {sorted(set(CORRUPTIONS) - set(KERNELS))}"
