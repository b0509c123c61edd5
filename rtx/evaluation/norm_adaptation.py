"""Batch-norm statistics of the corrupted images themselves, in place of those of training (test-time adaptation).

Covariate shift adaptation of Schneider et al. (2020, equation 2; Nado et al., 2020): before a cell is scored, mean and
variance of every batch norm are estimated on n images under the cell's condition and mixed with those of training,

    N / (N + n) of training + n / (N + n) of the images,

where N, the prior, counts as so many images. Weights stay. It is another protocol: the card names it, and its scores
are never set beside those without.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rtx.errors import BadValue

RULE = "cumulative"
"""While statistics are estimated, a layer normalises by those of all images so far, mixed with the prior: in one pass,
and for single images as well as for batches. Every image counts alike, whatever its size."""


@dataclass(frozen=True)
class NormAdaptation:
    """How statistics are estimated.

    Attributes:
        images: how many of the evaluated images, evenly spread over their order; n above.
        prior: N above.

    Raises:
        BadValue: no images, or a prior below 0.
    """

    images: int
    prior: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if self.images < 1 or not 0 <= self.prior < float("inf"):
            raise BadValue(f"--adapt-norm {self}: images must be 1 or more, the prior 0 or more")

    @classmethod
    def parse(cls, text: str) -> NormAdaptation:
        """Read `IMAGES` or `IMAGES:PRIOR`.

        Raises:
            BadValue: another form.

        Example:
            >>> NormAdaptation.parse("64:16")
            NormAdaptation(images=64, prior=16.0)
        """
        if not re.fullmatch(r"\d+(:\d+(\.\d+)?)?", text):
            raise BadValue(f"--adapt-norm {text}: must be IMAGES or IMAGES:PRIOR, e.g. 64 or 64:16")
        images, _, prior = text.partition(":")
        return cls(int(images), float(prior or 0))

    def __str__(self) -> str:
        """The form that `parse` reads."""
        return f"{self.images}:{self.prior:g}"

    def chosen(self, indices: Sequence[int]) -> list[int]:
        """Which of the evaluated images are used: as many as there are at most, evenly spread over their order."""
        count = min(self.images, len(indices))
        return [indices[n * len(indices) // count] for n in range(count)]

    def card(self) -> dict[str, Any]:
        """What the protocol card says."""
        return {"images": self.images, "prior": self.prior, "rule": RULE}
