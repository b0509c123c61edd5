"""ADE20K: `images/<split>`, label maps in `annotations/<split>`, and a `classes.json` that says what they hold."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.datasets.image_files import SUFFIXES
from rtx.datasets.layout import DataFolder, Layout, files_in, unlabelled, unsaid
from rtx.errors import BadValue, DataError
from rtx.metrics.miou import reduced
from rtx.results.predictions import MAP_SUFFIXES, read_map

SPLIT_NAMES = {"train": ("training", "train"), "val": ("validation", "val")}
IGNORED = 255
VOID_KEYS = ("ignore", "ignore_index", "ignore_label", "void")
LABEL_KEYS = ("label", "id", "index", "trainId", "train_id")
MAPS_READ = 50


@dataclass(frozen=True)
class LabelTable:
    """The meaning of the numbers in label maps.

    Attributes:
        names: class names.
        labels: the number of each class in the label maps, None where the file does not say.
        void: numbers that mean "no class"; 255 always does.
        reduce: whether the file says that 0 is unlabelled and classes count from 1; None where it does not say.
        colours: one RGB for each class, or None.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...] | None
    void: tuple[int, ...] = ()
    reduce: bool | None = None
    colours: tuple[tuple[int, ...], ...] | None = None


def find_home(root: Path) -> Path:
    """The folder that holds `images` and `annotations`: the root, or `ADEChallengeData2016` in it."""
    inner = root / "ADEChallengeData2016"
    return inner if not (root / "images").is_dir() and (inner / "images").is_dir() else root


def split_folder(home: Path, split: str) -> str:
    """The name of a split's folder under `images`, the usual one where there is none."""
    names = SPLIT_NAMES[split]
    return next((name for name in names if (home / "images" / name).is_dir()), names[0])


def image_suffix(folder: Path) -> str:
    """Return the one suffix of the images in a folder, `.jpg` for an empty or missing folder.

    Raises:
        DataError: the images have different suffixes, of which mmseg reads only one.
    """
    found = Counter(path.suffix for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if len(found) > 1:
        counts = ", ".join(f"{n} x {suffix}" for suffix, n in found.most_common())
        raise DataError(
            f"{folder}: images have different suffixes ({counts}); convert them to one, mmseg reads only one"
        )
    return next(iter(found), ".jpg")


def map_name(image: Path, suffix: str, map_suffix: str) -> Path:
    """The label map of an image, both relative to their folders, whose names end with the suffixes."""
    return image.with_name(image.name.removesuffix(suffix) + map_suffix)


def read_table(path: Path) -> LabelTable:
    """Read a `classes.json`.

    Accepted: a list of names; a list of objects with `name` and a number (`label`, `id`, `index` or `trainId`);
    an object {number: name} or {name: number}; or any of these under `classes`, beside `ignore` / `ignore_index` /
    `void` (a number, a list of numbers, or a text that starts with one, as "11 = void") and `reduce_zero_label`.

    Raises:
        DataError: the file has another shape, or a name or number twice.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}); it should list the class names") from error
    head: dict[str, Any] = value if isinstance(value, dict) and "classes" in value else {}
    rows = head.get("classes", value)
    try:
        names, labels, colours = _rows(rows)
        void = tuple(sorted({n for key in VOID_KEYS if key in head for n in _numbers(head[key])}))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{path}: not a form that rtx knows ({error}); write a list of {{label, name}} objects"
        ) from error
    if not names or len(set(names)) != len(names) or (labels is not None and len(set(labels)) != len(labels)):
        raise DataError(f"{path}: no classes, or a name or label twice; give each class its own")
    if labels is not None and not all(0 <= label < IGNORED for label in labels):
        raise DataError(f"{path}: labels must lie in 0..254 (255 is void), but one is {max(labels, key=abs)}")
    if labels is not None and (both := set(labels) & set(void)):
        raise DataError(f"{path}: label {min(both)} is both a class and void")
    reduce = head.get("reduce_zero_label")
    return LabelTable(names, labels, void, None if reduce is None else bool(reduce), colours)


def _rows(rows: Any) -> tuple[tuple[str, ...], tuple[int, ...] | None, tuple[tuple[int, ...], ...] | None]:
    if isinstance(rows, dict):
        pairs = [(int(k), str(v)) if str(k).lstrip("-").isdigit() else (int(v), str(k)) for k, v in rows.items()]
        pairs.sort()
        return tuple(name for _, name in pairs), tuple(label for label, _ in pairs), None
    if not isinstance(rows, list):
        raise TypeError(f"it holds a {type(rows).__name__}")
    if all(isinstance(row, str) for row in rows):
        return tuple(rows), None, None
    names = tuple(str(row["name"]) for row in rows)
    key = next((key for key in LABEL_KEYS if all(key in row for row in rows)), None)
    labels = None if key is None else tuple(int(row[key]) for row in rows)
    colours = None
    if all(len(row.get("color") or ()) == 3 for row in rows):
        colours = tuple(tuple(int(part) for part in row["color"]) for row in rows)
    if labels is not None:
        numbers = labels
        order = sorted(range(len(rows)), key=numbers.__getitem__)
        names, labels = tuple(names[n] for n in order), tuple(numbers[n] for n in order)
        colours = tuple(colours[n] for n in order) if colours else None
    return names, labels, colours


def _numbers(value: Any) -> list[int]:
    if isinstance(value, (list, tuple)):
        return [n for part in value for n in _numbers(part)]
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int):
        return [value]
    found = re.match(r"\s*(\d+)", str(value))
    if found is None:
        raise ValueError(f"{value!r} does not start with a number")
    return [int(found.group(1))]


def settle(table: LabelTable, home: Path, folders: Iterable[str]) -> LabelTable:
    """Fill in what `classes.json` leaves open: whether classes count from 0 or from 1.

    With numbers given, they decide. With names alone, the label maps must: a largest label of n says 1..n.

    Raises:
        DataError: the label maps leave it open, or contradict the file.
    """
    n_classes = len(table.names)
    place = home / "classes.json"
    if table.labels is not None:
        from_one = 0 not in table.labels
        if table.reduce is not None and table.reduce != from_one:
            raise DataError(f"{place}: reduce_zero_label={table.reduce} contradicts its labels, which start at "
                            f"{min(table.labels)}")  # fmt: skip
        return replace(table, reduce=from_one)
    reduce = table.reduce
    if reduce is None and table.void:
        reduce = 0 in table.void
    if reduce is None:
        maps = [path for folder in folders for path in sorted((home / "annotations" / folder).glob("*.png"))]
        largest = max((n for n in labels_in(maps, len(maps)) if n != IGNORED), default=-1)
        if largest != n_classes:
            raise DataError(
                f"{place} names {n_classes} classes without numbers and the largest label is {largest}: that leaves "
                'open whether classes count from 0 or 1; write {"reduce_zero_label": true or false, "classes": [...]}'
            )
        reduce = True
    first = 1 if reduce else 0
    return replace(table, labels=tuple(range(first, n_classes + first)), reduce=reduce)


@dataclass(frozen=True)
class LabelRule:
    """How the numbers in label maps become class indices: ADE20K's rule, or a table.

    Attributes:
        reduce: label 0 is unlabelled and class n is label n + 1, see `rtx.metrics.miou.reduced`.
        pairs: (number in the label maps, class index or 255) of the numbers that the table changes.
    """

    reduce: bool
    pairs: tuple[tuple[int, int], ...] = ()

    def apply(self, label: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """A label map (H, W) of numbers up to 255 as class indices, 255 where nothing counts."""
        out: NDArray[np.uint8] = self.table[label.astype(np.uint8, copy=False)]
        return out

    @property
    def table(self) -> NDArray[np.uint8]:
        """(256,) what each number becomes."""
        table = np.arange(256, dtype=np.uint8)
        for old, new in self.pairs:
            table[old] = new
        return reduced(table, IGNORED).astype(np.uint8) if self.reduce else table


def label_rule(table: LabelTable) -> LabelRule:
    """The rule of a settled table; ADE20K's where that says it all."""
    assert table.labels is not None and table.reduce is not None
    n_classes, first = len(table.names), 1 if table.reduce else 0
    plain = table.labels == tuple(range(first, n_classes + first))
    if plain and set(table.void) <= {IGNORED, *range(first)}:
        return LabelRule(table.reduce)
    pairs = [(label, index) for index, label in enumerate(table.labels) if label != index]
    if plain:
        others = sorted({*table.void, *range(first)})
    else:  # with gaps, a number that is no class could pass for one after the mapping
        others = [label for label in range(IGNORED) if label not in table.labels]
    pairs += [(label, IGNORED) for label in others if label not in table.labels and label != IGNORED]
    return LabelRule(False, tuple(pairs))


def label_maps(folder: Path) -> dict[str, Path]:
    """Label maps of a folder at any depth, by file name without suffix.

    Raises:
        DataError: there is none, or two have one name.
    """
    files = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in MAP_SUFFIXES] if folder.is_dir() else []
    found = {path.stem: path for path in files}
    if not files or len(files) != len(found):
        what = "holds two label maps of one name" if files else "is no folder of label maps"
        raise DataError(f"{folder}: {what}; give the folder of the ground truth of the evaluated images")
    return found


def labels_in(files: Sequence[Path], most: int = MAPS_READ) -> dict[int, tuple[int, Path]]:
    """The numbers in some label maps: each with its pixels and the first file that has it.

    Args:
        files: the label maps.
        most: how many of them are read, evenly spread.

    Raises:
        DataError: one is no image of one channel.
    """
    found: dict[int, tuple[int, Path]] = {}
    for path in spread(files, most):
        try:
            values, counts = np.unique(read_map(path, f"label map {path}"), return_counts=True)
        except BadValue as error:
            raise DataError(str(error)) from error
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            pixels, first = found.get(value, (0, path))
            found[value] = pixels + count, first
    return found


MOST_IGNORED = 0.5
"""A larger share of pixels that do not count is said; ADE20K's is 0.1, Cityscapes' 0.13."""


def void_for_class(
    found: dict[int, tuple[int, Path]], n_classes: int, ignored: Iterable[int] = (), *, void: int = IGNORED
) -> str | None:
    """A warning if `void` seems to be a class, as 255 in binary masks, or most pixels do not count; else None.

    Args:
        found: as of `labels_in`.
        n_classes: how many classes there are.
        ignored: numbers besides `void` that are no class.
        void: the number of pixels that do not count.
    """
    none = {void, *ignored}
    classes = sorted(set(found) - none)
    total = sum(count for count, _ in found.values())
    if n_classes > 1 and len(classes) == 1 and void in found:
        pixels, path = found[void]
        return (
            f"label maps such as {path} hold class {classes[0]} and no other, and {pixels / total:.0%} of their pixels "
            f"are {void}, which does not count; if {void} stands for a class, as in binary masks, save the class's "
            "number instead"
        )
    left_out = {label: found[label] for label in sorted(none & set(found))}
    share = sum(count for count, _ in left_out.values()) / max(total, 1)
    if not classes or share <= MOST_IGNORED:
        return None
    largest = max(left_out, key=lambda label: left_out[label][0])
    return (
        f"{share:.0%} of the pixels of the label maps do not count ({', '.join(map(str, left_out))}), as in "
        f"{left_out[largest][1]}; if {largest} stands for a class, give it a number of its own"
    )


def spread(items: Sequence[Path], n: int) -> list[Path]:
    """At most `n` items, evenly spread, the first included."""
    return list(items) if len(items) <= n else [items[k * len(items) // n] for k in range(n)]


def _recognised(root: Path) -> bool:
    home = find_home(root)
    return (home / "images").is_dir() and (home / "annotations").is_dir()


def _evaluated(root: Path, split: str | None) -> DataFolder | None:
    home = find_home(root)
    name = split or split_folder(home, "val")
    images, labels = home / "images" / name, home / "annotations" / name
    if not images.is_dir() or not labels.is_dir():
        splits = [p.name for p in home.glob("images/*") if p.is_dir() and (home / "annotations" / p.name).is_dir()]
        if splits and not split:
            raise unsaid(home, "images/validation with annotations/validation", splits)
        return None
    extra = [p.relative_to(root) for pattern in ("*.txt", "classes.json") for p in home.glob(pattern)]
    files = files_in(images, root)
    maps = [labels / (root / path).relative_to(images).with_suffix(".png") for path in files]
    lost = [path for path in maps if not path.is_file()]
    notes = (unlabelled(lost, len(files)),) if lost else ()
    return DataFolder(root, "ade", tuple(files), (*files_in(labels, root), *extra), notes)


LAYOUT = Layout(
    "ade", "ADE20K (images/{training,validation}, annotations/{training,validation})", _recognised, _evaluated
)
