"""Small units that tests and workers import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def work(settings: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Note that it ran, and fail, stop the driver or return the seed as its setting asks."""
    if log := settings.get("log"):
        with Path(log).open("a") as file:
            file.write(f"{settings['name']}\n")
    if settings.get("fail") and not Path(settings["fail"]).exists():
        raise ValueError("the data are odd")
    if settings.get("stop") and not Path(settings["stop"]).exists():
        Path(settings["stop"]).touch()
        raise KeyboardInterrupt
    if settings.get("odd"):
        return {"score": object()}
    return {"score": settings["seed"] / 10, "pid": os.getpid()}
