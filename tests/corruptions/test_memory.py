"""Memory of large arrays is used again, and never while anything can still see it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from rtx.corruptions import corrupt, memory
from rtx.corruptions.arithmetic.bits import normals, uniforms
from rtx.corruptions.kernels import KERNELS
from rtx.corruptions.kernels.fog import map_size
from rtx.corruptions.memory import MOST_SPARE, empty, empty_like
from rtx.rng import image_rng
from rtx.types import Condition
from tests.corruptions.conftest import made_photo

BLOCK = 1 << 21


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Arrays of a kilobyte count as large, and nothing is spare."""
    monkeypatch.setattr(memory, "LEAST", 1 << 10)
    memory._spare.clear()
    yield
    memory._spare.clear()


def address(array: NDArray) -> int:
    return int(array.__array_interface__["data"][0])


@pytest.mark.usefixtures("small")
def test_memory_is_used_again_when_the_last_view_has_ended() -> None:
    array = empty((1000, 700, 3), np.uint8)
    first, view = address(array), array[5:, ::2, 1].view(np.int8)
    del array
    other = empty((1000, 700, 3), np.uint8)
    assert address(other) != first, "a view is left"
    del view
    again = empty((800, 700), np.float32)
    assert address(again) == first and again.shape == (800, 700) and again.dtype == np.float32
    assert again.flags.c_contiguous and again.flags.writeable


@pytest.mark.usefixtures("small")
def test_memory_is_lent_once() -> None:
    held = [empty((BLOCK,), np.uint8) for _ in range(5)]
    places = {address(array) for array in held}
    del held
    held = [empty((BLOCK,), np.uint8) for _ in range(7)]
    now = [address(array) for array in held]
    assert len(set(now)) == 7 and places < set(now)
    assert all(abs(a - b) >= BLOCK for a in now for b in now if a != b)


@pytest.mark.usefixtures("small")
def test_memory_that_is_kept_is_bounded() -> None:
    held = [empty_like(np.empty(MOST_SPARE // 5, np.uint8)) for _ in range(12)]
    del held
    spare = list(memory._spare.values())
    assert 3 <= len(spare) and sum(block.nbytes for block in spare) <= MOST_SPARE
    # Far too large a block is left to others.
    small = empty((2048,), np.uint8)
    assert address(small) not in {address(block) for block in spare}


@pytest.mark.usefixtures("small")
def test_threads_never_share_memory() -> None:
    def work(number: int) -> bool:
        for turn in range(200):
            value = (7 * number + turn) % 251
            arrays = [empty((3000 + 8 * k,), np.uint8) for k in range(3)]
            for array in arrays:
                array[:] = value
            if any((array != value).any() for array in arrays):
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", sorted(KERNELS))
def test_pixels_do_not_depend_on_what_was_in_memory(name: str) -> None:
    image = made_photo(48, 64)
    condition = Condition(name, 3)
    seen = []
    for rubbish in (0, 255):
        gc.collect()
        memory._spare.clear()
        held = [np.full(BLOCK, rubbish, np.uint8) for _ in range(12)]
        memory._spare.update({address(block): block for block in held})
        del held
        seen.append(corrupt(image, condition, image_rng(0, "a", condition)))
    np.testing.assert_array_equal(*seen)


@pytest.mark.parametrize("name", ["gaussian_noise", "speckle_noise", "fog"])
def test_numbers_drawn_where_they_are_used_are_those_of_the_field(name: str) -> None:
    image, kernel = made_photo(45, 71), KERNELS[name]
    assert kernel.draw is not None
    if name == "fog":
        field = uniforms(np.random.default_rng(3), (map_size(45, 71) ** 2 - 1,))
    else:
        field = normals(np.random.default_rng(3), image.shape)
    for level in kernel.levels:
        key = kernel.draw(image, level, np.random.default_rng(3))
        np.testing.assert_array_equal(kernel.apply(image, level, key), kernel.apply(image, level, field))
