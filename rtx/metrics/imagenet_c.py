"""ImageNet-C's errors: CE and mCE, normalised by AlexNet's, and their versions relative to the clean error.

CE of a corruption is the model's mean error over severities 1 to 5 divided by AlexNet's; mCE is the mean over the 15
benchmark corruptions. Relative CE compares how much each error grows beyond that on clean images (Hendrycks &
Dietterich, 2019, section 4). All are fractions here, so that AlexNet has 1; they are printed in percent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rtx.corruptions import BENCHMARK
from rtx.metrics.robustness import Grid, average, clean, mpc
from rtx.types import CLEAN, SEVERITIES, Condition

ALEXNET_ERRORS: Mapping[str, float] = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
"""AlexNet's top-1 error, mean over the five severities of ImageNet-C; published by Hendrycks & Dietterich (2019)."""
ALEXNET_CLEAN_ERROR = 0.435
"""Its top-1 error on ImageNet's validation images, as printed there."""


@dataclass(frozen=True)
class Errors:
    """Errors of one classifier over a grid that may be incomplete. Fractions; NaN where undefined.

    Attributes:
        clean_error: top-1 error on clean images.
        error: corruption -> mean error over the five severities, for those that have all five.
        CE: corruption -> that error over AlexNet's.
        relative_CE: corruption -> growth of the error over AlexNet's; empty without clean images.
        mCE: mean of CE; call it by `label`, never plain "mCE" unless `complete`.
        relative_mCE: mean of relative CE.
        complete: all 15 corruptions are there at all 5 severities.
        missing: benchmark cells that are not there.
        label: "mCE", or "mCE(14/15 corruptions)".
    """

    clean_error: float
    error: dict[str, float]
    CE: dict[str, float]
    relative_CE: dict[str, float]
    mCE: float
    relative_mCE: float
    complete: bool
    missing: tuple[Condition, ...]
    label: str

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values: NaN becomes None, conditions become their keys."""
        row = {**asdict(self), "missing": [condition.key for condition in self.missing]}
        row |= {"alexnet_errors": dict(ALEXNET_ERRORS), "alexnet_clean_error": ALEXNET_CLEAN_ERROR}
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}


def errors(grid: Grid) -> Errors:
    """Aggregate a grid of cells to mCE, and list the cells it lacks.

    Args:
        grid: accuracies, fractions; cells that are no part of the benchmark are left out.

    Raises:
        BadValue: an accuracy is no fraction.

    Example:
        >>> errors({Condition("fog", s): 1 - ALEXNET_ERRORS["fog"] for s in SEVERITIES}).CE
        {'fog': 1.0}
    """
    missing = tuple(c for n in BENCHMARK for level in SEVERITIES if (c := Condition(n, level)) not in grid)
    names = [name for name in BENCHMARK if not any(cell.corruption == name for cell in missing)]
    error = {name: 1 - mpc(grid, [name]) for name in names}
    ce = {name: error[name] / ALEXNET_ERRORS[name] for name in names}
    relative = {}
    if CLEAN in grid:  # how much each error grows beyond the clean one, over how much AlexNet's does
        growth = {name: clean(grid) - mpc(grid, [name]) for name in names}
        relative = {name: growth[name] / (ALEXNET_ERRORS[name] - ALEXNET_CLEAN_ERROR) for name in names}
    return Errors(
        clean_error=1 - clean(grid) if CLEAN in grid else math.nan,
        error=error,
        CE=ce,
        relative_CE=relative,
        mCE=average(list(ce.values())),
        relative_mCE=average(list(relative.values())),
        complete=not missing,
        missing=missing,
        label="mCE" if not missing else f"mCE({len(names)}/{len(BENCHMARK)} corruptions)",
    )
