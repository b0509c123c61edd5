"""`check_data`: look at a config's data before any long work, and say everything that is wrong with it at once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

from mmengine.config import Config

from rtx.datasets.ade import spread
from rtx.datasets.image_files import JPEG_END, PNG_END, damage, image_sizes
from rtx.datasets.openmmlab.image_loader import MIN_SIDE
from rtx.datasets.openmmlab.nodes import SPLIT_LOADERS, Findings, root_of, split_data_sets, type_name
from rtx.datasets.openmmlab.with_data import row_of
from rtx.errors import BadValue, DataError, some

log = logging.getLogger(__name__)

MAX_TRAIN_IMAGES = 5000  # files opened in a training split; all are looked for
_A_TASK = 32  # files a thread takes at once: handing one over costs as much as looking at it


def check_data(
    cfg: Config, splits: Sequence[str] = ("train", "val"), *, max_train_images: int = MAX_TRAIN_IMAGES
) -> None:
    """Look for what would fail, or silently spoil, a run hours later.

    Every image of the splits is looked for; of a training split, `max_train_images` spread evenly are opened too, of
    the others all (header and end of file; decoded only if the end looks wrong). On the order of 0.2 ms for an image
    that is opened. In a distributed run one process is enough.

    Args:
        cfg: a loaded config.
        splits: "train", "val" (validation and test) or both; an evaluation needs "val" only.
        max_train_images: how many files of a training split to open.

    Raises:
        DataError: missing folders, annotation files or images, unreadable annotations, damaged images, evaluation
            images under 32 pixels, images of another size than stated, no image, no object to train on, other classes
            in one split than in another; the message lists all of them.
        BadValue: no such split.
    """
    for split in splits:
        if split not in SPLIT_LOADERS:
            raise BadValue(f"split {split!r} is not one of {', '.join(SPLIT_LOADERS)}")
    sets = [(split, node) for split in splits for node in split_data_sets(cfg, split)]
    check_sets(sets, max_train_images=max_train_images)


def check_sets(sets: Iterable[tuple[str, Any]], *, max_train_images: int = MAX_TRAIN_IMAGES) -> None:
    """The same for data sets, each given as its split and what a config would say of it."""
    problems: list[str] = []
    absent: dict[tuple[Path, str], list[str]] = {}
    done: set[str] = set()
    classes: dict[tuple[str, ...], str] = {}
    for split, node in sets:
        name = type_name(node)
        key = repr(
            [split, name, node.get("data_root"), node.get("ann_file"), node.get("data_prefix"), node.get("split")]
        )
        if key in done:
            continue
        done.add(key)
        stated = (node.get("metainfo") or {}).get("classes") or ()
        row = row_of(node)
        if row is None:
            log.info("%s data: a %s, whose files are not looked at before work", split, name)
            if stated:
                classes.setdefault(tuple(map(str, stated)), split)
            continue
        root = root_of(node)
        found = Findings()
        try:
            row.check(node, split, found)
        except DataError as error:
            found.problems.append(str(error))
        if found.classes or stated:
            classes.setdefault(tuple(map(str, found.classes or stated)), split)
        _look_at_images(found, split, max_train_images if split == "train" else None)
        for warning in found.warnings:
            log.warning("%s data: %s", split, warning)
        problems += [f"{split} data: {problem}" for problem in found.problems]
        if found.absent:
            absent.setdefault((root, row.wanted), []).extend(found.absent)
        elif not found.problems:
            log.info("%s data: %d images in %s", split, len(found.images) + found.in_archives, root)
    problems = [_missing(root, wanted, names) for (root, wanted), names in absent.items()] + problems
    if len(classes) > 1:
        problems.append(_unlike(classes))
    if problems:
        raise DataError("; ".join(problems))


def _missing(root: Path, wanted: str, names: Sequence[str]) -> str:
    """Say in one sentence what is not there, where it was looked for and what to do."""
    if root.is_dir():
        what = f"data folder {str(root)!r} lacks {', '.join(names)} (looked in {root.absolute()})"
    else:
        what = f"data folder {str(root)!r} does not exist (looked for {root.absolute()} with {', '.join(names)} in it)"
    return f"{what}; put {wanted} there, or give --data-root FOLDER"


def _unlike(classes: Mapping[tuple[str, ...], str]) -> str:
    """Say that data sets of one config number their classes differently."""
    (one, first), (two, second) = list(classes.items())[:2]
    n = next((n for n, pair in enumerate(zip(one, two, strict=False)) if pair[0] != pair[1]), min(len(one), len(two)))
    names = [repr(row[n]) if n < len(row) else "no class" for row in (one, two)]
    return (
        f"metainfo: label {n} is {names[0]} in the {first} data and {names[1]} in the {second} data; give all data "
        "sets the same classes in the same order"
    )


def _look_at_images(found: Findings, split: str, limit: int | None) -> None:
    """Add what is wrong with the image files themselves."""
    listed: dict[Path, set[str]] = {}
    missing = []
    for path in found.images:
        # One listing of a folder instead of one call an image: 118,000 of them on a network disk take minutes.
        if path.parent not in listed:
            listed[path.parent] = {p.name for p in path.parent.iterdir()} if path.parent.is_dir() else set()
        if path.name not in listed[path.parent]:
            missing.append(path)
    if missing:
        found.problems.append(
            f"{len(missing)} of {len(found.images)} images are missing: {some(missing)}; complete the folder or "
            "take them out of the list"
        )
    gone = set(missing)
    there = [path for path in found.images if path not in gone]
    if limit is not None and len(there) > limit:
        log.info("%s data: opening %d of %d images", split, limit, len(there))
        there = spread(there, limit)
    tasks = [there[n : n + _A_TASK] for n in range(0, len(there), _A_TASK)]
    with ThreadPoolExecutor(8) as pool:
        seen = pool.map(lambda paths: [_examine(path, found.sizes.get(path)) for path in paths], tasks)
        verdicts = list(zip(there, chain.from_iterable(seen), strict=True))
    bad = [f"{path} ({text})" for path, (text, _, _) in verdicts if text]
    if bad:
        found.problems.append(f"{len(bad)} images are damaged: {some(bad)}; copy them again")
    other = [f"{path} ({unlike})" for path, (text, _, unlike) in verdicts if not text and unlike]
    if other:
        found.problems.append(
            f"{len(other)} images have another size than their annotations state: {some(other)}; labels would lie in "
            "the wrong place, annotate the images as they are shown"
        )
    least = 0 if found.any_size else MIN_SIDE
    small = [f"{path} ({side} px)" for path, (text, side, _) in verdicts if not text and side < least]
    if small and split == "train":
        found.warnings.append(
            f"{len(small)} images are smaller than {MIN_SIDE} pixels: {some(small)}; detection configs leave them out"
        )
    elif small:
        found.problems.append(
            f"{len(small)} images are smaller than {MIN_SIDE} pixels, which the corruptions cannot be applied to: "
            f"{some(small)}; take them out of the list or enlarge them"
        )


def _examine(path: Path, stated: tuple[int, int] | Path | None) -> tuple[str | None, int, str | None]:
    """Return what is wrong with one image file, its shorter side, and how its size differs from the stated one."""
    if not path.is_file():
        return "it is no file", 0, None
    try:
        sizes = image_sizes(path)
        with path.open("rb") as file:
            file.seek(-min(path.stat().st_size, len(PNG_END)), 2)
            whole = file.read().endswith((JPEG_END, PNG_END))
        return None if whole else damage(path.read_bytes()), min(sizes[0]), _size_unlike(sizes, stated)
    except DataError:
        return damage(path.read_bytes()) or "its header cannot be read", 0, None
    except OSError as error:
        return f"it cannot be read: {error}", 0, None


def _size_unlike(sizes: Sequence[tuple[int, int]], stated: tuple[int, int] | Path | None) -> str | None:
    """How the size of a picture differs from the stated one, or from that of its label map; None where it does not."""
    where = "stated"
    if isinstance(stated, Path):
        try:
            stated, where = image_sizes(stated)[0], "in its label map"
        except DataError:
            return None  # said when the map is read
    if stated is None or stated == sizes[0]:
        return None
    shown, said = (f"{width} x {height}" for height, width in (sizes[0], stated))
    turned = ", as before the turn that its EXIF data ask for" if stated in sizes else ""
    return f"{shown}, {said} {where}{turned}"
