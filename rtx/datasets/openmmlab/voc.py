"""VOC layout in a config: years, split files, and class names from the XML files where they are not VOC's twenty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from rtx.datasets.openmmlab.nodes import (
    ConfigLayout,
    Findings,
    add_import,
    fit_heads,
    palette,
    put_data_sets,
    root_of,
    type_name,
)
from rtx.datasets.voc import (
    EVAL_SPLITS,
    LAYOUT,
    NAMES,
    TRAIN_SPLITS,
    YEARS,
    VocPart,
    class_names,
    evaluated_part,
    find_part,
    find_years,
    left_out,
    plain_list,
    read_all,
    read_stems,
    repeated,
    stated_sizes,
    train_parts,
)
from rtx.errors import DataError


def adapt_voc(cfg: Config, root: Path) -> list[str]:
    """Point a config at a VOC folder; return one note for each adaptation.

    Args:
        cfg: changed in place.
        root: holds `VOCdevkit`, or the years, or is one year itself.
    """
    homes = find_years(root)
    base = root if homes == [root] else homes[0].parent
    notes: list[str] = []
    if homes == [root]:
        notes.append(f"{root} is one year of VOC by itself")
    elif missing := [year for year in YEARS if base / year not in homes]:
        there = " and ".join(home.name for home in homes)
        notes.append(f"{' and '.join(missing)} is not there: only {there} is used")
    test = find_part(homes, EVAL_SPLITS)
    trains = train_parts(homes, test)
    if test is None and not trains:
        evaluated_part(homes)  # says what is there instead
    if test is None:
        notes.append(f"no {' or '.join(EVAL_SPLITS)} split: nothing can be evaluated")
    elif test.listing.stem != EVAL_SPLITS[0]:
        notes.append(f"no test split: evaluating on {_inside(test.listing, base)}")
    if not trains:
        notes.append(f"no {' or '.join(TRAIN_SPLITS)} split: nothing can be trained")
    for part in trains:
        if test is not None and part.home == test.home and (both := set(part.stems) & set(test.stems)):
            other = part.listing.with_name("train.txt")
            remedy = f"Take them out of {_inside(other, base)}" if other.is_file() else "Write a train.txt without them"
            raise DataError(
                f"{base}: {len(both)} images are both in {_inside(part.listing, base)} and in "
                f"{_inside(test.listing, base)}, such as {min(both)}; scores on training images mean nothing. {remedy}"
            )
        if part.listing.stem != TRAIN_SPLITS[0]:
            notes.append(f"training on {_inside(part.listing, base)}")
    classes = class_names([*trains, *([test] if test else [])])
    kind, meta = "VOCDataset", None
    if classes != NAMES:
        # VOCDataset marks itself as VOC2007, and the metric would then print VOC's own class names.
        kind, meta = "XMLDataset", dict(classes=classes, palette=palette(len(classes)))
        notes.append(f"{len(classes)} classes from the XML files: {', '.join(classes[:10])}")
    if not all(plain_list(part) for part in (*trains, *([test] if test else []))):
        kind, meta = "ListedXMLDataset", dict(classes=classes, palette=palette(len(classes)))
        add_import(cfg, "rtx.datasets.openmmlab.voc_list")
        notes.append("a list has blank lines, flags or a byte order mark, which are left out")
    for split, parts in (("train", trains), ("val", [test] if test else [])):
        # Where there is no list, the name that ought to be there stays, for the check to report.
        name = EVAL_SPLITS[0] if split == "val" else TRAIN_SPLITS[0]
        lists = [(part.home, part.listing) for part in parts]
        lists = lists or [(homes[0], homes[0] / "ImageSets" / "Main" / f"{name}.txt")]
        rows = []
        for home, listing in lists:
            prefix = dict(sub_data_root="" if home == base else f"{_inside(home, base)}/")
            where = dict(data_root=str(base), ann_file=_inside(listing, base), data_prefix=prefix)
            rows.append(dict(where, type=kind, metainfo=meta))
        put_data_sets(cfg, split, rows)
    return notes + fit_heads(cfg, len(classes))


def _inside(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix()


def check_voc(node: Any, split: str, found: Findings) -> None:
    """Look for missing files, broken annotations, and objects that mmdet would leave out without a word.

    `objects` of the node are those of each image where they were read already.
    """
    root = root_of(node)
    home = root / (node.get("data_prefix") or {}).get("sub_data_root", "")
    listing = root / node["ann_file"]
    if not listing.is_file():
        found.absent.append(node["ann_file"])
        return
    part = VocPart(home, listing, read_stems(listing))
    found.images = [home / "JPEGImages" / f"{stem}.jpg" for stem in part.stems]
    part.check_whole()
    if type_name(node) != "ListedXMLDataset" and "objects" not in node and not plain_list(part):
        raise DataError(
            f"{listing} has blank lines, flags or a byte order mark, which mmdet takes for names; give the folder as "
            "--data-root, which leaves them out"
        )
    read = node.get("objects") or read_all(part.labels())
    objects = [(stem, o) for stem, row in zip(part.stems, read, strict=True) for o in row]
    names = {item.name for _, item in objects}
    stated = (node.get("metainfo") or {}).get("classes")
    found.classes = classes = stated or NAMES
    # Tools that do not know a size write 0, by which mmdet leaves images out of a training.
    found.sizes = {image: size for image, size in stated_sizes(part).items() if split == "train" or min(size) > 0}
    unknown = sorted(names - set(classes))
    if not names:
        found.nothing_labelled(f"{listing}: its images' labels", split)
    elif len(unknown) == len(names):
        found.problems.append(
            f"the labels are {', '.join(unknown[:5])}, none of which the config knows ({len(classes)} classes from "
            f"{classes[0]!r}); give the folder as --data-root, which takes the classes from the files"
        )
    elif warning := left_out(read, classes):
        found.warnings.append(warning)
    if names and len(unknown) < len(names):
        found.no_object_of([name for name in stated or () if name not in names], len(classes), split)
    if twice := repeated(part.stems, read):
        found.warnings.append(twice)
    empty = [stem for stem, item in objects if item.empty]
    found.no_area(empty, split, "they are ignored, as all under bbox_min_size")


ROW = ConfigLayout(
    LAYOUT,
    types=("VOCDataset", "XMLDataset", "ListedXMLDataset"),
    task="voc",
    adapt=adapt_voc,
    check=check_voc,
    wanted="VOC 2007 and 2012 (http://host.robots.ox.ac.uk/pascal/VOC)",
)
