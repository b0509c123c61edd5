"""Ranks share cells: every cell once, whoever is slow."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from rtx.evaluation.share import Share, StoreShare
from rtx.types import Condition

CELLS = [Condition("fog", s) for s in range(1, 6)] + [Condition("snow", s) for s in range(1, 6)]


def test_a_single_process_takes_everything_in_order() -> None:
    assert list(Share().claim(CELLS)) == CELLS


@pytest.mark.parametrize("world_size", [2, 5, 13])
def test_every_cell_is_taken_exactly_once(world_size: int) -> None:
    import torch.distributed as dist

    store = dist.HashStore()
    store.set_timeout(timedelta(seconds=20))
    taken: list[list[Condition]] = [[] for _ in range(world_size)]
    finished: list[int] = []

    def work(rank: int) -> None:
        share = StoreShare(store, rank, world_size, name="s", poll=0.01)
        share.wait("ready")
        taken[rank].extend(share.claim(CELLS))
        share.wait("done")
        finished.append(sum(map(len, taken)))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(world_size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(cell for cells in taken for cell in cells) == sorted(CELLS)
    assert finished == [len(CELLS)] * world_size, "nobody passes a point before all have reached it"
