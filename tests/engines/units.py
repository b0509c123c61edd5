"""Units of work that a node imports: what a test hands to an engine."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from rtx.errors import DataError


class Odd(Exception):
    """An error that cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.held = lambda: text


def setup(device: str) -> tuple[Any, dict[str, str]]:
    return work, {"device": device}


def broken_setup(device: str) -> tuple[Any, dict[str, str]]:
    raise DataError("folder 'data' is not there")


def work(task: tuple[str, Any]) -> Any:
    """square: x * x; fail, odd: an error; die: kill the worker until the file with the deaths has n lines."""
    kind, value = task
    if kind == "fail":
        raise DataError(f"image {value!r} is broken")
    if kind == "odd":
        raise Odd(value)
    if kind == "die":
        path, deaths = Path(value[0]), value[1]
        if not path.exists() or len(path.read_text().splitlines()) < deaths:
            with path.open("a") as file:
                file.write(f"{os.getpid()}\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return "alive"
    return value * value
