"""Units: the smallest pieces of an experiment that are worked on, skipped and repeated as a whole.

A unit has an identity (its kind and its settings), says which units it needs, and has one result file, written whole.
What does it is a plain function `work(settings, device) -> dict`, named `module:function`, so that any training can be
one: it is imported in the workers, which live on from unit to unit, so `functools.cache` on what loads data or source
weights keeps them in memory.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from rtx.errors import BadValue

Function = Callable[[Mapping[str, Any], str], Mapping[str, Any]]
COMMAND = "rtx.experiments.command:work"
_NAME = re.compile(r"[a-z0-9][\w.-]*(/[a-z0-9][\w.-]*)*", re.I)


@dataclass(frozen=True)
class Unit:
    """One piece of work.

    Attributes:
        name: unique in its experiment, and the path of its result below the experiment's folder, without suffix.
        kind: `module:function`.
        settings: what the function is given, as JSON values: everything that its result depends on.
        needs: names of units that must be done first.
        run: of the experiment, for tables.
        seed: of the run.
        images: image passes, forward and backward counted once each; None where nobody knows.
        gpu_hours: where the experiment says it.
        disk_bytes: of what stays.
    """

    name: str
    kind: str
    settings: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    run: str = ""
    seed: int = 0
    images: int | None = None
    gpu_hours: float | None = None
    disk_bytes: int | None = None

    def __post_init__(self) -> None:
        """Reject a name that is no path, and settings that are no JSON."""
        if not _NAME.fullmatch(self.name):
            raise BadValue(f"unit {self.name!r}: a name is made of letters, digits, '_', '-', '.' and '/'")
        if self.kind.count(":") != 1:
            raise BadValue(f"unit {self.name!r}: kind {self.kind!r} must be module:function")
        try:
            json.dumps(self.settings, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise BadValue(f"unit {self.name!r}: settings must be JSON values ({error})") from error

    @property
    def key(self) -> str:
        """Identity: sha256 of kind and settings."""
        text = json.dumps([self.kind, self.settings], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@cache
def function_of(kind: str) -> Function:
    """The function that a kind names.

    Raises:
        BadValue: there is none.
    """
    module, _, name = kind.partition(":")
    try:
        found: Function = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BadValue(f"kind {kind!r}: cannot be imported ({error}); put its module on PYTHONPATH") from error
    return found


def check_units(units: Sequence[Unit]) -> None:
    """See that every unit can be done.

    Raises:
        BadValue: a name twice, a need that no unit has, needs in a ring, or a kind that does not exist.
    """
    names = {unit.name: unit for unit in units}
    if len(names) < len(units):
        twice = next(u.name for u in units if [v.name for v in units].count(u.name) > 1)
        raise BadValue(f"two units are called {twice!r}")
    for unit in units:
        for need in unit.needs:
            if need not in names:
                raise BadValue(f"unit {unit.name!r} needs {need!r}, which is no unit")
    for kind in {unit.kind for unit in units}:
        function_of(kind)
    done: set[str] = set()
    while left := [u for u in units if u.name not in done]:
        free = [u.name for u in left if done.issuperset(u.needs)]
        if not free:
            raise BadValue(f"units need each other in a ring, {left[0].name!r} among them")
        done.update(free)
