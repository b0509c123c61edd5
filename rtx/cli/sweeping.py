"""Around a sweep, whichever command starts it: however it ends, a person reads how to go on."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rtx.cli.engine import add_engine_arguments, add_track_argument, engine_of
from rtx.cli.options import SHARD_HELP, shard_of
from rtx.errors import RtxError, shown
from rtx.evaluation.protocol import Protocol
from rtx.evaluation.sweep.events import Event, Planned
from rtx.evaluation.sweep.interrupt import exit_status, sigterm_raises
from rtx.results.command import Command, note_command, shell_line, typed_words, without_overwrite
from rtx.results.shifts import parse_shifts
from rtx.types import Condition


def add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--device`, `--overwrite`, `--shard`, the engine and `--track`."""
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; default: a GPU where there is one")
    parser.add_argument(
        "--overwrite", action="store_true", help="evaluate again, and replace what another run left in --out"
    )
    parser.add_argument("--shard", metavar="I/N", help=SHARD_HELP)
    add_engine_arguments(parser)
    add_track_argument(parser)


class Sweep:
    """What must be known to say how to go on.

    Attributes:
        conditions: the cells that are wanted.
        out: the output folder, once it is known.
        rank: of this process; the first one speaks.
        begun: cells are being evaluated.
        overwrite: the command was told to.
        shard: the part of the cells that this process evaluates; None for all.
        engine: where they are evaluated.
        track: trackers that get the scores too.
        shifts: other test sets, name -> folder.
        typed: the words of the command.
    """

    def __init__(self, args: argparse.Namespace, conditions: Sequence[Condition] = ()) -> None:
        """The sweep that the arguments ask for; what it logs is shown.

        Raises:
            BadValue: a shard or an engine that cannot be.
        """
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        self.conditions = tuple(conditions)
        self.overwrite, self.shard, self.engine = args.overwrite, shard_of(args), engine_of(args)
        self.track: Sequence[str] = args.track
        self.shifts = parse_shifts(getattr(args, "shift", None) or ())
        self.rank = 0
        self.out: Path | None = None
        self.begun = False
        self.typed = typed_words()

    def start(self, args: argparse.Namespace, cfg: Mapping[str, Any] | None = None) -> str:
        """Join the launcher's job, under the settings of a config if there is one; the device of this process.

        Raises:
            DeviceError: there is no such device.
        """
        from mmengine.dist import get_rank

        from rtx.evaluation.models.load import check_device
        from rtx.evaluation.sweep import share

        device = "cpu" if self.engine.is_ray else args.device or share.default_device(args.local_rank)
        check_device(device)
        share.start(args.launcher, (cfg or {}).get("env_cfg", {}).get("dist_cfg"))
        self.rank = get_rank()
        return device

    def note(self, event: Event) -> None:
        """Leave the command in the folder once the sweep has one."""
        if isinstance(event, Planned):
            self.begun = True
            if self.rank == 0 and self.out is not None:
                words = without_overwrite(self.typed)
                note_command(self.out, Command(words, str(Path.cwd()), self.conditions, tuple(self.shifts)))

    def evaluate(self, model: Any, data: Any, protocol: Protocol, **options: Any) -> dict[str, Any]:
        """`rtx.evaluation.evaluate.evaluate` into the folder, shown live by the first rank; the summary."""
        from rtx.cli.live import Display
        from rtx.evaluation.evaluate import evaluate
        from rtx.evaluation.tracking import Tracker

        assert self.out is not None
        run = (options.get("labels") or {}).get("run") or self.out.name
        tracker = Tracker(() if self.rank else self.track, self.out, run)
        with tracker, Display(limit=protocol.limit, quiet=self.rank > 0) as shown:

            def on_event(event: Event) -> None:
                self.note(event)
                shown(event)
                tracker(event)

            options |= {"shifts": self.shifts} if self.shifts else {}
            options |= {"overwrite": self.overwrite, "shard": self.shard, "run_on": self.engine, "on_event": on_event}
            summary = evaluate(model, data, self.out, protocol, **options)
            tracker.summary(summary)
            return summary

    def is_over(self, summary: Mapping[str, Any]) -> bool:
        """Whether all cells are there and this rank speaks; says so where other shards still have some to do."""
        if self.rank > 0:
            return False
        there = sum(condition.key in summary["cells"] for condition in self.conditions)
        if there < len(self.conditions):
            print(f"{self.out}: {there} of {len(self.conditions)} cells are there; the rest is other shards' work")
        return there == len(self.conditions)

    def run(self, work: Callable[[], int]) -> int:
        """Do the work, and say how to go on where it does not come to its end.

        Args:
            work: evaluates; returns the exit status.

        Returns:
            The exit status: 130 after Ctrl-C, 143 after SIGTERM, 2 after an error of rtx's once cells were begun.

        Raises:
            RtxError: nothing was begun yet, or RTX_DEBUG is set.
        """
        try:
            with sigterm_raises():
                return work()
        except KeyboardInterrupt as error:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # a launcher signals more than once, and this process ends now
            self._say_how_to_resume("interrupted")
            return exit_status(error)
        except RtxError as error:
            if not self.begun or os.environ.get("RTX_DEBUG"):
                raise
            print(shown(error), file=sys.stderr)
            self._say_how_to_resume("stopped")
            return 2
        except Exception:
            if self.begun:
                self._say_how_to_resume("stopped by the fault below")
            raise

    def _say_how_to_resume(self, what: str) -> None:
        """Print the command that goes on; before the first image it may still have to overwrite."""
        if self.rank > 0:
            return
        words = self.typed if self.overwrite and not self.begun else without_overwrite(self.typed)
        kept = (
            f"finished cells are kept in {self.out}; go on" if self.begun else "nothing was evaluated yet; start again"
        )
        # Inside Slurm there is no one to type: the job goes on when it is submitted again.
        job = " (or submit the same job again)" if "SLURM_JOB_ID" in os.environ else ""
        print(f"\n{what}; {kept} with{job}:\n  {shell_line(words)}", file=sys.stderr, flush=True)
