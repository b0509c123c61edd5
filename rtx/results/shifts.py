"""Natural shifts: other test sets of one evaluation, each an evaluation folder of clean images inside it.

    <evaluation>/shifts/<name>/     a cell `clean`, its evidence, intervals and protocol card

They stand beside the corruptions and are part of no mean; the card and the keys of the evaluation around them do not
know them.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rtx.corruptions import CORRUPTIONS
from rtx.errors import BadValue
from rtx.results.folder import PROTOCOL, SHIFTS, SUMMARY
from rtx.results.protocol import FIELDS, MODEL
from rtx.types import CLEAN

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,59}")


def parse_shifts(words: Iterable[str]) -> dict[str, str]:
    """Read `NAME=DIR` words.

    Raises:
        BadValue: a word of another form, a name that cannot be a folder's or is a corruption's, or a name twice.

    Example:
        >>> parse_shifts(["sketch=data/coco_o/sketch"])
        {'sketch': 'data/coco_o/sketch'}
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, place = word.partition("=")
        if not equals or not place:
            raise BadValue(f"--shift {word}: must be NAME=DIR, e.g. sketch=data/coco_o/sketch")
        if name in found:
            raise BadValue(
                f"--shift {word}: the name {name!r} is taken by {found[name]}; name each test set differently"
            )
        check_name(name)
        found[name] = place
    return found


def check_name(name: str) -> None:
    """Refuse a name that cannot stand beside corruptions in tables and file names.

    Raises:
        BadValue: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise BadValue(f"shift {name!r}: must be letters, digits and _ . + - , at most 60")
    if name == CLEAN.corruption or name.rpartition("_")[0] in CORRUPTIONS or name in CORRUPTIONS:
        raise BadValue(f"shift {name!r}: is the name of a condition of the evaluation itself; take another")


def shift_folder(root: Path, name: str) -> Path:
    """Where the evaluation of a shift lies."""
    return root / SHIFTS / name


def shift_folders(root: Path) -> dict[str, Path]:
    """The shifts that were begun, by name."""
    return {path.name: path for path in sorted((root / SHIFTS).glob("*")) if (path / PROTOCOL).is_file()}


def read_shifts(root: Path, card: Mapping[str, Any], metric: str, clean: float | None) -> dict[str, dict[str, Any]]:
    """What is known of the finished shifts of an evaluation.

    Args:
        root: the evaluation folder.
        card: its protocol card; a shift of another model is passed over with a warning.
        metric: its headline.
        clean: its score on clean images, a fraction.

    Returns:
        Name -> `value` of the metric, its `interval` ([low, high] or None), `relative` (value / clean), `n_images`,
        `preview`, `metrics`, `flags`, `data` (what the test set is called) and the `key` of its protocol.
    """
    found = {}
    for name, folder in shift_folders(root).items():
        try:
            summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
            cell, theirs = summary["cells"][CLEAN.key], summary["protocol"]
            value = cell["metrics"][metric]
            ends = (summary.get("intervals") or {}).get("P") if summary["metric"] == metric else None
            row = dict(n_images=cell["n_images"], preview=summary["preview"], metrics=cell["metrics"])
            row |= dict(flags=cell["flags"], data=(theirs.get("labels") or {}).get("data"), key=summary["key"])
        except FileNotFoundError:
            continue  # not finished
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s: cannot be read (%s: %s), the shift is left out", folder, type(error).__name__, error)
            continue
        if other := [
            n for n, f in FIELDS.items() if f.tag == MODEL and n != "config_sha256" and card.get(n) != theirs.get(n)
        ]:
            log.warning("%s: was evaluated with another model (%s), the shift is left out", folder, ", ".join(other))
            continue
        found[name] = dict(value=value, interval=ends, relative=value / clean if clean and value is not None else None)
        found[name] |= row
    return found
