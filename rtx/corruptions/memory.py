"""Large arrays in memory that earlier ones gave back.

The operating system hands out memory page by page, each cleared at its first touch, and arrays of more than 32 MiB go
back to it when they end: an image of 12 megapixels would pay for its pages in every corruption, up to 1.2 ns a pixel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LEAST = 16 << 20
"""Smaller arrays, in bytes, are left to malloc, which keeps their memory by itself."""
MOST_SPARE = 160 << 20
"""So many bytes are kept for later at most: the layers of one image of 12 megapixels."""
_ROUND = 1 << 21  # a large page

# Address -> memory that no array lies in, the one given back last at the end. Single operations on a dictionary are
# safe among threads; a lock is not, since an array may end anywhere, also while its own thread holds the lock.
_spare: dict[int, NDArray[np.uint8]] = {}


class _Lease:
    """What an array in lent memory, and every view of it, keeps alive; its end gives the memory back."""

    __slots__ = ("__array_interface__", "_block")

    def __init__(self, block: NDArray[np.uint8]) -> None:
        self._block, self.__array_interface__ = block, block.__array_interface__

    def __del__(self, spare: dict[int, NDArray[np.uint8]] = _spare, most: int = MOST_SPARE) -> None:
        # Defaults, as the names of a module may be gone when the interpreter ends.
        spare[self.__array_interface__["data"][0]] = self._block
        held = sum(block.nbytes for block in list(spare.values()))
        for address in list(spare):
            if held <= most:
                break
            dropped = spare.pop(address, None)
            held -= 0 if dropped is None else dropped.nbytes


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """As `np.empty`. Memory is used again once the array and all of its views have ended, never before.

    Example:
        >>> empty((2, 3), np.uint8).shape
        (2, 3)
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size < LEAST:
        return np.empty(shape, kind)
    return np.asarray(_Lease(_block(size)))[:size].view(kind).reshape(shape)


def empty_like(image: NDArray[Any]) -> NDArray[Any]:
    """`empty` with the shape and type of an array."""
    return empty(image.shape, image.dtype)


def _block(size: int) -> NDArray[np.uint8]:
    """The smallest spare block that is large enough, or a new one."""
    fitting = [(block.nbytes, address) for address, block in list(_spare.items()) if size <= block.nbytes <= 2 * size]
    for _, address in sorted(fitting):
        block = _spare.pop(address, None)
        if block is not None:
            return block
    return np.empty(-(-size // _ROUND) * _ROUND, np.uint8)
