"""The interface of a data layout: its name, how it is recognised, and the images it evaluates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rtx.datasets.image_files import SUFFIXES
from rtx.errors import DataError, some


@dataclass(frozen=True)
class DataFolder:
    """The evaluated part of a data folder.

    Attributes:
        root: the folder.
        layout: name of the layout.
        images: image files, relative to the root.
        labels: files with what is known about them, relative to the root.
        notes: what a person must know about the choice.
        texts: what some of the labels say in a copy of the folder, where that is not what they say here.
    """

    root: Path
    layout: str
    images: tuple[Path, ...]
    labels: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    texts: Mapping[Path, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """One data layout; a new one is a file with its row, and a line in `rtx.datasets.layouts`.

    Attributes:
        name: as users give it.
        form: the layout in words.
        recognised: whether a folder has it.
        evaluated: what is evaluated in a folder, of a split or of the layout's own choice (None); None where there is
            nothing. Raises `DataError` where the folder does not say what is evaluated.
    """

    name: str
    form: str
    recognised: Callable[[Path], bool]
    evaluated: Callable[[Path, str | None], DataFolder | None]


_PARTS_OF_LAYOUTS = frozenset(
    "data datasets VOCdevkit VOC2007 VOC2012 annotations labels images train training val validation test".split()
)


def data_name(place: str | Path) -> str | None:
    """What a data set is called in tables, from where it or its annotations lie; None where only its layout has a name.

    Example:
        >>> data_name("sets/fruits/VOCdevkit/"), data_name("coco/annotations/instances_val2017.json"), data_name("data")
        ('fruits', 'coco', None)
    """
    parts = Path(place).parts
    parts = parts[:-1] if parts and parts[-1].endswith(".json") else parts
    return next((part for part in reversed(parts) if part not in _PARTS_OF_LAYOUTS and part not in ("..", "/")), None)


def files_in(folder: Path, root: Path) -> list[Path]:
    """Images of a folder at any depth, relative to the root."""
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return [p.relative_to(root) for p in files if p.suffix.lower() in SUFFIXES]


def unlabelled(lost: Sequence[Path], n_images: int) -> str:
    """The note on images whose labels are not there, so that they cannot be evaluated."""
    return f"{len(lost)} of the {n_images} images have no labels and cannot be evaluated, such as {some(lost)}"


def unsaid(place: Path, wanted: str, splits: Iterable[str]) -> DataError:
    """The error of a folder with other splits than `wanted`: its images may be those that models are trained on."""
    there = sorted(set(splits), key=lambda name: ("train" in name, name))
    named = f"name one of {', '.join(there)} by --split" if there else "complete the folder"
    return DataError(f"{place}: has no {wanted}; {named}, or export every image with --layout folder")
