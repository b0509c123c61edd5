"""VOC layout: years, split files, and class names read from the XML files where they are not VOC's own twenty."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from mmengine.config import Config

from rtx.datasets.openmmlab.nodes import palette, put_data_sets, set_num_classes
from rtx.errors import DataError

YEARS = ("VOC2007", "VOC2012")
# Best first. VOC2007 test and VOC2012 trainval are public with labels; many converted sets stop at train and val.
EVAL_SPLITS = ("test", "val")
TRAIN_SPLITS = ("trainval", "train")


@dataclass(frozen=True)
class VocPart:
    """One split of one year.

    Attributes:
        home: the folder of the year, relative to the data root, "" for the root itself.
        split: name of the split file.
        stems: image names without suffix.
    """

    home: str
    split: str
    stems: tuple[str, ...]

    @property
    def ann_file(self) -> str:
        """The split file, relative to the data root."""
        return _join(self.home, f"ImageSets/Main/{self.split}.txt")


@dataclass(frozen=True)
class VocObject:
    """One labelled object: class name and corners as written (counted from 1, inclusive)."""

    name: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def empty(self) -> bool:
        """Whether the box has no area."""
        return self.right <= self.left or self.bottom <= self.top


def adapt_voc(cfg: Config, root: Path) -> list[str]:
    """Point a config at a VOC folder; return one note for each adaptation.

    Args:
        cfg: changed in place.
        root: holds `VOCdevkit`, or the years, or is one year itself.
    """
    base, homes = find_years(root)
    notes: list[str] = []
    if homes == [""]:
        notes.append(f"{base} is one year of VOC by itself")
    missing = [year for year in YEARS if year not in homes]
    if homes != [""] and missing:
        notes.append(f"{' and '.join(missing)} is not there: only {' and '.join(homes)} is used")
    test = pick_test(base, homes)
    trains = [part for home in homes if (part := pick_train(base, home, test)) is not None]
    if test is None and not trains:
        raise DataError(
            f"{base}: no ImageSets/Main/{{{','.join((*TRAIN_SPLITS, *EVAL_SPLITS))}}}.txt in "
            f"{', '.join(home or '.' for home in homes)}; a VOC data set lists its images there"
        )
    if test is None:
        notes.append(f"no {' or '.join(EVAL_SPLITS)} split: nothing can be evaluated")
    elif test.split != EVAL_SPLITS[0]:
        notes.append(f"no test split: evaluating on {test.ann_file}")
    if not trains:
        notes.append(f"no {' or '.join(TRAIN_SPLITS)} split: nothing can be trained")
    for part in trains:
        if test is not None and part.home == test.home and (both := set(part.stems) & set(test.stems)):
            raise DataError(
                f"{base}: {len(both)} images are both in {part.ann_file} and in {test.ann_file}, such as {min(both)}; "
                "scores on training images mean nothing. Write a train.txt without them"
            )
        if part.split != TRAIN_SPLITS[0]:
            notes.append(f"training on {part.ann_file}")
    classes = class_names(base, [*trains, *([test] if test else [])])
    kind, meta = "VOCDataset", None
    if classes != voc_names():
        # VOCDataset marks itself as VOC2007, and the metric would then print VOC's own class names.
        kind, meta = "XMLDataset", dict(classes=classes, palette=palette(len(classes)))
        notes.append(f"{len(classes)} classes from the XML files: {', '.join(classes[:10])}")
    for split, parts in (("train", trains), ("val", [test] if test else [])):
        rows = [_changes(base, part.home, part.ann_file, kind, meta) for part in parts]
        if not rows:  # keep the name that ought to be there, for the check to report
            home = homes[0]
            name = EVAL_SPLITS[0] if split == "val" else TRAIN_SPLITS[0]
            rows = [_changes(base, home, _join(home, f"ImageSets/Main/{name}.txt"), kind, meta)]
        put_data_sets(cfg, split, rows)
    heads = set_num_classes(cfg.get("model"), len(classes))
    if heads:
        notes.append(f"num_classes={len(classes)} in {', '.join(heads)}")
    return notes


def _changes(base: Path, home: str, ann_file: str, kind: str, meta: dict | None) -> dict:
    prefix = dict(sub_data_root=f"{home}/" if home else "")
    return dict(type=kind, data_root=str(base), ann_file=ann_file, data_prefix=prefix, metainfo=meta)


def find_years(root: Path) -> tuple[Path, list[str]]:
    """Return the folder to count from and the years in it, [""] when it is one year itself.

    Raises:
        DataError: there is no VOC data set.
    """
    for base in (root, root / "VOCdevkit"):
        homes = [year for year in YEARS if (base / year).is_dir()]
        homes += sorted(p.name for p in base.glob("VOC20*") if p.is_dir() and p.name not in homes)
        if homes:
            return base, homes
    if (root / "JPEGImages").is_dir():
        return root, [""]
    raise DataError(
        f"data folder {str(root)!r} has no VOC data set: looked for VOCdevkit/VOC2007, VOC2007 and JPEGImages in it; "
        "give the folder that holds VOCdevkit"
    )


def pick_test(base: Path, homes: Iterable[str]) -> VocPart | None:
    """Return the split to evaluate on: test of the first year that has one, else val of the first that has one."""
    for split in EVAL_SPLITS:
        for home in homes:
            path = base / home / "ImageSets" / "Main" / f"{split}.txt"
            if path.is_file():
                return VocPart(home, split, read_stems(path))
    return None


def pick_train(base: Path, home: str, test: VocPart | None) -> VocPart | None:
    """Return the split of a year to train on: trainval, or train where val is the evaluation's."""
    order: tuple[str, ...] = TRAIN_SPLITS
    if test is not None and test.home == home and test.split == "val":
        order = TRAIN_SPLITS[::-1]
    for split in order:
        path = base / home / "ImageSets" / "Main" / f"{split}.txt"
        if path.is_file():
            return VocPart(home, split, read_stems(path))
    return None


def read_stems(path: Path) -> tuple[str, ...]:
    """Return the image names of a split file, one a line."""
    return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def class_names(base: Path, parts: Iterable[VocPart]) -> tuple[str, ...]:
    """Return VOC's twenty names if all labels are among them, else the labels' names in alphabetic order.

    Raises:
        DataError: some names are VOC's and some are not, or there is no object at all.
    """
    seen: dict[str, Path] = {}
    for path, objects in read_all(xml_paths(base, parts)):
        for item in objects:
            seen.setdefault(item.name, path)
    known = voc_names()
    strange = sorted(set(seen) - set(known))
    if not seen:
        raise DataError(f"{base}: no XML file of its splits has an object; there is nothing to detect")
    if not strange:
        return known
    if len(strange) < len(seen):
        raise DataError(
            f"{base}: class {strange[0]!r} (in {seen[strange[0]]}) is not one of VOC's twenty, others are, such as "
            f"{min(set(seen) & set(known))!r}; mmdet would drop the former silently. Rename it, or give the classes "
            "in `metainfo` of the data sets"
        )
    return tuple(strange)


def xml_paths(base: Path, parts: Iterable[VocPart]) -> list[Path]:
    """Return the annotation files of some splits."""
    return [base / part.home / "Annotations" / f"{stem}.xml" for part in parts for stem in part.stems]


def read_all(paths: Iterable[Path]) -> Iterator[tuple[Path, list[VocObject]]]:
    """Read annotation files in parallel, those that are missing left to the check."""
    there = [path for path in paths if path.is_file()]
    with ThreadPoolExecutor(8) as pool:
        yield from zip(there, pool.map(read_objects, there), strict=True)


def read_objects(path: Path) -> list[VocObject]:
    """Return the objects of one annotation file.

    Raises:
        DataError: the file is no VOC annotation.
    """
    try:
        found = []
        for node in ElementTree.parse(path).getroot().findall("object"):
            corners = [float(node.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")]
            found.append(VocObject(node.findtext("name", ""), *corners))
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path} is no VOC annotation ({error}); copy the file again") from error
    return found


def voc_names() -> tuple[str, ...]:
    """Return the twenty class names of PASCAL VOC, in mmdet's order."""
    from mmdet.datasets import VOCDataset

    return tuple(VOCDataset.METAINFO["classes"])


def _join(home: str, rest: str) -> str:
    return f"{home}/{rest}" if home else rest
