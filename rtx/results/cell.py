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
from typing import Any

from rtx.errors import BadValue
from rtx.results.conditions import family_of
from rtx.results.protocol import protocol_key
from rtx.types import Condition

CELL_FORMAT = "rtx.cell/1"

KnownCard = tuple[dict[str, Any], str]
"""A protocol card and its key."""


def known_card(card: dict[str, Any], known: list[KnownCard]) -> KnownCard:
    """A card that is equal to a known one, with its key; else the card itself, hashed and known from now on.

    The cells of a folder share one card, or one for each device and set of library versions.
    """
    found = next((row for row in known if row[0] is card or row[0] == card), None)
    if found is None:
        found = card, protocol_key(card)
        known.append(found)
    return found


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
        diagnosis: error types and calibration as `rtx.metrics.metric.Metric.diagnosis` gives them; empty where a cell
            was made by a version of rtx that knew neither, or by a metric that has none.
    """

    condition: Condition
    metrics: dict[str, float]
    n_images: int
    protocol: dict[str, Any]
    flags: tuple[str, ...] = ()
    timing: dict[str, Any] = field(default_factory=dict)
    diagnosis: dict[str, Any] = field(default_factory=dict)

    def to_json(self, key: str | None = None) -> str:
        """The text of the cell file; NaN is written as null.

        Args:
            key: of its protocol card, where that is known.
        """
        row = {
            "format": CELL_FORMAT,
            "key": key or protocol_key(self.protocol),
            "corruption": self.condition.corruption,
            "severity": self.condition.severity,
            "family": family_of(self.condition),
            "metrics": {name: None if math.isnan(value) else value for name, value in self.metrics.items()},
            "n_images": self.n_images,
            "flags": list(self.flags),
            "protocol": self.protocol,
            "timing": self.timing,
            **({"diagnosis": self.diagnosis} if self.diagnosis else {}),
        }
        row = json.loads(json.dumps(row, default=str))
        return json.dumps({**row, "checksum": _checksum(row)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_row(cls, row: Mapping[str, Any], *, place: str, known: list[KnownCard] | None = None) -> Cell:
        """Read what a cell file holds.

        Args:
            row: the object in the file.
            place: what to call it in an error.
            known: see `known_card`; the cell refers to the card that is known.

        Raises:
            BadValue: it is no cell file, its key does not belong to its card, or its checksum is not that of its
                content or not there: a file without one may have been edited. `place` is named.
        """
        try:
            if not isinstance(row["protocol"], dict):
                raise ValueError("its protocol is no object")
            card, own_key = known_card(row["protocol"], [] if known is None else known)
            cell = cls(
                condition=Condition(row["corruption"], row["severity"]),
                metrics={k: math.nan if v is None else float(v) for k, v in row["metrics"].items()},
                n_images=int(row["n_images"]),
                protocol=card,
                flags=tuple(row["flags"]),
                timing=_timing(row["timing"]),
                diagnosis=_diagnosis(row.get("diagnosis", {})),
            )
            key = row["key"]
            given = row["checksum"]
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise BadValue(
                f"{place}: not an rtx cell file ({error}); delete it and run the evaluation again"
            ) from error
        if key != own_key:
            raise BadValue(f"{place}: its key does not match its protocol card, it was edited; delete it and run again")
        if given != _checksum(row):
            raise BadValue(f"{place}: its content does not match its checksum, it was edited; delete it and run again")
        return cell


def _timing(given: Any) -> dict[str, Any]:
    """The part of a cell file that its checksum leaves out; others rely on the numbers in it."""
    numbers = {name: given[name] for name in ("seconds", "batch_size") if given.get(name) is not None}
    if odd := [n for n, v in numbers.items() if isinstance(v, bool) or not isinstance(v, int | float) or not v >= 0]:
        raise ValueError(f"timing: {odd[0]} is {numbers[odd[0]]!r}")
    return dict(given)


def _diagnosis(given: Any) -> dict[str, Any]:
    """As far as its form goes: blocks by name, each of blocks by what is diagnosed."""
    if not isinstance(given, dict) or not all(
        isinstance(part, dict) and all(isinstance(block, dict) for block in part.values()) for part in given.values()
    ):
        raise ValueError("its diagnosis is no object of objects")
    return given


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
    """The result of `mixed_makers`, in words.

    Example:
        >>> mixed_text({"mmcv": ["2.1", "2.2"], "device": ["NVIDIA H200", "cpu"]})
        'mmcv 2.1 / 2.2, device NVIDIA H200 / cpu'
    """
    return ", ".join(f"{name} {' / '.join(values)}" for name, values in mixed.items())


def _checksum(row: Mapping[str, Any]) -> str:
    """Sha256 (hex) over a cell file's content, but for its timing."""
    content = {name: value for name, value in row.items() if name not in ("timing", "checksum")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
