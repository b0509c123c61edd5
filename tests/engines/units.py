"""Units of work that a node imports: what a test hands to an engine."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtx.errors import DataError


class Odd(Exception):
    """An error that can be pickled but not unpickled: it is made again from fewer arguments than it takes."""

    def __init__(self, text: str, more: str) -> None:
        super().__init__(text)


def setup(device: str) -> tuple[Any, dict[str, str]]:
    return work, {"device": device}


@dataclass
class OtherAfterDeath:
    """A setup whose facts are another node's once a worker has died: `deaths` is the file of `work`."""

    deaths: str

    def __call__(self, device: str) -> tuple[Any, dict[str, str]]:
        dead = Path(self.deaths).exists()
        if dead:
            Path(f"{self.deaths}.back").touch()
        return work, {"device": "another" if dead else "one"}


def broken_setup(device: str) -> tuple[Any, dict[str, str]]:
    raise DataError("folder 'data' is not there")


def work(task: tuple[str, Any]) -> Any:
    """square: x * x; sleep: the same after x seconds; fail, odd, exit: an error; lock: what no pickle holds.

    wait: until a file is there; die: kill the worker, n times.

    The file of a unit that dies gets a line for each death.
    """
    kind, value = task
    if kind == "fail":
        raise DataError(f"image {value!r} is broken")
    if kind == "wait":
        for _ in range(600):
            if Path(value).exists():
                break
            time.sleep(0.1)
        time.sleep(1)  # long enough for the driver to hand out another unit
    if kind == "lock":
        with Path(value).open("a") as file:
            file.write(f"{os.getpid()}\n")
        logging.getLogger("made").warning("locks now")
        return threading.Lock()
    if kind == "sleep":
        time.sleep(value)
    if kind == "exit":
        logging.getLogger("made").warning("goes now")
        raise SystemExit(value)
    if kind == "odd":
        raise Odd(value, "more")
    if kind == "die":
        path, deaths = Path(value[0]), value[1]
        if not path.exists() or len(path.read_text().splitlines()) < deaths:
            with path.open("a") as file:
                file.write(f"{os.getpid()}\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return "alive"
    return None if kind == "wait" else value * value
