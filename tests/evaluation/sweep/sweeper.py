"""A process that runs one sweep by itself and forks one for each line it reads, to be killed or left alone.

Line in: JSON with `root` (data), `out`, `log`, options of the evaluation, `kill_after` (seconds until it is killed, or
null) and `read_only` (whether the data are mounted so). Line out: JSON with `status` (the exit status, -9 when killed,
`NOT_PERMITTED` where nothing may be mounted) and `seconds`. Each sweep is a process group of its own; the log gets one
line for each cell that is begun.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[3]
NOT_PERMITTED = 77
_NEW_MOUNTS, _NEW_USER = 0x20000, 0x10000000
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 32, 4096, 16384, 1 << 18


class Sweeper:
    """The process, seen from a test."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.evaluation.sweep.sweeper"],
            cwd=PROJECT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def sweep(
        self,
        root: Path,
        out: Path,
        *,
        kill_after: float | None = None,
        read_only: bool = False,
        **options: Any,
    ) -> dict[str, Any]:
        """Run a sweep and say how it ended and which cells it began."""
        log = out.parent / f"{out.name}.log"
        log.write_text("")
        order = dict(
            root=str(root), out=str(out), log=str(log), kill_after=kill_after, options=options, read_only=read_only
        )
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        while not (line := self.process.stdout.readline()).startswith("{"):
            assert line, "the sweeper is gone"
        return {**json.loads(line), "begun": log.read_text().split()}

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(30)


def sweep(order: dict[str, Any]) -> None:
    """One evaluation, in a process group of its own."""
    from rtx.evaluation.evaluate import evaluate
    from rtx.evaluation.sweep.events import CellStarted
    from tests.evaluation.stand_in import PixelDetector, coco_config

    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND)

    def note(event: Any) -> None:
        if isinstance(event, CellStarted):
            os.write(log, f"{event.condition.key}\n".encode())

    evaluate(PixelDetector(), coco_config(Path(order["root"])), Path(order["out"]), on_event=note, **order["options"])


def mount_read_only(root: str) -> bool:
    """Give this process mounts of its own, in which a folder is read-only for everybody; False where it may not."""
    libc = ctypes.CDLL(None, use_errno=True)
    place = root.encode()
    steps: list[Callable[[], int]] = [
        lambda: libc.unshare(_NEW_MOUNTS) and libc.unshare(_NEW_MOUNTS | _NEW_USER),
        lambda: libc.mount(b"none", b"/", None, ctypes.c_ulong(_RECURSIVE | _PRIVATE), None),
        lambda: libc.mount(place, place, None, ctypes.c_ulong(_BIND), None),
        lambda: libc.mount(place, place, None, ctypes.c_ulong(_BIND | _REMOUNT | _READ_ONLY), None),
    ]
    for step in steps:
        if step():
            print(f"no mounts: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
            return False
    try:
        (Path(root) / "written").touch()
    except OSError:
        return True
    raise AssertionError("the folder can still be written")


def start(order: dict[str, Any]) -> int:
    """Fork a sweep and return its process id."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setpgid(0, 0)
            os.dup2(2, 1)  # half a line of a process that is killed must not come before an answer
            if order["read_only"] and not mount_read_only(order["root"]):
                status = NOT_PERMITTED
            else:
                sweep(order)
                status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    with suppress(OSError):  # it may have been faster
        os.setpgid(pid, pid)
    return pid


def wait(pid: int, seconds: float | None) -> int:
    """Exit status of a child, killed with its group after so many seconds."""
    due = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, 0 if due is None else os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if due is not None and time.monotonic() >= due:
            os.killpg(pid, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        time.sleep(0.002)


def main() -> None:
    """Serve until the input ends."""
    import cv2
    import torch

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    import gc

    for number, line in enumerate(sys.stdin):
        order = json.loads(line)
        started = time.monotonic()
        if number == 0:
            # The first sweep compiles kernels and imports everything; those that are forked inherit it.
            sweep({**order, "out": f"{order['out']}-first", "log": os.devnull})
            gc.collect()
            gc.freeze()
        status = wait(start(order), order["kill_after"])
        print(json.dumps({"status": status, "seconds": time.monotonic() - started}), flush=True)


if __name__ == "__main__":
    main()
