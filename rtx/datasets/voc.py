"""PASCAL VOC: `VOCdevkit/VOC2007/{JPEGImages,Annotations,ImageSets/Main}`, read alike for every use.

Objects are what mmdet reads: corners cut to whole numbers, minus 1 on all four sides, as VOC counts pixels from 1.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

import numpy as np

from rtx.datasets.layout import DataFolder, Layout, files_in, unlabelled, unsaid
from rtx.errors import DataError, some
from rtx.metrics.voc import VocTruth

NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
# Best first. VOC2007 test and VOC2012 trainval are public with labels; many converted sets stop at train and val.
YEARS = ("VOC2007", "VOC2012")
EVAL_SPLITS = ("test", "val")
TRAIN_SPLITS = ("trainval", "train")
_LONGEST = 250  # bytes of a name, with a suffix behind it, that file systems take
_FLAG = re.compile(r"\s+-?[01]$")


@dataclass(frozen=True)
class VocPart:
    """One split of one year.

    Attributes:
        home: the folder of the year.
        listing: the split file.
        stems: image names without suffix, in the order of the file.
    """

    home: Path
    listing: Path
    stems: tuple[str, ...]

    def labels(self) -> list[Path]:
        """The annotation files, whether they are there or not."""
        return [self.home / "Annotations" / f"{stem}.xml" for stem in self.stems]

    def check_whole(self) -> None:
        """Check that every annotation file is there.

        Raises:
            DataError: some are missing.
        """
        lost = [path for path in self.labels() if not path.is_file()]
        if lost:
            raise DataError(
                f"{self.listing}: {len(lost)} of {len(self.stems)} annotation files are missing: {some(lost)}; "
                "complete the folder or take them out of the list"
            )


@dataclass(frozen=True)
class VocObject:
    """One labelled object: class name, and left, top, right, bottom counted from 0, the last pixel included."""

    name: str
    box: tuple[int, int, int, int]
    difficult: bool

    @property
    def empty(self) -> bool:
        """Whether the box has no area."""
        left, top, right, bottom = self.box
        return right <= left or bottom <= top


def find_years(root: Path) -> list[Path]:
    """The folders of the years: 2007 and 2012 first, then others by name; the root itself where it is one year.

    Raises:
        DataError: there is no VOC data set.
    """
    for base in (root, root / "VOCdevkit"):
        there = sorted(path for path in base.glob("VOC20*") if path.is_dir())
        if there:
            return sorted(there, key=lambda path: (path.name not in YEARS, path.name))
    if any((root / part).is_dir() for part in ("JPEGImages", "Annotations")):
        return [root]
    raise DataError(
        f"data folder {str(root)!r} has no VOC data set: looked for VOCdevkit/VOC2007, VOC2007 and JPEGImages in it; "
        "give the folder that holds VOCdevkit"
    )


def find_part(homes: Iterable[Path], splits: Iterable[str]) -> VocPart | None:
    """The first of the splits in the first year that has it."""
    homes = list(homes)
    files = ((home, home / "ImageSets" / "Main" / f"{split}.txt") for split in splits for home in homes)
    return next((VocPart(home, path, read_stems(path)) for home, path in files if path.is_file()), None)


def evaluated_part(homes: Sequence[Path], split: str | None = None) -> VocPart:
    """The evaluated split: the given one, or `test` of the first year that has one, else `val`.

    Raises:
        DataError: there is no such list.
    """
    part = find_part(homes, (split,) if split else EVAL_SPLITS)
    if part is not None:
        return part
    lists = [p.stem for home in homes for p in (home / "ImageSets" / "Main").glob("*.txt") if "_" not in p.stem]
    wanted = f"ImageSets/Main/{split}.txt" if split else "ImageSets/Main/test.txt or val.txt"
    raise unsaid(homes[0], wanted, lists)


def read_evaluated(
    root: Path, split: str | None = None, classes: Sequence[str] | None = None
) -> tuple[VocPart, tuple[str, ...], list[tuple[VocObject, ...]]]:
    """The evaluated split of a folder, its class names (the given ones, else `class_names`), each image's objects."""
    homes = find_years(root)
    part = evaluated_part(homes, split)
    part.check_whole()
    names = tuple(classes) if classes else class_names([*train_parts(homes, part), part])
    return part, names, read_all(part.labels())


def train_parts(homes: Iterable[Path], test: VocPart | None) -> list[VocPart]:
    """The training split of each year: `trainval`, or `train` where `trainval` holds images that are evaluated."""
    parts = []
    for home in homes:
        evaluated = set(test.stems) if test is not None and test.home == home else set()
        own = bool(evaluated) and test is not None and test.listing.stem == "val"
        splits = TRAIN_SPLITS[::-1] if own else TRAIN_SPLITS
        there = [part for split in splits if (part := find_part([home], (split,))) is not None]
        # Where every list shares images, the first one is named by whoever refuses that.
        parts += sorted(there, key=lambda part: not evaluated.isdisjoint(part.stems))[:1]
    return parts


def read_stems(path: Path) -> tuple[str, ...]:
    """Image names of a split file, one a line; blank lines, a byte order mark and flags (1, 0, -1) do not count.

    Raises:
        DataError: the file cannot be read, lists no image or one twice, or a name leads out of the folder.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); it must list one image name a line") from error
    found: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        name = _FLAG.sub("", line.strip())
        if not name:
            continue
        if name in found:
            raise DataError(f"{path}: line {number} names {name!r}, as line {found[name]} does; leave one of them")
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts or not name.isprintable() or len(name.encode()) > _LONGEST:
            raise DataError(f"{path}: line {number} is {name[:60]!r}; it must be the name of an image without suffix")
        found[name] = number
    if not found:
        raise DataError(f"{path} lists no image; copy the file again or choose another --data-root")
    return tuple(found)


def plain_list(part: VocPart) -> bool:
    """Whether the split file holds the names and nothing else, so that mmdet reads it alike."""
    return part.listing.read_bytes().replace(b"\r\n", b"\n").removesuffix(b"\n") == "\n".join(part.stems).encode()


def class_names(parts: Iterable[VocPart]) -> tuple[str, ...]:
    """VOC's twenty names if all labels of the parts are among them, else the labels' names in alphabetic order.

    Raises:
        DataError: some names are VOC's and some are not, there is no object at all, or a file is no VOC annotation.
    """
    seen: dict[str, Path] = {}
    paths = [path for part in parts for path in part.labels() if path.is_file()]
    for path, objects in zip(paths, read_all(paths), strict=True):
        for item in objects:
            seen.setdefault(item.name, path)
    unknown = sorted(set(seen) - set(NAMES))
    if not seen:
        raise DataError("no XML file of the VOC splits has an object; there is nothing to detect")
    if unknown and len(unknown) < len(seen):
        raise DataError(
            f"class {unknown[0]!r} (in {seen[unknown[0]]}) is not one of VOC's twenty, others are, such as "
            f"{min(set(seen) & set(NAMES))!r}; mmdet would drop the former silently. Rename it, or give the classes "
            "(--classes, `metainfo` of the data sets)"
        )
    return tuple(unknown) or NAMES


def read_all(paths: Sequence[Path]) -> list[tuple[VocObject, ...]]:
    """The objects of many annotation files, see `read_objects`."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(read_objects, paths))


def read_objects(path: Path) -> tuple[VocObject, ...]:
    """The objects of one annotation file.

    Raises:
        DataError: the file is no VOC annotation; a size, name, corner or flag is missing or no number.
    """
    where = "the file"
    try:
        top = ElementTree.parse(path).getroot()
        if (size := top.find("size")) is not None:
            where = "its size"
            for side in ("width", "height"):
                int(size.findtext(side, ""))
        found = []
        for n, node in enumerate(top.findall("object"), start=1):
            where = f"object {n}"
            if not (name := node.findtext("name", "")).strip():
                raise ValueError("it has no name")
            left, top_, right, bottom = (_whole(node, f"bndbox/{key}") - 1 for key in ("xmin", "ymin", "xmax", "ymax"))
            difficult = node.find("difficult") is not None and int(node.findtext("difficult", ""))
            found.append(VocObject(name, (left, top_, right, bottom), bool(difficult)))
    except (ElementTree.ParseError, OSError, ValueError, OverflowError, LookupError) as error:
        raise DataError(f"{path} is no VOC annotation ({where}: {error}); correct it or copy the file again") from error
    return tuple(found)


def stated_sizes(part: VocPart) -> dict[Path, tuple[int, int]]:
    """Image file -> (height, width) as its annotation file states it, where it does."""
    with ThreadPoolExecutor(8) as pool:
        sizes = pool.map(_stated_size, part.labels())
    images = (part.home / "JPEGImages" / f"{stem}.jpg" for stem in part.stems)
    return {image: size for image, size in zip(images, sizes, strict=True) if size is not None}


def _stated_size(path: Path) -> tuple[int, int] | None:
    size = ElementTree.parse(path).getroot().find("size")
    if size is None:
        return None
    height, width = int(size.findtext("height", "")), int(size.findtext("width", ""))
    return height, width


def left_out(objects: Iterable[Iterable[VocObject]], classes: Collection[str]) -> str | None:
    """A warning about objects of no class, None where there is none.

    Raises:
        DataError: the name of one is much like that of a class without objects.
    """
    counts = Counter(item.name for row in objects for item in row)
    unknown = [name for name in counts if name not in classes]
    for name in classes:
        near = get_close_matches(name, unknown, n=1, cutoff=0.8) if name not in counts else None
        if near:
            raise DataError(f"class {name!r} is in no label, but {near[0]!r} is, and is no class; write them alike")
    if not unknown:
        return None
    n = sum(counts[name] for name in unknown)
    return f"{n} objects of {some(sorted(unknown))} are left out: there is no such class"


def repeated(stems: Sequence[str], objects: Sequence[Sequence[VocObject]]) -> str | None:
    """A warning about objects that are there twice, None where there is none."""
    counts = Counter((stem, item.name, item.box) for stem, row in zip(stems, objects, strict=True) for item in row)
    twice = [key for key, count in counts.items() if count > 1]
    if not twice:
        return None
    stem, name, box = twice[0]
    return (
        f"{len(twice)} objects are there more than once, such as the {name!r} at {box} in {stem}; each counts, and "
        "only one can be found"
    )


def voc_truth(part: VocPart, objects: Sequence[Iterable[VocObject]], classes: Sequence[str]) -> list[VocTruth]:
    """The ground truth of each image of a split; objects of other classes are none, as for mmdet."""
    index = {name: n for n, name in enumerate(classes)}
    truth = []
    for stem, found in zip(part.stems, objects, strict=True):
        counted = [item for item in found if item.name in index]
        boxes = np.array([item.box for item in counted], np.float32).reshape(-1, 4)
        labels = np.array([index[item.name] for item in counted], np.int64)
        truth.append(VocTruth(stem, boxes, labels, np.array([item.difficult for item in counted], bool)))
    return truth


def _whole(node: ElementTree.Element, key: str) -> int:
    """A number cut to a whole one, as mmdet does; some tools write fractions."""
    text = node.findtext(key, "")
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        raise ValueError(f"{key} is {text!r} and no number") from None


def _recognised(root: Path) -> bool:
    return any(root.glob("VOC20*")) or (root / "VOCdevkit").is_dir() or (root / "JPEGImages").is_dir()


def _evaluated(root: Path, split: str | None) -> DataFolder:
    homes = find_years(root)
    part = evaluated_part(homes, split)
    images: dict[str, list[Path]] = {stem: [] for stem in part.stems}
    folder = part.home / "JPEGImages"
    for path in files_in(folder, folder):
        images.get(path.with_suffix("").as_posix(), images.get(path.stem, [])).append(path)
    # A listed image that is missing stays in the list, so that its reader can name it.
    files = tuple(folder / path for stem, there in images.items() for path in there or [Path(f"{stem}.jpg")])
    lost = [path for path in part.labels() if not path.is_file()]
    labels = (part.listing, *(path for path in part.labels() if path not in set(lost)))
    others = ", ".join(home.name for home in homes if home != part.home)
    notes = [f"only {part.listing.stem} of {part.home.name}; {others} not"] if others else []
    notes += [unlabelled(lost, len(part.stems))] if lost else []
    images_in, labels_in = (tuple(path.relative_to(root) for path in paths) for paths in (files, labels))
    return DataFolder(root, "voc", images_in, labels_in, tuple(notes))


LAYOUT = Layout("voc", "VOC (VOCdevkit/VOC2007/{JPEGImages,Annotations,ImageSets})", _recognised, _evaluated)
