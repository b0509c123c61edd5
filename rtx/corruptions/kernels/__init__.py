"""All corruptions of rtx's own engine, by name: one file each, or each family. Importing this module imports numba.

Each takes `image`, RGB uint8 (H, W, 3), the constants of a severity, and the field that its `draw` returns; where it
has no `draw`, that third argument is `rng`, and unused. Each returns a new image of the same shape.

Fractions of grey levels are cut off everywhere, as the reference does by casting to uint8.
"""

from __future__ import annotations

import importlib
import pkgutil

from rtx.corruptions.names import CORRUPTIONS
from rtx.corruptions.registry import KERNELS

__all__ = ["KERNELS"]

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")
assert set(KERNELS) == set(CORRUPTIONS), f"without a kernel: {sorted(set(CORRUPTIONS) - set(KERNELS))}"
