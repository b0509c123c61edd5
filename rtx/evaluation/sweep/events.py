"""The events of a running sweep, for progress displays: plain values, in chronological order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rtx.results.cell import Cell
from rtx.types import Condition


@dataclass(frozen=True)
class Planned:
    """Sent once, before the first image.

    Attributes:
        todo: cells that were missing when the sweep began.
        cached: cells that are there.
        total: cells that are wanted, of a shard its own.
        n_images: images of each cell.
    """

    todo: int
    cached: int
    total: int
    n_images: int


@dataclass(frozen=True)
class CellStarted:
    """This process has begun a cell; its images are being loaded, maybe while the cell before is still evaluated."""

    condition: Condition


@dataclass(frozen=True)
class Progress:
    """Images went through the model; a few times a second at most.

    Attributes:
        condition: the cell that is evaluated.
        images_done: images of it that are done.
        n_images: images of it in all.
        images_per_second: the pace over the last few seconds of this process, waiting for images included.
    """

    condition: Condition
    images_done: int
    n_images: int
    images_per_second: float


@dataclass(frozen=True)
class CellDone:
    """This process has written a cell.

    Attributes:
        cell: what was written.
        done: cells that this process has written.
        todo: cells that were missing when it started.
        elsewhere: cells of `todo` that other ranks have written since.
        headline: the metric that P, mPC and rPC are made of.
        ends: of its interval, where the cell is a preview's: such a number is not shown without.
    """

    cell: Cell
    done: int
    todo: int
    elsewhere: int
    headline: str = ""
    ends: tuple[float, float] | None = None


@dataclass(frozen=True)
class Waiting:
    """This process has nothing left to evaluate and waits for the cells of other ranks; about once a second.

    Attributes:
        conditions: the cells it waits for.
        done: cells that this process has written.
        todo: cells that were missing when it started.
        elsewhere: cells of `todo` that other ranks have written since.
    """

    conditions: tuple[Condition, ...]
    done: int
    todo: int
    elsewhere: int


Event = Planned | CellStarted | Progress | CellDone | Waiting
OnEvent = Callable[[Event], None]
