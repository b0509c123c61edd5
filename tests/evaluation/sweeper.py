"""A process that runs one sweep by itself and then forks one for each line it reads, to be killed or left alone.

Line in: JSON with `root` (data), `out`, `log`, `starts` (how many sweeps at once), `kill_after` (seconds until the
first of them is killed, or null) and options of the evaluation. Line out: JSON with `status` (exit statuses, -9 when
killed) and `seconds`. Each sweep is a process group of its own; the log gets one line for each cell that is taken.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]


class Sweeper:
    """The process, seen from a test."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.evaluation.sweeper"],
            cwd=PROJECT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def sweep(
        self, root: Path, out: Path, *, kill_after: float | None = None, starts: int = 1, **options: Any
    ) -> dict[str, Any]:
        """Run sweeps and say how they ended and which cells they took."""
        log = out.parent / f"{out.name}.log"
        log.write_text("")
        order = dict(root=str(root), out=str(out), log=str(log), kill_after=kill_after, starts=starts, options=options)
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        while not (line := self.process.stdout.readline()).startswith("{"):
            assert line, "the sweeper is gone"
        return {**json.loads(line), "taken": log.read_text().split()}

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(30)


def sweep(order: dict[str, Any]) -> None:
    """One evaluation, in a process group of its own."""
    from rtx.evaluation.events import CellStarted
    from rtx.evaluation.loop import evaluate_corruptions
    from tests.evaluation.stand_in import PixelDetector, coco_config

    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND)

    def note(event: Any) -> None:
        if isinstance(event, CellStarted):
            os.write(log, f"{event.condition.key}\n".encode())

    evaluate_corruptions(
        coco_config(Path(order["root"])), PixelDetector(), Path(order["out"]), on_event=note, **order["options"]
    )


def start(order: dict[str, Any]) -> int:
    """Fork a sweep and return its process id."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setpgid(0, 0)
            os.dup2(2, 1)  # half a line of a process that is killed must not come before an answer
            sweep(order)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    with suppress(OSError):  # it may have been faster
        os.setpgid(pid, pid)
    return pid


def wait(pid: int, kill_after: float | None) -> int:
    """Exit status of a child, killed with its group when time is up."""
    end = None if kill_after is None else time.monotonic() + kill_after
    while True:
        done, status = os.waitpid(pid, os.WNOHANG if end else 0)
        if done:
            return os.waitstatus_to_exitcode(status)
        if end is not None and time.monotonic() >= end:
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
            # The first sweep compiles kernels and imports everything; those that are forked inherit it. It must not
            # score by itself: the threads of a scorer do not live on in a fork, and it would wait for them.
            assert order["options"]["scoring"] == "process"
            sweep(order)
            gc.collect()
            gc.freeze()
            print(json.dumps({"status": [0], "seconds": time.monotonic() - started}), flush=True)
            continue
        pids = [start(order) for _ in range(order["starts"])]
        status = [wait(pid, None if n else order["kill_after"]) for n, pid in enumerate(pids)]
        print(json.dumps({"status": status, "seconds": time.monotonic() - started}), flush=True)


if __name__ == "__main__":
    main()
