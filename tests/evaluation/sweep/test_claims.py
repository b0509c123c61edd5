"""Claims: one owner a cell, back at once from a dead process, and never by comparing clocks."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rtx.errors import OutputError, RunConflict
from rtx.evaluation.sweep.claims import Claims, holders
from rtx.types import Condition

FOG, SNOW = Condition("fog", 3), Condition("snow", 1)


class Clock:
    """Seconds that pass when a test says so."""

    now = 1e6

    def __call__(self) -> float:
        return self.now


def elsewhere(root: Path, condition: Condition = FOG, **changes: object) -> Path:
    """A claim of a process on another machine, and its sign of life, whose path is returned."""
    who = {"host": "node7", "boot": "b", "pids": "p", "pid": 5, "start": 1, "owner": "there", **changes}
    (root / "claims/alive").mkdir(parents=True)
    (root / f"claims/{condition.key}.json").write_text(json.dumps(who) + "\n")
    life = root / "claims/alive/there"
    life.write_text(json.dumps(who) + "\nr000000000000\n")
    return life


def test_of_many_threads_one_gets_the_cell(tmp_path: Path) -> None:
    got: list[bool] = []
    start = threading.Barrier(8)

    def work() -> None:
        with Claims(tmp_path) as claims:
            start.wait()
            got.append(claims.take(FOG))
            start.wait()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(got) == [False] * 7 + [True]


def test_a_released_cell_can_be_taken_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with Claims(tmp_path) as first, Claims(tmp_path) as second:
        assert first.take(FOG)
        assert holders(tmp_path)[FOG].pid == os.getpid()
        assert holders(tmp_path)[FOG].state == "alive"
        first.release(FOG)
        assert second.take(FOG)
    assert list(tmp_path.iterdir()) == []


def test_an_exception_gives_claims_back(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Claims(tmp_path) as claims:
        claims.take(FOG)
        raise KeyboardInterrupt
    assert holders(tmp_path) == {}


def test_the_claim_of_a_process_that_died_here_comes_back_at_once(tmp_path: Path) -> None:
    program = f"""
import os
from pathlib import Path
from rtx.evaluation.sweep.claims import Claims
from rtx.types import Condition
claims = Claims(Path({str(tmp_path)!r})).__enter__()
assert claims.take(Condition("fog", 3))
os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == 9
    assert holders(tmp_path)[FOG].state == "dead"
    with Claims(tmp_path) as claims:
        assert claims.take(FOG)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_process_id_that_was_given_to_another_process_is_a_dead_one(tmp_path: Path) -> None:
    with Claims(tmp_path) as mine:
        elsewhere(tmp_path / "b", **{**mine.me, "owner": "there", "start": 1})
        with Claims(tmp_path / "b") as claims:
            assert claims.take(FOG)


def test_a_process_elsewhere_that_counts_on_keeps_its_cell_and_one_that_stops_loses_it(tmp_path: Path) -> None:
    clock = Clock()
    life = elsewhere(tmp_path)
    with Claims(tmp_path, patience=60, clock=clock) as claims:
        for count in range(1, 6):
            assert not claims.take(FOG)
            clock.now += 50
            life.write_text(life.read_text()[:-13] + f"{count:012}\n")
        assert not claims.take(FOG)
        clock.now += 59
        assert not claims.take(FOG)
        clock.now += 2
        assert claims.take(FOG)


@pytest.mark.parametrize("stamp", [0, 4102444800], ids=["1970", "2100"])
def test_clocks_that_disagree_change_nothing(tmp_path: Path, stamp: int) -> None:
    clock = Clock()
    life = elsewhere(tmp_path)
    for path in (life, tmp_path / "claims/fog_3.json"):
        os.utime(path, (stamp, stamp))
    with Claims(tmp_path, patience=60, clock=clock) as claims:
        assert not claims.take(FOG)
        clock.now += 61
        assert claims.take(FOG)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00" * 20])
def test_a_claim_that_says_nothing_is_outwaited(tmp_path: Path, content: str) -> None:
    clock = Clock()
    elsewhere(tmp_path)
    (tmp_path / "claims/fog_3.json").write_text(content)
    assert holders(tmp_path)[FOG].state == "unknown"
    with Claims(tmp_path, patience=60, clock=clock) as claims:
        assert not claims.take(FOG)
        clock.now += 61
        assert claims.take(FOG)


def test_taking_over_spares_a_claim_that_somebody_else_took_over_first(tmp_path: Path) -> None:
    with Claims(tmp_path) as first, Claims(tmp_path) as second:
        assert first.take(FOG)
        # What `second` saw was stale; meanwhile `first` has replaced it.
        second._break(tmp_path / "claims/fog_3.json", {"owner": "there"})
        assert not second.take(FOG)


def test_overwriting_is_refused_while_another_process_works(tmp_path: Path) -> None:
    with Claims(tmp_path) as first, Claims(tmp_path) as second:
        second.refuse_others()
        first.run_now()
        with pytest.raises(RunConflict, match=rf"process {os.getpid()} .* --overwrite"):
            second.refuse_others()


def test_overwriting_waits_to_see_whether_another_machine_still_works(tmp_path: Path) -> None:
    life = elsewhere(tmp_path)
    with Claims(tmp_path, patience=0.2) as claims:
        claims.refuse_others(poll=0.02)
        beat = threading.Timer(0.05, lambda: life.write_text(life.read_text()[:-13] + f"{7:012}\n"))
        beat.start()
        with pytest.raises(RunConflict, match="on node7"):
            Claims.refuse_others(claims := Claims(tmp_path, patience=5), poll=0.02)
        beat.join()


def test_who_is_done_is_no_company(tmp_path: Path) -> None:
    with Claims(tmp_path) as first, Claims(tmp_path) as second:
        first.run_now()
        assert not second.alone()
        first.done()
        assert second.alone() and not first.alone()
        second.refuse_others()


def test_finished_cells_and_locks_are_nobodys(tmp_path: Path) -> None:
    elsewhere(tmp_path)
    with Claims(tmp_path) as claims, claims.lock("opening"):
        claims.take(SNOW)
        assert set(holders(tmp_path)) == {FOG, SNOW}
        (tmp_path / "cells").mkdir()
        (tmp_path / "cells/fog_3.json").write_text("")
        assert set(holders(tmp_path)) == {SNOW}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match=r"out.*run the same command again"), Claims(tmp_path / "out"):
        pass


def test_someone_who_clears_the_claims_away_disturbs_nobody(tmp_path: Path) -> None:
    with Claims(tmp_path, beat=0.02) as claims:
        for path in (tmp_path / "claims/alive").iterdir():
            path.unlink()
        for _ in range(200):
            if list((tmp_path / "claims/alive").glob("[!.]*")):
                break
            threading.Event().wait(0.02)
        assert claims.take(FOG)
        assert holders(tmp_path)[FOG].state == "alive"


def test_without_hard_links_a_cell_still_has_one_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "link", refused)
    with Claims(tmp_path) as first, Claims(tmp_path) as second:
        assert first.take(FOG)
        assert not second.take(FOG)
        first.release(FOG)
        assert second.take(FOG)
