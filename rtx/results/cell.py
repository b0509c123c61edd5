"""Cell files: one score row for one condition, with the protocol card that says how it was made.

A cell file is the unit of truth. It is written atomically, it is never parsed from a log, and it carries the key of the
protocol that made it, so that numbers made in different ways cannot be mixed unseen.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtx.corruptions import CORRUPTIONS
from rtx.errors import BadValue, RunConflict
from rtx.files import write_atomic
from rtx.results.clean_up import remove_results
from rtx.results.protocol import protocol_key, without_context
from rtx.types import Condition

__all__ = [
    "CELL_FORMAT",
    "Cell",
    "CellFolder",
    "mixed_makers",
    "mixed_text",
    "write_atomic",
]

CELL_FORMAT = "rtx.cell/1"


@dataclass(frozen=True)
class Cell:
    """One evaluated condition.

    Attributes:
        condition: what was evaluated.
        metrics: name -> value as a fraction in [0, 1], full precision; NaN where a metric is undefined.
        n_images: how many images the metrics are made of.
        protocol: the protocol card.
        flags: remarks that belong beside the number, e.g. "no predictions".
        timing: everything that may differ between two runs of the same protocol (seconds, workers, batch size).
    """

    condition: Condition
    metrics: dict[str, float]
    n_images: int
    protocol: dict[str, Any]
    flags: tuple[str, ...] = ()
    timing: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text of the cell file; NaN is written as null."""
        row = {
            "format": CELL_FORMAT,
            "key": protocol_key(self.protocol),
            "corruption": self.condition.corruption,
            "severity": self.condition.severity,
            "family": CORRUPTIONS.get(self.condition.corruption, "clean"),
            "metrics": {name: None if math.isnan(value) else value for name, value in self.metrics.items()},
            "n_images": self.n_images,
            "flags": list(self.flags),
            "protocol": self.protocol,
            "timing": self.timing,
        }
        row = json.loads(json.dumps(row, default=str))
        return json.dumps({**row, "checksum": _checksum(row)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, *, place: str) -> Cell:
        """Read a cell file's text.

        Raises:
            BadValue: it is no cell file, its key does not belong to its card, or its checksum is not that of its
                content or not there: a file without one may have been edited. `place` is named.
        """
        try:
            row = json.loads(text)
            cell = cls(
                condition=Condition(row["corruption"], row["severity"]),
                metrics={k: math.nan if v is None else float(v) for k, v in row["metrics"].items()},
                n_images=int(row["n_images"]),
                protocol=row["protocol"],
                flags=tuple(row["flags"]),
                timing=row["timing"],
            )
            key = row["key"]
            given = row["checksum"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadValue(
                f"{place}: not an rtx cell file ({error}); delete it and run the evaluation again"
            ) from error
        if key != protocol_key(cell.protocol):
            raise BadValue(f"{place}: its key does not match its protocol card, it was edited; delete it and run again")
        if given != _checksum(row):
            raise BadValue(f"{place}: its content does not match its checksum, it was edited; delete it and run again")
        return cell


def mixed_makers(cells: Iterable[Cell]) -> dict[str, list[str]]:
    """The libraries, and the device, that are not the same for all cells, with what was used; empty where all agree.

    They are no part of the key, since most versions change no number; some do, by a little.
    """
    found: dict[str, set[str]] = {}
    for cell in cells:
        made = {**(cell.protocol.get("versions") or {}), **{n: cell.protocol.get(n) for n in ("rtx", "device")}}
        for name, value in made.items():
            found.setdefault(name, set()).add(str(value or "none"))
    return {name: sorted(values) for name, values in sorted(found.items()) if len(values) > 1}


def mixed_text(mixed: Mapping[str, Iterable[str]]) -> str:
    """What `mixed_makers` found, in words.

    Example:
        >>> mixed_text({"mmcv": ["2.1", "2.2"], "device": ["NVIDIA H200", "cpu"]})
        'mmcv 2.1 / 2.2, device NVIDIA H200 / cpu'
    """
    return ", ".join(f"{name} {' / '.join(values)}" for name, values in mixed.items())


class CellFolder:
    """The cells of one evaluation: `protocol.json` and `cells/<condition>.json` in one folder.

    Args:
        root: the output folder; it is made on the first write.
        card: the protocol card of this evaluation.
        overwrite: replace what another protocol left there instead of refusing.

    Raises:
        RunConflict: the folder holds cells of another protocol; the fields that differ are named.
        BadValue: the folder's `protocol.json` is damaged.
    """

    def __init__(self, root: Path, card: dict[str, Any], *, overwrite: bool = False) -> None:
        self.root = root
        self.card = json.loads(json.dumps(card, default=str))
        self.key = protocol_key(self.card)
        self.overwrite = overwrite
        self.check()

    def check(self) -> None:
        """Refuse a folder of another protocol, unless that is to be replaced.

        Raises:
            RunConflict: the folder holds cells of another protocol; the fields that differ are named.
            BadValue: the folder's `protocol.json` is damaged.
        """
        if self.overwrite:
            return
        if self.root.is_file():
            raise RunConflict(f"output folder {str(self.root)!r} is a file; choose another --out")
        path = self.root / "protocol.json"
        if not path.is_file():
            return
        try:
            other = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise BadValue(
                f"{path}: not readable as JSON ({error}); delete the folder or choose another --out"
            ) from error
        if protocol_key(other) == self.key:
            return
        there, now = without_context(other), without_context(self.card)
        changed = [
            f"{name}: {_short(there.get(name))} there, {_short(now.get(name))} now"
            for name in sorted(there.keys() | now.keys())
            if there.get(name) != now.get(name)
        ]
        raise RunConflict(
            f"output folder {str(self.root)!r} belongs to another run ({'; '.join(changed)}); "
            "choose another --out, or --overwrite to replace it"
        )

    def path(self, condition: Condition) -> Path:
        """Where the cell of a condition lies."""
        return self.root / "cells" / f"{condition.key}.json"

    def open(self, *, spare: Path | None = None) -> None:
        """Make the folder ready: remove all that another run left when overwriting, and write the card if it is absent.

        Args:
            spare: predictions that this run reads; they are not removed.

        Raises:
            OutputError: the folder cannot be written.
        """
        path = self.root / "protocol.json"
        if self.overwrite:
            remove_results(self.root, spare=spare)
        if self.overwrite or not path.is_file():
            write_atomic(path, json.dumps(self.card, indent=1, sort_keys=True) + "\n")

    def write(self, cell: Cell) -> None:
        """Write one cell file atomically."""
        write_atomic(self.path(cell.condition), cell.to_json())

    def read(self, conditions: Iterable[Condition]) -> dict[Condition, Cell]:
        """The cells that are there, made under this protocol.

        Raises:
            BadValue: a file is damaged, or holds another condition than its name says.
            RunConflict: a cell was made under another protocol.
        """
        cells: dict[Condition, Cell] = {}
        for condition in conditions:
            path = self.path(condition)
            if not path.is_file():
                continue
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise BadValue(f"{path}: cannot be read ({error}); delete it and run again") from error
            cell = Cell.from_json(text, place=str(path))
            if cell.condition != condition:
                raise BadValue(f"{path}: holds {cell.condition.key}, not {condition.key}; delete it and run again")
            if protocol_key(cell.protocol) != self.key:
                raise RunConflict(f"{path} was made under another protocol; choose another --out, or --overwrite")
            cells[condition] = cell
        return cells


def _checksum(row: Mapping[str, Any]) -> str:
    """Sha256 (hex) over a cell file's content, but for its timing."""
    content = {name: value for name, value in row.items() if name not in ("timing", "checksum")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
