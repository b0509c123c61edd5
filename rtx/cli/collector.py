"""Python's search for reference cycles, out of the way while a command imports its libraries and builds its model."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collections() -> Iterator[None]:
    """Within, nothing is searched for reference cycles until `collections_resume` is called.

    Importing PyTorch and OpenMMLab makes a million objects that stay, among which the collector would search again and
    again: a seventh of the processor time of a start.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        (gc.enable if enabled else gc.disable)()


def collections_resume() -> None:
    """Search again, from now on among new objects only.

    What was there before is in no one's way: mmengine's data sets search everything when they are built, and loader
    processes, which are forks, would copy each page that the search writes to.
    """
    gc.freeze()
    gc.enable()
