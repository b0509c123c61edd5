"""The pixel statistics that a file of weights states itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

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


def _from_meta(content: Any) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    meta = content.get("meta") if isinstance(content, Mapping) else None
    if not isinstance(meta, Mapping) or "rtx_source" not in meta:
        return None
    rows = [meta.get("mean"), meta.get("std")]
    if not all(isinstance(row, list) and len(row) == 3 and all(isinstance(v, float) for v in row) for row in rows):
        return None
    mean, std = (tuple(row) for row in rows)
    fine = np.isfinite([mean, std]).all() and min(std) > 0
    return (mean, std) if fine else None
