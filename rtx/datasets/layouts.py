"""Data folders as COCO, PASCAL VOC and ADE20K lay them out: which images are evaluated, which files go along."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from rtx.datasets.image_files import SUFFIXES
from rtx.errors import DataError, unknown_name


@dataclass(frozen=True)
class DataFolder:
    """What is exported of a data folder.

    Attributes:
        root: the folder.
        layout: name of the layout.
        images: files to corrupt, relative to the root, sorted.
        labels: files that go along unchanged, relative to the root, sorted.
        notes: what a person must know about the choice.
    """

    root: Path
    layout: str
    images: tuple[Path, ...]
    labels: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def find_images(root: Path, layout: str = "auto", split: str | None = None) -> DataFolder:
    """List a data folder.

    Args:
        root: the folder.
        layout: a key of `LAYOUTS`, or `auto` for the first that fits.
        split: what is evaluated, e.g. `val2017`, `test` or `validation`; the layout's own choice when None.

    Raises:
        DataError: the folder does not exist, holds no image of that layout and split, or does not say what is
            evaluated.
        UnknownName: no such layout.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; check the path")
    if layout != "auto" and layout not in LAYOUTS:
        raise unknown_name("layout", layout, place="rtx.datasets.layouts.LAYOUTS", choices=["auto", *LAYOUTS])
    for name in LAYOUTS if layout == "auto" else [layout]:
        found = LAYOUTS[name](root, split)
        if found is not None and found[0]:
            images, labels, notes = found
            return DataFolder(root, name, tuple(sorted(images)), tuple(sorted(labels)), tuple(notes))
    asked = f" of layout {layout!r}" if layout != "auto" else ""
    asked += f" in split {split!r}" if split else ""
    raise DataError(
        f"{root}: no images{asked} (looked for {', '.join(sorted(SUFFIXES))}); check the folder and the split"
    )


def _inside(folder: Path, root: Path, *, images: bool) -> list[Path]:
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return [p.relative_to(root) for p in files if (p.suffix.lower() in SUFFIXES) == images]


Found = tuple[list[Path], list[Path], list[str]]


def _coco(root: Path, split: str | None) -> Found | None:
    """`annotations/*_<split>.json`, and the images that it lists; `val2017`, else `val`, by default.

    Images are looked for where `rtx.datasets.openmmlab.coco` looks for them. A folder without annotations (`test2017`)
    is taken whole when it is asked for by its name.
    """
    files = sorted((root / "annotations").glob("*.json"), key=lambda p: (not p.name.startswith("instances_"), p.name))
    if not files:
        return None
    labels = [p.relative_to(root) for p in files if "train" not in p.name]
    for name in (split,) if split else ("val2017", "val"):
        for file in files:
            if file.stem == name or file.stem.endswith(f"_{name}"):
                images, notes = _listed(root, file, name)
                if images:
                    return images, sorted({*labels, file.relative_to(root)}), notes
    if split:
        folder = next((p for p in (root / split, root / "images" / split) if p.is_dir()), None)
        if folder is None:
            return None
        note = f"no annotation file lists images of {split!r}: all images of {folder.relative_to(root)} are taken"
        return _inside(folder, root, images=True), labels, [note]
    raise _unsaid(root, "val2017 or val with its images", (p.stem.rpartition("_")[2] for p in files))


def _unsaid(root: Path, wanted: str, splits: Iterable[str]) -> DataError:
    """Taking every image instead would take those that models are trained on, too."""
    there = sorted(set(splits), key=lambda name: ("train" in name, name))
    named = f"one of {', '.join(there)} by --split" if there else "a folder in it"
    return DataError(f"{root}: has no {wanted}; name {named}, or take every image with --layout folder")


def _listed(root: Path, file: Path, name: str) -> tuple[list[Path], list[str]]:
    """The images of an annotation file that are there, relative to the root."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        names = [Path(row["file_name"]) for row in content["images"]]
    except (OSError, ValueError, KeyError, TypeError):
        return [], []  # captions of another tool, a table of classes
    for image in names:
        if image.is_absolute() or ".." in image.parts:
            raise DataError(f"{file}: file_name {str(image)!r} leads out of the data folder; write relative names")
    other = name.removesuffix("2017") if name.endswith("2017") else f"{name}2017"
    for place in (name, other, f"images/{name}", f"images/{other}", "images", "."):
        there = [p for p in names if p.suffix.lower() in SUFFIXES and (root / place / p).is_file()]
        if there:
            lost = len(names) - len(there)
            notes = [f"{lost} of the {len(names)} images that {file} lists are not in {root / place}"] if lost else []
            return [Path(place) / p for p in there], notes
    return [], []


def _voc(root: Path, split: str | None) -> Found | None:
    """`VOC*/JPEGImages`, in `VOCdevkit` or not, or one year, and lists in `ImageSets/Main`.

    One year, the one that is evaluated and scored: the first that has `test`, else the first that has `val`.
    """
    years = sorted(root.glob("VOC20*")) or sorted(root.glob("VOCdevkit/VOC20*")) or [root]
    years = [year for year in years if (year / "JPEGImages").is_dir()]
    for name in (split,) if split else ("test", "val"):
        for year in years:
            listed = year / "ImageSets" / "Main" / f"{name}.txt"
            if listed.is_file():
                # Some lists carry a flag behind the name.
                names = {line.split()[0] for line in listed.read_text().splitlines() if line.strip()}
                images = [p for p in _inside(year / "JPEGImages", root, images=True) if p.stem in names]
                labels = [p.relative_to(root) for p in (year / "Annotations").glob("*.xml") if p.stem in names]
                others = [y.name for y in years if y != year]
                notes = [f"only {name} of {year.name}; {', '.join(others)} not"] if others else []
                return images, [listed.relative_to(root), *labels], notes
    lists = [path.stem for year in years for path in (year / "ImageSets" / "Main").glob("*.txt")]
    if lists and not split:
        raise _unsaid(root, "ImageSets/Main/test.txt or val.txt", (name for name in lists if "_" not in name))
    return None


def _ade(root: Path, split: str | None) -> Found | None:
    """`images/<split>` and `annotations/<split>` with label images; `validation` by default."""
    images, labels = (root / part / (split or "validation") for part in ("images", "annotations"))
    if not images.is_dir() or not labels.is_dir():
        splits = [p.name for p in root.glob("images/*") if p.is_dir() and (root / "annotations" / p.name).is_dir()]
        if splits and not split:
            raise _unsaid(root, "images/validation with annotations/validation", splits)
        return None
    extra = [p.relative_to(root) for p in root.glob("*.txt")]
    return _inside(images, root, images=True), [*_inside(labels, root, images=True), *extra], []


def _folder(root: Path, split: str | None) -> Found | None:
    """Any folder; the split is a folder in it."""
    return _inside(root / split if split else root, root, images=True), [], []


LAYOUTS: dict[str, Callable[[Path, str | None], Found | None]] = {
    "coco": _coco,
    "voc": _voc,
    "ade": _ade,
    "folder": _folder,
}
