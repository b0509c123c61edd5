"""Data folders as COCO, PASCAL VOC and ADE20K lay them out: which images are evaluated, which files go along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rtx.corruptions.files import SUFFIXES
from rtx.errors import DataError, unknown_name


@dataclass(frozen=True)
class DataFolder:
    """What is exported of a data folder.

    Attributes:
        root: the folder.
        layout: name of the layout.
        images: files to corrupt, relative to the root, sorted.
        labels: files that go along unchanged, relative to the root, sorted.
    """

    root: Path
    layout: str
    images: tuple[Path, ...]
    labels: tuple[Path, ...]


def find_images(root: Path, layout: str = "auto", split: str | None = None) -> DataFolder:
    """List a data folder.

    Args:
        root: the folder.
        layout: a key of `LAYOUTS`, or `auto` for the first that fits.
        split: what is evaluated, e.g. `val2017`, `test` or `validation`; the layout's own choice when None.

    Raises:
        DataError: the folder does not exist, or holds no image of that layout and split.
        UnknownName: no such layout.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; check the path")
    if layout != "auto" and layout not in LAYOUTS:
        raise unknown_name("layout", layout, place="rtx.corruptions.layouts.LAYOUTS", choices=["auto", *LAYOUTS])
    for name in LAYOUTS if layout == "auto" else [layout]:
        found = LAYOUTS[name](root, split)
        if found is not None and found[0]:
            return DataFolder(root, name, tuple(sorted(found[0])), tuple(sorted(found[1])))
    asked = f" of layout {layout!r}" if layout != "auto" else ""
    asked += f" in split {split!r}" if split else ""
    raise DataError(
        f"{root}: no images{asked} (looked for {', '.join(sorted(SUFFIXES))}); check the folder and the split"
    )


def _inside(folder: Path, root: Path, *, images: bool) -> list[Path]:
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return [p.relative_to(root) for p in files if (p.suffix.lower() in SUFFIXES) == images]


Found = tuple[list[Path], list[Path]]


def _coco(root: Path, split: str | None) -> Found | None:
    """`annotations/*.json` beside folders of images; the split is the name of a folder, those with `val` by default."""
    annotations = root / "annotations"
    if not annotations.is_dir() or not list(annotations.glob("*.json")):
        return None
    folders = [p for p in root.iterdir() if p.is_dir() and (p.name == split if split else "val" in p.name)]
    images = [p for folder in folders for p in _inside(folder, root, images=True)]
    labels = [p.relative_to(root) for p in annotations.glob("*.json") if "train" not in p.name]
    return images, labels


def _voc(root: Path, split: str | None) -> Found | None:
    """`VOCdevkit/VOC*/JPEGImages` (or without `VOCdevkit`), and lists in `ImageSets/Main`; `test`, else `val`."""
    images: list[Path] = []
    labels: list[Path] = []
    for year in sorted([*root.glob("VOCdevkit/VOC*"), *root.glob("VOC*")]):
        lists = year / "ImageSets" / "Main"
        listed = next((lists / f"{name}.txt" for name in ([split] if split else ["test", "val"])
                       if (lists / f"{name}.txt").is_file()), None)  # fmt: skip
        if listed is None or not (year / "JPEGImages").is_dir():
            continue
        # Some lists carry a flag behind the name.
        names = {line.split()[0] for line in listed.read_text().splitlines() if line.strip()}
        images += [p for p in _inside(year / "JPEGImages", root, images=True) if p.stem in names]
        labels.append(listed.relative_to(root))
        labels += [p.relative_to(root) for p in (year / "Annotations").glob("*.xml") if p.stem in names]
    return (images, labels) if images else None


def _ade(root: Path, split: str | None) -> Found | None:
    """`images/<split>` and `annotations/<split>` with label images; `validation` by default."""
    split = split or "validation"
    images, labels = root / "images" / split, root / "annotations" / split
    if not images.is_dir() or not labels.is_dir():
        return None
    extra = [p.relative_to(root) for p in root.glob("*.txt")]
    return _inside(images, root, images=True), [*_inside(labels, root, images=True), *extra]


def _folder(root: Path, split: str | None) -> Found | None:
    """Any folder; the split is a folder in it."""
    return _inside(root / split if split else root, root, images=True), []


LAYOUTS: dict[str, Callable[[Path, str | None], Found | None]] = {
    "coco": _coco,
    "voc": _voc,
    "ade": _ade,
    "folder": _folder,
}
