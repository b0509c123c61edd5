"""Who works on which cell, said by files in the output folder, so that any number of processes share one sweep.

A process that takes a cell makes `claims/<condition>.json`, which fails where the file is there already, and keeps
counting in `claims/alive/<owner>` for as long as it lives. A claim is given up for lost when its process is gone from
the machine that looks, or when its counter has stood still for `patience` seconds on the clock of the process that
looks. No time stamp is ever compared, so clocks that disagree between machines do not matter.

Should two processes evaluate one cell after all (one was suspended, say), nothing is lost but time: cells are written
whole, and their content does not depend on who made them.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtx.errors import BadValue, RunConflict
from rtx.evaluation.sweep.liveness import is_here, state_of, this_process
from rtx.files import create_new
from rtx.results.folder import ALIVE, CELLS, CLAIMS
from rtx.types import Condition

log = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
_COUNT_DIGITS = 12
_LONGEST_POLL = 1.0


@dataclass(frozen=True)
class Holder:
    """The process behind a claim.

    Attributes:
        host: name of its machine.
        pid: its process id there.
        state: `alive` or `dead` where this machine can tell, else `unknown`.
    """

    host: str
    pid: int
    state: str


class Claims:
    """The claims of one process on the cells of one output folder; a context manager that gives back what is left.

    Args:
        root: the output folder.
        beat: seconds between signs of life.
        patience: seconds without one after which another process counts as gone.
        clock: seconds that only go forward.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(
        self,
        root: Path,
        *,
        beat: float = BEAT_SECONDS,
        patience: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = root / CLAIMS
        self.alive = self.folder / ALIVE
        self.patience = patience
        self.owner = uuid.uuid4().hex
        self.me = {**this_process(), "owner": self.owner}
        self._beat = beat
        self._clock = clock
        self._held: set[str] = set()
        self._watched: dict[str, tuple[bytes | None, float]] = {}
        self._mark = "w"
        self._count = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Claims:
        create_new(self._presence(self.owner), self._life())
        self._thread = threading.Thread(target=self._live, name="claims", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
        for name in sorted(self._held):
            self._release(name)
        self._presence(self.owner).unlink(missing_ok=True)
        for folder in (self.alive, self.folder):  # the last one out leaves no empty folders
            with suppress(OSError):
                folder.rmdir()

    def take(self, condition: Condition) -> bool:
        """Whether the cell is this process's own from now on; a claim of a process that is gone is taken over."""
        return self._take(condition.key)

    def release(self, condition: Condition) -> None:
        """Give a cell back, finished or not."""
        self._release(condition.key)

    @contextmanager
    def lock(self, name: str, *, poll: float = 0.05) -> Iterator[None]:
        """Within, no other process is within; a lock of a process that is gone is taken over."""
        while not self._take(name):
            time.sleep(poll)
            poll = min(1.5 * poll, _LONGEST_POLL)  # many processes may wait on one file system
        try:
            yield
        finally:
            self._release(name)

    def run_now(self) -> None:
        """Say that this process relies on what is in the folder; call it within the lock that guards opening."""
        self._mark = "r"
        self._write_life()

    def done(self) -> None:
        """Say that this process writes nothing more; call it within a lock that all take before they leave."""
        self._mark = "d"
        self._write_life()

    def refuse_others(self, *, poll: float = 0.5) -> None:
        """Check that no other process works in this folder; one on another machine is watched for a while first.

        Raises:
            RunConflict: there is one.
        """
        for path in self._presences():
            first = _read(path)
            who = _parsed(first or b"")
            while (life := _read(path)) is not None and _mark_of(life) == b"r" and not self._is_gone(who):
                if state_of(who) == "alive" or life != first:
                    raise RunConflict(
                        f"output folder {str(self.folder.parent)!r}: process {who.get('pid')} on {who.get('host')} is "
                        "evaluating there; stop it before --overwrite, or choose another --out"
                    )
                log.debug("watching whether process %s on %s is still at work", who.get("pid"), who.get("host"))
                time.sleep(poll)

    def alone(self) -> bool:
        """Whether no other process may still write here, as far as one look at the folder shows."""
        lives = [life for path in self._presences() if (life := _read(path)) is not None]
        return all(_mark_of(life) == b"d" or self._is_gone(_parsed(life)) for life in lives)

    def tidy(self) -> None:
        """Remove what processes that are gone have left behind."""
        claims = [path for path in self.folder.glob("*.json") if path.stem not in self._held]
        for path in [*claims, *self._presences()]:
            if (content := _read(path)) is not None and self._is_gone(_parsed(content)):
                self._break(path, _parsed(content))

    def _take(self, name: str) -> bool:
        path = self._path(name)
        for _ in range(5):
            if create_new(path, (json.dumps(self.me) + "\n").encode()):
                self._held.add(name)
                return True
            if (content := _read(path)) is None:
                continue  # given back just now
            holder = _parsed(content)
            if holder.get("owner") == self.owner:
                return True
            if not self._is_gone(holder):
                return False
            log.info("taking %s over from process %s on %s", name, holder.get("pid"), holder.get("host"))
            self._break(path, holder)
        return False

    def _release(self, name: str) -> None:
        path = self._path(name)
        content = _read(path)
        if content is not None and _parsed(content).get("owner") == self.owner:
            path.unlink(missing_ok=True)
        self._held.discard(name)

    def _break(self, path: Path, holder: Mapping[str, Any]) -> None:
        """Remove the file of a process that is gone, and of no other one."""
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            path.rename(aside)
        except OSError:
            return  # another process was faster
        content = _read(aside)
        if content is not None and _parsed(content).get("owner") != holder.get("owner"):
            with suppress(OSError):  # a third process took it over between the two looks: hand it back
                os.link(aside, path)
        aside.unlink(missing_ok=True)

    def _is_gone(self, who: Mapping[str, Any]) -> bool:
        owner = str(who.get("owner"))
        if owner == self.owner:
            return False
        life = _read(self._presence(owner))
        if is_here(who) and (life is None or state_of(who) == "dead"):
            return True
        now = self._clock()
        before, since = self._watched.get(owner, (None, None))
        if since is None or life != before:
            self._watched[owner] = (life, now)
            return False
        return now - since > self.patience

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _presence(self, owner: str) -> Path:
        return self.alive / owner

    def _presences(self) -> list[Path]:
        with suppress(OSError):
            return [p for p in sorted(self.alive.iterdir()) if p.name[0] != "." and p.name != self.owner]
        return []

    def _life(self) -> bytes:
        return f"{json.dumps(self.me)}\n{self._mark}{self._count:0{_COUNT_DIGITS}}\n".encode()

    def _live(self) -> None:
        while not self._stop.wait(self._beat):
            self._count += 1
            self._write_life()

    def _write_life(self) -> None:
        try:
            # In place and of the same length: a full disk must not make a living process look dead.
            handle = os.open(self._presence(self.owner), os.O_WRONLY)
            try:
                os.pwrite(handle, self._life(), 0)
            finally:
                os.close(handle)
        except FileNotFoundError:
            with suppress(OSError):  # another process has removed it
                create_new(self._presence(self.owner), self._life())
        except OSError as error:
            log.debug("no sign of life written: %s", error)


def holders(root: Path) -> dict[Condition, Holder]:
    """The cells of an output folder that processes hold at this moment; finished ones are left out."""
    found = {}
    for path in sorted((root / CLAIMS).glob("*.json")):
        content = _read(path)
        with suppress(BadValue):  # another name than a condition's is a lock
            condition = Condition.from_key(path.stem)
            if content is not None and not (root / CELLS / path.name).is_file():
                who = _parsed(content)
                found[condition] = Holder(str(who.get("host", "?")), int(who.get("pid", 0)), state_of(who))
    return found


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _parsed(content: bytes) -> dict[str, Any]:
    """The process that wrote a claim; an unreadable claim has no owner and is removed after the time limit."""
    try:
        row = json.loads(content.partition(b"\n")[0])
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _mark_of(life: bytes) -> bytes:
    """The last state that a process wrote: `w` it waits to begin, `r` it relies on the folder, `d` it is done."""
    return life.partition(b"\n")[2][:1]
