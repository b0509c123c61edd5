"""YOLO: `data.yaml` with class names and splits, and a text file of boxes or outlines for each image."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtx.datasets.image_files import SUFFIXES, image_sizes
from rtx.datasets.layout import DataFolder, Layout, files_in, unsaid
from rtx.datasets.yolo_labels import annotation, label_file, read_labels
from rtx.errors import DataError, some
from rtx.metrics.coco_file import Tables

NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class YoloFolder:
    """What `data.yaml` says.

    Attributes:
        file: `data.yaml` itself.
        base: the folder that the splits start from.
        names: class names; class n of the label files is number n.
        splits: split -> the folders and lists of its images, as they are written.
        notes: what a person must know.
    """

    file: Path
    base: Path
    names: tuple[str, ...]
    splits: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()


def find_file(root: Path) -> Path | None:
    """`data.yaml` by one of its usual names, else the only YAML file with `names` and a split; None without one."""
    usual = next((root / name for name in NAMES if (root / name).is_file()), None)
    if usual is not None:
        return usual
    others = [path for path in (*root.glob("*.yaml"), *root.glob("*.yml")) if _describes(path)]
    return others[0] if len(others) == 1 else None


def _describes(path: Path) -> bool:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return False
    return bool(re.search(r"^names\s*:", text, re.M) and re.search(rf"^({'|'.join(SPLITS)})\s*:", text, re.M))


def read_folder(root: Path) -> YoloFolder:
    """Read the `data.yaml` of a folder.

    Raises:
        DataError: there is none; it cannot be read; names or splits are missing or of another form; or `path` and the
            splits lead out of the folder.
    """
    file = find_file(root)
    if file is None:
        raise DataError(f"data folder {str(root)!r} has no data.yaml with names and splits; write one, or give another")
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{file} cannot be read ({reason}); it must be YAML with names, train and val") from error
    if not isinstance(content, dict):
        raise DataError(f"{file} holds a {type(content).__name__}; it must be YAML with names, train and val")
    names = _names(content.get("names"), file)
    if "nc" in content and content["nc"] != len(names):
        raise DataError(f"{file}: nc is {content['nc']!r}, but {len(names)} names are there; correct one of them")
    splits = {split: _entries(content[split], split, file) for split in SPLITS if content.get(split)}
    if not splits:
        raise DataError(f"{file} names no split ({', '.join(SPLITS)}); write the folder of its images for each")
    base, notes = _base(content.get("path"), file)
    return YoloFolder(file, base, names, splits, notes)


def _names(value: Any, file: Path) -> tuple[str, ...]:
    if isinstance(value, dict):
        if sorted(value, key=str) != sorted(range(len(value)), key=str):
            raise DataError(f"{file}: the names have the numbers {some(value)}; they must count from 0 without gaps")
        value = [value[n] for n in range(len(value))]
    if not isinstance(value, list) or not value or not all(isinstance(name, str | int | float) for name in value):
        raise DataError(f"{file}: names is {str(value)[:60]!r}; it must be a list of class names, or number: name")
    names = tuple(map(str, value))
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{file}: the class name {twice[0]!r} occurs twice; give each its own")
    return names


def _entries(value: Any, split: str, file: Path) -> tuple[str, ...]:
    entries = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, str) and entry.strip() for entry in entries):
        raise DataError(
            f"{file}: {split} is {str(value)[:60]!r}; it must be a folder of images, a list file, or several"
        )
    return tuple(entry.strip() for entry in entries)


def _base(path: Any, file: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder that `path` means: inside the data folder, which may have been moved since it was written."""
    home = file.parent
    if path is None or str(path).strip() in ("", "."):
        return home, ()
    named = home / str(path).strip()
    if named.is_dir() and named.resolve().is_relative_to(home.resolve()):
        return named, ()
    return home, (f"{file}: path {str(path)!r} is no folder in {home}; the splits are looked for in {home} itself",)


def image_files(folder: YoloFolder, split: str) -> list[Path]:
    """The images of a split, sorted, whether those of a list are there or not.

    Raises:
        DataError: `data.yaml` has no such split, a folder or list is missing, or leads out of the data folder; a list
            cannot be read or an image is listed twice; or there is no image.
    """
    if split not in folder.splits:
        raise unsaid(folder.file, f"split {split!r}", folder.splits)
    found = [path for entry in folder.splits[split] for path in _listed(folder, split, entry)]
    if twice := [path for path, count in Counter(found).items() if count > 1]:
        raise DataError(
            f"{folder.file}: {len(twice)} images of {split} are listed twice: {some(twice)}; leave one each"
        )
    if not found:
        raise DataError(
            f"{folder.file}: {split} ({', '.join(folder.splits[split])}) holds no image ({', '.join(SUFFIXES)})"
        )
    return sorted(found)


def _listed(folder: YoloFolder, split: str, entry: str) -> Iterator[Path]:
    home = folder.file.parent
    # Roboflow writes ../train/images for what lies in train/images; Ultralytics looks in both places.
    places = [folder.base / entry, *([folder.base / entry[3:]] if entry.startswith("../") else [])]
    place = next((p for p in places if p.exists() and p.resolve().is_relative_to(home.resolve())), None)
    if place is None:
        outside = next((p for p in places if p.exists()), None)
        where = f"lies outside of {home}; give the folder that holds it" if outside else "is not there"
        raise DataError(f"{folder.file}: {split} is {entry!r}, which {where} (looked for {places[0]})")
    if place.is_dir():
        yield from (place / path for path in files_in(place, place))
        return
    try:
        lines = place.read_bytes().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{place} cannot be read ({error}); it must list one image a line") from error
    for number, line in enumerate(lines, start=1):
        if not (name := line.strip()):
            continue
        path = (place.parent if name.startswith("./") else folder.base) / name
        if ".." in path.relative_to(home).parts if path.is_relative_to(home) else True:
            raise DataError(f"{place}: line {number} is {name[:60]!r}, which leads out of {home}; write relative names")
        yield path


def files_of(root: Path, split: str) -> Iterator[Path]:
    """Every file that the labels of a split depend on."""
    folder = read_folder(root)
    yield folder.file
    for image in image_files(folder, split):
        yield from (image, label_file(image, root))


def read_split(root: Path, split: str) -> tuple[Tables, tuple[str, ...]]:
    """The images and objects of a split in COCO's form, and what a person must know about them.

    Category n + 1 is class n, and an image's id is its file name without suffix, as a number where every one is: so
    Ultralytics writes its predictions, but that it mixes the two. Images without a label file have no object; a line
    that is there twice counts once (Ultralytics' rules, both).

    Raises:
        DataError: as `read_folder` and `image_files`; images are missing; a label file cannot be read, or a line in it
            is no box or outline; or two images have one name.
    """
    folder = read_folder(root)
    images = image_files(folder, split)
    if lost := [path for path in images if not path.is_file()]:
        raise DataError(
            f"{len(lost)} of {len(images)} images are missing: {some(lost)}; complete the folder or take them out of "
            "the list"
        )
    labels = [label_file(path, root) for path in images]
    bare = [path for path in labels if not path.is_file()]
    if len(bare) == len(labels):
        raise DataError(f"{folder.file}: no image of {split} has a label file (looked for {some(bare, 1)})")
    with ThreadPoolExecutor(8) as pool:
        sizes = [shown for shown, *_ in pool.map(image_sizes, images)]
        read = list(pool.map(lambda path: read_labels(path, len(folder.names)), labels))
    rows: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    repeated = 0
    numbered = all(path.stem.isdecimal() and path.stem.isascii() for path in images)
    for path, (height, width), objects in zip(images, sizes, read, strict=True):
        key = int(path.stem) if numbered else path.stem
        name = path.relative_to(root).as_posix()
        rows.append(dict(id=key, file_name=name, width=width, height=height))
        repeated += len(objects) - len(set(objects))
        for values in dict.fromkeys(objects):
            annotations.append(annotation(values, key, len(annotations) + 1, width, height))
    if twice := [key for key, count in Counter(row["id"] for row in rows).items() if count > 1]:
        both = [row["file_name"] for row in rows if row["id"] == twice[0]]
        raise DataError(
            f"{root}: {some(both)} have the same name, {twice[0]!r}, by which images are told apart; rename"
        )
    categories = [dict(id=n + 1, name=name) for n, name in enumerate(folder.names)]
    notes = list(folder.notes)
    if bare:
        notes.append(f"{len(bare)} of {len(images)} images have no label file and count as empty: {some(bare)}")
    if repeated:
        notes.append(f"{repeated} lines of the label files are there twice and count once")
    return dict(images=rows, categories=categories, annotations=annotations), tuple(notes)


def _recognised(root: Path) -> bool:
    return find_file(root) is not None


def _evaluated(root: Path, split: str | None) -> DataFolder:
    folder = read_folder(root)
    images = image_files(folder, split or "val")
    labels = [path for path in (label_file(image, root) for image in images) if path.is_file()]
    lists = [folder.base / entry for entries in folder.splits.values() for entry in entries if entry.endswith(".txt")]
    files = [folder.file, *labels, *(path for path in lists if path.is_file() and path.is_relative_to(root))]
    # A copy must not lead tools that follow `path` back to the clean images.
    text = re.sub(r"^path\s*:[^\n]*\n", "", folder.file.read_text(encoding="utf-8-sig"), flags=re.M)
    texts = {folder.file.relative_to(root): text} if folder.base == folder.file.parent else {}
    pictures, labels = [path.relative_to(root) for path in images], [path.relative_to(root) for path in files]
    return DataFolder(root, "yolo", tuple(pictures), tuple(labels), folder.notes, texts)


LAYOUT = Layout("yolo", "YOLO (data.yaml, images and labels/*.txt)", _recognised, _evaluated)
