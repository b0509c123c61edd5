"""A claim, how it is measured, and the verdict on it.

A claim stands in the file of the experiment whose runs it is about, as an entry of the list `claims`. Each says a sign:
a difference that the paper found, or expects, to be above or below zero. It is called

    agrees       if the 95 % interval lies on that side of zero
    disagrees    if it lies on the other side
    cannot tell  if it holds zero; then about how many repetitions would tell is said, if the estimate were true
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from rtx.errors import BadValue, unknown_name

AGREES, DISAGREES, CANNOT_TELL = "agrees", "disagrees", "cannot tell"
OVER_SEEDS, OVER_IMAGES = "seeds", "images"
SIGNS = {"+": 1, "-": -1}
KINDS = ("difference", "shrinks", "images", "best_differs", "tracks")
OVER_OPTIONS = {"best_differs": 2, "tracks": 3}
"""Kinds that compare the sources of `options`, with how many of them they need."""
QUANTITIES = ("P", "mPC", "drop")
"""Clean score, mean under corruption, 1 - mPC / P: fractions. Of images also `drop:FAMILY`."""


@dataclass(frozen=True)
class Claim:
    """One sentence that can be right or wrong.

    Attributes:
        name: unique, and an anchor of the page.
        claim: the sentence.
        found: what the paper found, with its numbers.
        kind: how it is measured, see `rtx.evidence.measure`.
        expect: the side of zero that the claim is on.
        paper: key in `rtx.reports.published.PAPERS`; "" for a question of our own.
        place: figure, table or section.
        quantity: what is compared.
        first, second: the settings or runs; first minus second is measured.
        by: columns whose values are told apart, and averaged over.
        sizes: of `shrinks`: the smaller and the larger number of training images.
        options: of `best_differs` and `tracks`: name -> pattern of sources.
    """

    name: str
    claim: str
    found: str
    kind: str
    expect: str = "+"
    paper: str = ""
    place: str = ""
    quantity: str = "P"
    first: Mapping[str, Any] = field(default_factory=dict)
    second: Mapping[str, Any] = field(default_factory=dict)
    by: Sequence[str] = ("target",)
    sizes: tuple[int, int] | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        for what, value, choices in (("kind", self.kind, KINDS), ("sign", self.expect, SIGNS)):
            if value not in choices:
                raise unknown_name(what, value, place=f"claim {self.name!r}", choices=choices)
        name = self.quantity.partition(":")[0]
        if name not in QUANTITIES or (":" in self.quantity and self.kind != "images"):
            raise unknown_name("quantity", self.quantity, place=f"claim {self.name!r}", choices=QUANTITIES)
        if self.kind in OVER_OPTIONS:
            if len(self.options) < (least := OVER_OPTIONS[self.kind]):
                raise BadValue(f"claim {self.name!r}: {self.kind} needs options, {least} sources or more")
        elif not self.first or not self.second:
            raise BadValue(f"claim {self.name!r}: {self.kind} needs first and second")
        if self.kind == "shrinks" and (self.sizes is None or len(self.sizes) != 2 or self.sizes[0] >= self.sizes[1]):
            raise BadValue(f"claim {self.name!r}: shrinks needs sizes, the smaller and the larger number of images")

    @classmethod
    def of(cls, entry: Mapping[str, Any], place: str) -> Claim:
        """From an entry of `claims`.

        Raises:
            UnknownName, BadValue: a key or value that does not exist, or one that is missing.
        """
        known = {f.name for f in fields(cls)}
        for name in entry:
            if name not in known:
                raise unknown_name("key", name, place=f"claims of {place}", choices=sorted(known))
        if lacking := [name for name in ("name", "claim", "found", "kind") if name not in entry]:
            raise BadValue(f"claims of {place}: {dict(entry)} lacks {', '.join(lacking)}")
        return cls(**entry)


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        name: of what: a target, a run.
        value: fraction.
        ends: of the 95 % interval; None where one repetition tells nothing of the spread.
        n: how many repetitions it is made of.
        over: what was repeated: `OVER_SEEDS` or `OVER_IMAGES`.
    """

    name: str
    value: float
    ends: tuple[float, float] | None
    n: int
    over: str = OVER_SEEDS

    def needed(self) -> int | None:
        """About how many repetitions would exclude zero if the estimate were true; None where that cannot be said.

        The width of an interval falls with the root of their number.
        """
        if self.ends is None or self.value == 0 or not math.isfinite(self.value):
            return None
        half = (self.ends[1] - self.ends[0]) / 2
        return max(self.n + 1, math.ceil(self.n * (half / abs(self.value)) ** 2))


@dataclass(frozen=True)
class Finding:
    """What was found of a claim.

    Attributes:
        claim: the claim.
        estimates: the mean over everything first, where there are several; then each by itself. Empty where results are
            missing.
        verdict: `AGREES`, `DISAGREES` or `CANNOT_TELL`.
        text: what was found that is no number with an interval, or what is missing.
        models: trained networks or heads that it rests on.
        seconds: that these took.
        command: that does the trainings.
    """

    claim: Claim
    estimates: tuple[Estimate, ...]
    verdict: str
    text: str = ""
    models: int = 0
    seconds: float = 0.0
    command: str = ""


def verdict_of(estimate: Estimate, expect: str) -> str:
    """The verdict on a difference.

    Example:
        >>> verdict_of(Estimate("all", 0.03, (0.01, 0.05), 20), "+")
        'agrees'
        >>> verdict_of(Estimate("all", 0.03, (-0.01, 0.07), 20), "+")
        'cannot tell'
    """
    if estimate.ends is None:
        return CANNOT_TELL
    low, high = sorted(SIGNS[expect] * end for end in estimate.ends)
    return AGREES if low > 0 else DISAGREES if high < 0 else CANNOT_TELL
