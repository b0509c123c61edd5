"""What a probe of a source on a target found: one file, written after each size; the next command goes on with it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rtx.errors import DataError, RunConflict
from rtx.files import json_ready, read_json, write_atomic

CSV = "probe.csv"
SETTINGS = (
    "preprocessing", "normalise", "image_size", "subset_rule", "head_init", "caltech_split", "subset",
)  # fmt: skip
"""Columns that keep rows apart which do not compare."""


@dataclass(frozen=True)
class HeadRow:
    """One head.

    Attributes:
        images: training images.
        seed: of the subset, the folds and the head.
        accuracy: top-1 on the test set, in [0, 1].
        mean_per_class: mean of the classes' recalls there.
        selected_on: what the decay was chosen on: "held-out", "test", "default"; "none" for a head by SGD.
        decay: weight decay in the features' units, as scikit-learn's 1 / (C n).
        relative_decay: of the grid, relative to the features' spread.
        held_out_accuracy: of the chosen decay.
        at_edge: the decay is the smallest or largest of the grid.
        converged: the fit reached its tolerance.
        whole: these are all training images of the data.
        seconds: of all heads fitted for this row, the feature pass not counted.
    """

    images: int
    seed: int
    accuracy: float
    mean_per_class: float
    selected_on: str
    seconds: float
    decay: float | None = None
    relative_decay: float | None = None
    held_out_accuracy: float | None = None
    at_edge: bool = False
    converged: bool = True
    whole: bool = False


@dataclass(frozen=True)
class Results:
    """The rows of one source on one target with one kind of head.

    Attributes:
        path: of the file.
        settings: JSON values that every number depends on, and the cache keys.
        rows: by images, then seed.
    """

    path: Path
    settings: Mapping[str, Any]
    rows: tuple[HeadRow, ...]

    @property
    def source(self) -> str:
        """As it was given."""
        return str(self.settings["source"])

    def missing(self, images: int, seeds: Iterable[int]) -> list[int]:
        """The seeds without a row for this many images."""
        there = {row.seed for row in self.rows if row.images == images}
        return [seed for seed in seeds if seed not in there]

    def with_rows(self, more: Iterable[HeadRow]) -> Results:
        """With more rows, written.

        Raises:
            OutputError: it cannot be written.
        """
        rows = tuple(sorted({*self.rows, *more}, key=lambda row: (row.images, row.seed)))
        content = {"settings": self.settings, "rows": [asdict(row) for row in rows]}
        write_atomic(self.path, json.dumps(json_ready(content), indent=1) + "\n")
        return Results(self.path, self.settings, rows)


def file_name(*words: str) -> str:
    """A file name of a few words, e.g. of source, target and head."""
    return "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", word).strip("-.") for word in words) + ".json"


def open_results(path: Path, settings: Mapping[str, Any]) -> Results:
    """What is there of a probe with these settings.

    Raises:
        RunConflict: the file has other settings.
        DataError: it is damaged.
    """
    wanted = json.loads(json.dumps(settings))
    if not path.is_file():
        return Results(path, wanted, ())
    found = read_results(path)
    odd = [name for name in {**wanted, **found.settings} if wanted.get(name) != found.settings.get(name)]
    if odd:
        raise RunConflict(
            f"{path}: was made with another {', '.join(odd)} ({odd[0]}: {found.settings.get(odd[0])!r} there, "
            f"{wanted.get(odd[0])!r} asked for); choose another --out, or remove the file"
        )
    return found


def read_results(path: Path) -> Results:
    """Read a file of results.

    Raises:
        DataError: it is none, or damaged.
    """
    try:
        content = read_json(path)
        return Results(path, dict(content["settings"]), tuple(HeadRow(**row) for row in content["rows"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: is no file of probe results, or damaged ({error}); remove it and run again"
        ) from error


def write_csv(path: Path, results: Iterable[Results]) -> None:
    """One line a head, with source, target, kind of head, what else was set, and cache key.

    Raises:
        OutputError: it cannot be written.
    """
    shown = ("source", "target", "head", "view", *SETTINGS, "cache")
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*shown, *(field.name for field in fields(HeadRow))])
    for found in results:
        for row in found.rows:
            writer.writerow([*(found.settings.get(name) for name in shown), *asdict(row).values()])
    write_atomic(path, table.getvalue())
