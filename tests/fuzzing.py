"""Cases drawn by Hypothesis, and the two outcomes that each may have."""

from __future__ import annotations

import logging
import math
import os
import random
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from rtx.errors import RtxError

FEW = 60
MANY = int(os.environ.get("RTX_DAMAGE", 1000))
EXAMPLES = [pytest.param(FEW, id="few"), pytest.param(MANY, id="many", marks=pytest.mark.slow)]


def draw_cases(case: Callable[[Random], None], examples: int) -> None:
    """Call `case` with that many generators: the same ones each time for few, others for many."""
    few = examples <= FEW

    @seed(0 if few else random.randrange(2**32))
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=True,
        print_blob=False,
    )
    @given(st.randoms(use_true_random=False))
    def run(rng: Random) -> None:
        case(rng)

    logging.disable(logging.CRITICAL)
    try:
        run()
    finally:
        logging.disable(logging.NOTSET)


def agree(ours: Callable[[], Any], plainly: Callable[[], Any], *, sound: bool = False) -> None:
    """Hold a value of rtx against that of plain reading; an error of rtx's own is the other outcome.

    Args:
        ours: reads with rtx.
        plainly: reads with nothing of rtx; raises where there is no value.
        sound: nothing is damaged, so that an error is none of the two outcomes.
    """
    try:
        found = ours()
    except RtxError as error:
        assert str(error).strip() and not sound, error
        return
    try:
        expected = plainly()
    except Exception as error:
        raise AssertionError(f"rtx finds {found!r:.300}, plain reading nothing: {error!r:.300}") from error
    assert close(found, expected), f"rtx finds {found!r:.600}, plain reading {expected!r:.600}"


def close(found: Any, expected: Any) -> bool:
    """Whether two values are equal, numbers to rounding; NaN is equal to itself."""
    if isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-9) or (found != found and expected != expected)
    return bool(found == expected)
