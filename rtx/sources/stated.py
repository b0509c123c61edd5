"""The pixel statistics that a file of weights states itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtx.errors import WeightsError
from rtx.sources.keys.layouts import recognise
from rtx.sources.reading.read import read_checkpoint


def stated_statistics(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation of R, G, B as fractions, where a weights file holds them; None where it does not.

    Files of the library robustness do, since the network begins with its normaliser, and those of `rtx train_source` in
    `meta`. A file that cannot be read states nothing; whoever loads it says why.
    """
    try:
        content = read_checkpoint(path)
        found = recognise(content, str(path)).normaliser
    except WeightsError:
        return None
    return _from_meta(content) if found is None else (tuple(found[0]), tuple(found[1]))


def stated_size(path: Path) -> int | None:
    """Side of the images in pixels that a file of `rtx train_source` was trained on; None where it does not say."""
    try:
        content = read_checkpoint(path)
    except WeightsError:
        return None
    meta = content.get("meta") if isinstance(content, Mapping) else None
    size = meta.get("image_size") if isinstance(meta, Mapping) and "rtx_source" in meta else None
    return size if isinstance(size, int) and 32 <= size <= 4096 else None


def _from_meta(content: Any) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    meta = content.get("meta") if isinstance(content, Mapping) else None
    if not isinstance(meta, Mapping) or "rtx_source" not in meta:
        return None
    mean, std = (_three(meta.get(name)) for name in ("mean", "std"))
    return None if mean is None or std is None or min(std) <= 0 else (mean, std)


def _three(row: Any) -> tuple[float, ...] | None:
    fine = isinstance(row, list) and len(row) == 3 and all(isinstance(v, float) and math.isfinite(v) for v in row)
    return tuple(row) if fine else None
