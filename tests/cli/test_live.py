"""What a sweep shows while it runs: on a terminal one line that is rewritten, elsewhere a line a cell."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from rtx.cli.live import Display
from rtx.cli.words import duration
from rtx.evaluation.sweep.events import CellDone, CellStarted, Event, Planned, Progress, Waiting
from rtx.results.cell import Cell
from rtx.types import CLEAN, Condition

FOG, SNOW = Condition("fog", 3), Condition("snow", 1)


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def cell(condition: Condition, value: float = 0.25, *, flags: tuple[str, ...] = (), limit: int | None = None) -> Cell:
    timing = {"seconds": 50.0, "images_per_second": 2.0}
    return Cell(condition, {"bbox_mAP": value, "bbox_mAP_50": 0.5}, 100, {"limit": limit}, flags, timing)


def story(clock: Clock, limit: int | None = None) -> Iterator[Event]:
    """20 cells cached, 4 to do, one of them done elsewhere, and a wait at the end."""
    yield Planned(todo=4, cached=20, total=24, n_images=100)
    yield CellStarted(FOG)
    for n in (10, 50, 100):
        clock.now += 10
        yield Progress(FOG, n, 100, 1.25)
    clock.now += 20
    yield CellDone(cell(FOG, limit=limit, flags=("no predictions",)), 1, 4, 1)
    clock.now += 0.2
    yield Progress(SNOW, 50, 100, 2.5)
    clock.now += 24.8
    yield CellDone(cell(SNOW, limit=limit), 2, 4, 1)
    yield Waiting((CLEAN,), 2, 4, 1)
    yield Waiting((CLEAN,), 2, 4, 1)


def test_without_a_terminal_there_is_a_line_a_cell_and_no_control_character() -> None:
    clock, stream = Clock(), io.StringIO()
    with Display(stream=stream, clock=clock) as shown:
        for event in story(clock):
            shown(event)
    assert stream.getvalue().splitlines() == [
        "cell 22/24  fog_3                  bbox_mAP  25.00  50.0 s, 2.0 img/s, ETA 50 s, 1 by other processes  "
        "[no predictions]",
        "cell 23/24  snow_1                 bbox_mAP  25.00  50.0 s, 2.0 img/s, ETA 25 s, 1 by other processes",
        "waiting for 1 cell (clean) of other processes",
    ]
    assert not re.search(r"[\r\x1b]", stream.getvalue())


class Tty(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")


def plain(written: str) -> str:
    """What was written, without what moves the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)


@pytest.mark.usefixtures("wide")
def test_a_terminal_shows_one_line_that_says_where_the_sweep_is() -> None:
    clock, stream = Clock(), Tty()
    with Display(stream=stream, clock=clock) as shown:
        for event in story(clock):
            shown(event)
    seen = plain(stream.getvalue()).split("\r")
    assert "████████░░ cell 21/24  fog_3  10/100 images  1.2 img/s  ETA 6:30  20 cached" in seen
    assert "█████████░ cell 23/24  snow_1  50/100 images  2.5 img/s  ETA 30 s  20 cached  1 by others" in seen, seen
    assert any("waiting for 1 cell (clean) of other processes" in line for line in seen)
    assert stream.getvalue().endswith("\x1b[2K"), "the line is taken away in the end"
    silent = Tty()
    with Display(stream=silent, clock=clock, quiet=True) as shown:
        for event in story(clock):
            shown(event)
    assert silent.getvalue() == "", "a second process leaves the terminal to the first"


def test_a_preview_is_called_one_and_a_limit_beyond_the_images_is_none() -> None:
    for limit, told in ((100, "PREVIEW bbox_mAP  25.00"), (101, "bbox_mAP  25.00")):
        clock, stream = Clock(), io.StringIO()
        with Display(stream=stream, clock=clock, limit=limit) as shown:
            for event in story(clock, limit=100 if limit == 100 else None):
                shown(event)
        assert told in stream.getvalue() and ("PREVIEW" in stream.getvalue()) is (limit == 100)


def test_a_previews_score_comes_with_its_interval_and_the_headline_is_what_is_shown() -> None:
    stream = io.StringIO()
    shown = Display(stream=stream, clock=Clock(), limit=100)
    shown(Planned(todo=2, cached=0, total=2, n_images=100))
    shown(CellDone(cell(FOG, limit=100), 1, 2, 0, "bbox_mAP_50", (0.41234, 0.6)))
    shown(CellDone(cell(SNOW), 2, 2, 0, "bbox_mAP_50"))
    first, second = stream.getvalue().splitlines()
    assert "PREVIEW bbox_mAP_50  50.00 [41.23, 60.00]  " in first
    assert "  bbox_mAP_50  50.00  " in second and "[" not in second


def test_the_line_fits_the_terminal_and_falls_back_to_plain_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    class Narrow(Tty):
        encoding = "ascii"  # type: ignore[assignment]

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    clock, stream = Clock(), Narrow()
    with Display(stream=stream, clock=clock) as shown:
        for event in story(clock):
            shown(event)
    lines = plain(stream.getvalue()).replace("\n", "\r").split("\r")
    assert stream.getvalue().isascii() and max(map(len, lines)) <= 40
    assert any(line.startswith("########.. cell 21/24") for line in lines)


@pytest.mark.usefixtures("wide")
def test_what_others_write_comes_above_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, stream = Clock(), Tty()
    monkeypatch.setattr(sys, "stderr", stream)
    logger = logging.getLogger("rtx")
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    try:
        with Display(stream=stream, clock=clock) as shown:
            told = story(clock)
            for _ in range(3):
                shown(next(told))
            logger.warning("a remark [bold]as it is[/bold]")
            print("another", file=sys.stderr)
        assert handler.stream is stream and sys.stderr is stream
        logger.warning("after")
    finally:
        logger.removeHandler(handler)
    lines = [line.rpartition("\r")[2] for line in plain(stream.getvalue()).split("\n")]
    whole = [line for line in lines if line and "cell" not in line]
    assert whole == ["a remark [bold]as it is[/bold]", "another", "after"], "with nothing of the live line in them"
    assert stream.getvalue().count("fog_3") >= 3, "and the line is drawn again below each"


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    clock, stream = Clock(), Tty()
    with Display(stream=stream, clock=clock) as shown:
        for event in story(clock):
            shown(event)
    assert "\x1b" not in stream.getvalue() and len(stream.getvalue().splitlines()) == 3


@pytest.mark.parametrize(("seconds", "text"), [(None, "?"), (59.4, "59 s"), (59.6, "1:00"), (3599.9, "1:00:00")])
def test_durations(seconds: Any, text: str) -> None:
    assert duration(seconds) == text
