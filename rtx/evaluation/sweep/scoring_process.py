"""The program of the scoring process: a scorer comes in, then cells, and scores go out, until the pipe ends."""

from __future__ import annotations

import logging
import os
import signal
import sys

from rtx.evaluation.sweep.scoring import Remark, Work, receive, score, send


class _Collected(logging.Handler):
    """Keeps what is logged, for the process that started this one to log."""

    def __init__(self, remarks: list[Remark]) -> None:
        super().__init__()
        self.remarks = remarks

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        self.remarks.append((record.name, record.levelno, record.getMessage()))


def main() -> None:
    """Serve the process that started this one."""
    # Ctrl-C reaches the whole group; the starter decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    remarks: list[Remark] = []
    logging.basicConfig(level=logging.WARNING, handlers=[_Collected(remarks)])
    # Whatever a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    questions = sys.stdin.buffer
    scorer = None
    fault = ""
    while True:
        try:
            item = receive(questions)
        except EOFError:
            return
        except Exception as error:
            # A class that this process cannot import; what follows can still be read and is answered with the reason.
            item, fault = None, f"its process cannot take the scorer ({type(error).__name__}: {error})"
        if not isinstance(item, Work):
            scorer = item
            continue
        if scorer is None or fault:
            send(answers, fault or "its process was not given a scorer")
            continue
        try:
            answer = score(scorer, item)
        except Exception as error:  # the starter scores the cell again, and fails with the error itself
            send(answers, f"its process failed ({type(error).__name__}: {error})")
            continue
        send(answers, (answer, list(remarks)))
        remarks.clear()


if __name__ == "__main__":
    main()
