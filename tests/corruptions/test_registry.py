"""A corruption of another package: one decorated function, beside the benchmark."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from rtx.corruptions import BENCHMARK, CORRUPTIONS, GROUPS, HELD_OUT, corrupt, corruption, expand
from rtx.corruptions.registry import KERNELS, Image
from rtx.errors import BadValue, UnknownName
from rtx.metrics.robustness import summarise
from rtx.rng import image_rng
from rtx.types import CLEAN, SEVERITIES, Condition
from tests.corruptions.conftest import made_photo

CONDITION = Condition("dead_rows", 3)


@pytest.fixture
def dead_rows() -> Iterator[None]:
    """A corruption that exists for one test."""

    @corruption("weather", levels=(1, 2, 4, 8, 16))
    def dead_rows(image: Image, count: int, rng: np.random.Generator) -> Image:
        out = image.copy()
        out[rng.choice(len(out), size=count, replace=False)] = 0
        return out

    yield
    del KERNELS["dead_rows"], CORRUPTIONS["dead_rows"]
    GROUPS["all"] = tuple(CORRUPTIONS)


def test_it_is_applied_like_every_other(dead_rows: None) -> None:
    image = made_photo(48, 64)
    first, second = (corrupt(image, CONDITION, image_rng(0, "a", CONDITION)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first != image).any(axis=(1, 2)).sum() == 4
    assert "dead_rows" in expand(["all"])


def test_it_stays_out_of_the_benchmark_whatever_its_family(dead_rows: None) -> None:
    assert len(BENCHMARK) == 15 and not {"dead_rows"} & {*BENCHMARK, *HELD_OUT, *expand(["benchmark", "weather"])}
    grid = {CLEAN: 0.8} | {Condition(name, level): 0.4 for name in BENCHMARK for level in SEVERITIES}
    before = summarise(grid)
    after = summarise(grid | {CONDITION: 0.1}, [*BENCHMARK, "dead_rows"])
    assert (after.mPC, after.rPC, after.families) == (before.mPC, before.rPC, before.families)
    assert after.held_out == {"dead_rows": 0.1}


@pytest.mark.parametrize(
    ("engine", "text"), [("rtx-cifar10c", "no table for CIFAR-10-C"), ("imagecorruptions", "has no")]
)
def test_engines_that_lack_it_say_so(dead_rows: None, engine: str, text: str) -> None:
    with pytest.raises(BadValue, match=rf"'?dead_rows'?.*{text}|{text}.*dead_rows"):
        corrupt(made_photo(40, 40), CONDITION, image_rng(0, "a", CONDITION), engine=engine)


def test_it_is_unknown_before_it_is_registered() -> None:
    with pytest.raises(UnknownName, match="dead_rows"):
        corrupt(made_photo(40, 40), CONDITION, image_rng(0, "a", CONDITION))


@pytest.mark.parametrize(
    ("name", "family", "levels", "text"),
    [
        ("fog", "noise", (1, 2, 3, 4, 5), "'fog' is of family 'weather'"),
        ("blur", "blur", (1, 2, 3, 4, 5), "the name must be"),
        ("clean", "noise", (1, 2, 3, 4, 5), "the name must be"),
        ("<lambda>", "noise", (1, 2, 3, 4, 5), "the name must be"),
        ("rain", "weather", (1, 2, 3), "a table of 3 severities"),
    ],
)
def test_names_and_tables_that_cannot_be(name: str, family: str, levels: tuple[int, ...], text: str) -> None:
    def apply(image: Image, level: int, rng: np.random.Generator) -> Image:
        return image

    apply.__name__ = name
    with pytest.raises(BadValue, match=text):
        corruption(family, levels=levels)(apply)
    assert "rain" not in CORRUPTIONS and CORRUPTIONS["fog"] == "weather"
