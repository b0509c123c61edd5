"""A folder of drift: how alike features are, by condition and layer, as `rtx drift` writes it.

    card.json           what defines the numbers; its key stands on every cell
    cells/<condition>   .npz: values, and what they are without each image
    drift.json          all of it for people and programs, with intervals; drift.csv says the same

Three pairs are compared: the run on clean and on corrupted images (`run`), its source on both (`source`), and the
source and the run on the same images (`source_to_run`).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue, RunConflict
from rtx.files import json_ready, read_json, write_atomic, write_whole
from rtx.results.arrays import DAMAGED, pack, unpack
from rtx.results.conditions import grid_order
from rtx.types import CLEAN, Condition

INSIDE = "drift"
"""Name of the folder in a training run's folder."""
CARD, DRIFT_JSON, DRIFT_CSV = "card.json", "drift.json", "drift.csv"
FORMAT = "rtx.drift/1"
PAIRS = ("run", "source", "source_to_run")
MEASURES = ("cka", "cosine", "cosine_pooled")
_SHARED = ("images_sha256", "n_images", "minibatch", "features", "seed", "layers")
"""What two runs must have in common for values of the same images to be subtracted."""
_NORMAL = 1.959963984540054


def is_corrupted(condition: Condition) -> bool:
    """Whether it is not the clean images."""
    return condition != CLEAN


@dataclass(frozen=True)
class Similarity:
    """A value with the ends of its 95 % jackknife interval over images; NaN where it is undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class DriftCell:
    """What was measured under one condition.

    Attributes:
        values: (pairs, layers, measures) float64, in the order of `PAIRS`, the card's layers and `MEASURES`.
        without: (pairs, layers, measures, images), the same without each image.
    """

    values: NDArray[np.float64]
    without: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Drift:
    """All cells of a run.

    Attributes:
        name: of the run.
        card: `run`, `weights_sha256`, `layers` and what else the numbers depend on.
        cells: by condition.
    """

    name: str
    card: Mapping[str, Any]
    cells: Mapping[Condition, DriftCell]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names, in the order of the network."""
        return tuple(self.card["layers"])

    def has(self, pair: str) -> bool:
        """Whether a pair was compared."""
        return any(bool(np.isfinite(cell.values[PAIRS.index(pair)]).any()) for cell in self.cells.values())

    def mean(self, pair: str, measure: str, chosen: Callable[[Condition], bool] = is_corrupted) -> list[Similarity]:
        """Mean over the chosen conditions, all corrupted ones if nothing is said, of each layer."""
        return [_similarity(*both) for both in self._means(pair, measure, chosen)]

    def minus(
        self, other: Drift, pair: str, measure: str, chosen: Callable[[Condition], bool]
    ) -> list[Similarity] | None:
        """Difference of the means to those of another run, paired by image; None where images or layers are others."""
        if any(self.card.get(key) != other.card.get(key) for key in _SHARED):
            return None
        if set(filter(chosen, self.cells)) != set(filter(chosen, other.cells)):
            return None
        both = zip(self._means(pair, measure, chosen), other._means(pair, measure, chosen), strict=True)
        return [_similarity(a - b, x - y) for (a, x), (b, y) in both]

    def _means(
        self, pair: str, measure: str, chosen: Callable[[Condition], bool]
    ) -> list[tuple[float, NDArray[np.float64]]]:
        at = PAIRS.index(pair), slice(None), MEASURES.index(measure)
        cells = [cell for condition, cell in self.cells.items() if chosen(condition)]
        if not cells:
            return [(math.nan, np.full(2, np.nan))] * len(self.layers)
        values = np.mean([cell.values[at] for cell in cells], 0)
        without = np.mean([cell.without[at] for cell in cells], 0)
        return list(zip(values.tolist(), without, strict=True))


def _similarity(value: float, without: NDArray[np.float64]) -> Similarity:
    """With the interval of the delete-one jackknife (Efron & Tibshirani, 1993, section 11.5)."""
    n = len(without)
    half = _NORMAL * math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
    return Similarity(value, value - half, value + half)


class DriftFolder:
    """The cells of one run on disk.

    Args:
        root: the folder; it is made on the first write.
        card: what defines the numbers, JSON values.
        overwrite: replace what is there by another card.

    Raises:
        RunConflict: the folder holds cells by another card; the first field that differs is named.
    """

    def __init__(self, root: Path, card: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.root = root
        self.card: dict[str, Any] = json_ready(card)
        self.key = hashlib.sha256(json.dumps(self.card, sort_keys=True).encode()).hexdigest()
        path = root / CARD
        if not path.is_file() or overwrite:
            return
        try:
            there = read_json(path)
        except (OSError, ValueError) as error:
            raise BadValue(f"{path}: cannot be read as a card ({error}); measure again with --overwrite") from error
        if other := [name for name in self.card if there.get(name) != self.card[name]]:
            old, new = (json.dumps(card.get(other[0]))[:60] for card in (there, self.card))
            raise RunConflict(
                f"{path}: is of other weights, images or options ({other[0]} {old}, now {new}); give another --out, or "
                "measure again with --overwrite"
            )

    def read(self, condition: Condition) -> DriftCell | None:
        """A finished cell; None where it is not there, damaged, or by another card."""
        try:
            head, arrays = unpack(self._path(condition), FORMAT)
            return DriftCell(arrays["values"], arrays["without"]) if head["key"] == self.key else None
        except DAMAGED:
            return None

    def write(self, condition: Condition, cell: DriftCell) -> None:
        """Write a cell whole, after the card.

        Raises:
            OutputError: it cannot be written.
        """
        write_atomic(self.root / CARD, json.dumps(self.card, indent=1) + "\n")
        head = {"format": FORMAT, "key": self.key, "condition": condition.key}
        write_whole(self._path(condition), pack(head, {"values": cell.values, "without": cell.without}))

    def finish(self, conditions: Sequence[Condition]) -> Drift:
        """Read the cells of these conditions and write `drift.json` and `drift.csv` of them.

        Raises:
            OutputError: they cannot be written.
        """
        cells = {c: cell for c in sorted(conditions, key=grid_order) if (cell := self.read(c)) is not None}
        drift = Drift(self.card["run"], self.card, cells)
        by_condition = {c.key: _rows(drift, lambda other, c=c: other == c) for c in cells}  # type: ignore[misc]
        content: dict[str, Any] = {"format": FORMAT, "key": self.key, "card": self.card}
        content |= {"mean": _rows(drift), "conditions": by_condition}
        stream = io.StringIO()
        names = ["condition", "pair", "layer", "measure", "value", "low", "high"]
        table = csv.DictWriter(stream, names, lineterminator="\n")
        table.writeheader()
        for key, rows in (("mean", content["mean"]), *by_condition.items()):
            table.writerows({"condition": key, **row} for row in rows)
        write_atomic(self.root / DRIFT_CSV, stream.getvalue())
        write_atomic(self.root / DRIFT_JSON, json.dumps(json_ready(content), indent=1) + "\n")
        return drift

    def _path(self, condition: Condition) -> Path:
        return self.root / "cells" / f"{condition.key}.npz"


def _rows(drift: Drift, chosen: Callable[[Condition], bool] = is_corrupted) -> list[dict[str, Any]]:
    found = []
    for pair in PAIRS:
        for measure in MEASURES:
            for layer, one in zip(drift.layers, drift.mean(pair, measure, chosen), strict=True):
                if math.isfinite(one.value):
                    found.append({"pair": pair, "layer": layer, "measure": measure, **vars(one)})
    return found


def read_drift(root: Path) -> Drift | None:
    """The drift in a folder; None where there is none that is finished.

    Raises:
        BadValue: its files are damaged.
    """
    if not (root / DRIFT_JSON).is_file():
        return None
    try:
        content = read_json(root / DRIFT_JSON)
        folder = DriftFolder(root, content["card"], overwrite=True)
        if content["format"] != FORMAT or content["key"] != folder.key:
            raise ValueError("its card and its key do not fit")
        conditions = [Condition.from_key(key) for key in content["conditions"]]
        cells = {condition: folder.read(condition) for condition in conditions}
        if missing := [condition.key for condition, cell in cells.items() if cell is None]:
            raise ValueError(f"the cell {missing[0]} is not there, or of another card")
    except (OSError, ValueError, LookupError, TypeError, BadValue) as error:
        raise BadValue(f"{root}: cannot be read as drift ({error}); rtx drift RUN writes it again") from error
    return Drift(folder.card["run"], folder.card, {c: cell for c, cell in cells.items() if cell is not None})
