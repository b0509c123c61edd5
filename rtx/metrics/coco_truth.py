"""Ground truth in COCO form, read and checked once for many evaluations."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from rtx.errors import DataError
from rtx.metrics.coco_file import check_names, check_tables, read_tables, repeated, unmatched

log = logging.getLogger(__name__)

ImageId = int | str
Rle = dict[str, Any]
"""COCO run lengths: `size` (height, width) and compressed `counts`."""


@dataclass(frozen=True)
class CocoTruth:
    """Checked ground truth.

    Attributes:
        images: id -> entry of the annotation file.
        categories: id -> name, in the order of the file.
        annotations: entries with `iscrowd` and `area` filled in, numbered from 1.
        place: what error messages call it.
    """

    images: dict[ImageId, dict[str, Any]]
    categories: dict[int, str]
    annotations: list[dict[str, Any]]
    place: str


def read_truth(source: Path | Mapping[str, Any], *, place: str = "ground truth", quiet: bool = False) -> CocoTruth:
    """Read ground truth from an annotation file, or from a dict of the same form.

    Args:
        source: the file or the dict.
        place: what error messages call a dict.
        quiet: do not log what is odd but allowed, for ground truth that is converted again for every cell.

    Raises:
        DataError: the file is absent or no COCO file, an id of an image or category comes twice, or an annotation lacks
            what scoring needs.
    """
    if isinstance(source, Path):
        place, tables = str(source), read_tables(source)
    else:
        tables = check_tables(source, place)
    check_names(tables["images"], place)
    images = {entry["id"]: dict(entry) for entry in tables["images"]}
    categories = {entry["id"]: entry["name"] for entry in tables["categories"]}
    annotations = [_completed(a, n + 1, place) for n, a in enumerate(tables["annotations"])]
    for field in ("image_id", "category_id"):
        unknown = unmatched(tables, field, place)
        if unknown and not quiet:
            log.warning(
                "%s: the %s of %d of %d annotations is not in the file, e.g. %r; they do not count",
                *(place, field, len(unknown), len(annotations), unknown[0][field]),
            )
    if not quiet and (twice := repeated(tables)):
        log.warning("%s: %s", place, twice)
    flat = sum(a["area"] <= 0 for a in annotations)
    if flat and not quiet:
        log.info("%s: %d annotations of zero area count as objects that no detection can match", place, flat)
    return CocoTruth(images, categories, annotations, place)


def category_ids(truth: CocoTruth, classes: Iterable[str]) -> tuple[int, ...]:
    """Category id of each label of a model trained on these classes.

    Labels count through the categories in the order of the annotation file, as mmdet's data set and metric do, and not
    in the order of `classes`.

    Raises:
        DataError: a class is not in the file, or is there twice; every label after it would be scored wrongly. Or the
            ids are text.
    """
    if text := [i for i in truth.categories if isinstance(i, str)]:
        raise DataError(
            f"{truth.place}: category ids are text, such as {text[0]!r}; scores need COCO's whole numbers, number them"
        )
    return label_ids(truth.categories, classes, truth.place)


def label_ids(categories: Mapping[Any, str], classes: Iterable[str], place: str) -> tuple[Any, ...]:
    """The same from categories (id -> name, in the order of the file); `place` is what messages call the file."""
    wanted = list(classes)
    ids = tuple(i for i, name in categories.items() if name in set(wanted))
    names = [categories[i] for i in ids]
    missing = [name for name in wanted if names.count(name) != 1]
    if missing:
        near = get_close_matches(missing[0], set(categories.values()) - set(wanted), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise DataError(f"{place}: must hold each class once, but not so: {', '.join(missing)}{hint}")
    if names != wanted:
        log.warning("%s lists the classes in another order than the config; labels follow the file", place)
    return ids


def encode_mask(mask: ArrayLike) -> Rle:
    """Binary (H, W) mask -> compressed run lengths."""
    import cv2
    from pycocotools import mask as codec

    rows = np.ascontiguousarray(mask)
    rows = rows.view(np.uint8) if rows.dtype == np.bool_ else rows.astype(np.uint8)
    # Run lengths go column by column. OpenCV turns a mask ten times faster than numpy does.
    return dict(codec.encode(cv2.transpose(rows).T if rows.size else np.asfortranarray(rows)))


def fills(counts: str | bytes | Sequence[int], size: tuple[int, int]) -> bool:
    """Whether run lengths, compressed (see `rtx.metrics.run_lengths`) or a list, make a mask of (height, width).

    pycocotools compares masks of other lengths without end, or reads past them.

    Example:
        >>> fills("22", (2, 2)), fills([1, 3], (2, 2)), fills([9], (2, 2)), fills("P2", (2, 2))
        (True, True, False, False)
    """
    n_pixels = size[0] * size[1]
    if not isinstance(counts, (str, bytes)):
        return all(type(n) is int and n >= 0 for n in counts) and sum(counts) == n_pixels
    try:
        letters = np.frombuffer(counts.encode("ascii") if isinstance(counts, str) else counts, np.uint8)
    except UnicodeEncodeError:
        return False
    codes = letters.astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        return False
    ends = np.flatnonzero(codes & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    if place.max() > 7:  # more than 40 bits is no number of pixels
        return False
    runs = np.add.reduceat((codes & 31) << (5 * place), starts)
    runs -= np.where(codes[ends] & 16, np.int64(32) << (5 * place[ends]), 0)
    runs[1::2], runs[2::2] = np.cumsum(runs[1::2]), np.cumsum(runs[2::2])
    return bool(runs.min() >= 0 and runs.max() <= n_pixels and runs.sum() == n_pixels)


def image_size(truth: CocoTruth, image_id: ImageId) -> tuple[int, int]:
    """(Height, width) of an image.

    Raises:
        DataError: the annotation file does not say.
    """
    image = truth.images[image_id]
    if "height" not in image or "width" not in image:
        raise DataError(f"{truth.place}: image {image_id!r} has no height and width, which mask AP needs")
    return int(image["height"]), int(image["width"])


def _completed(annotation: Mapping[str, Any], number: int, place: str) -> dict[str, Any]:
    left, top, width, height = map(float, annotation["bbox"])
    area = annotation.get("area")
    return {
        "id": number,
        "name": f"{place}: annotation {annotation.get('id')!r} of image {annotation['image_id']!r}",
        "image_id": annotation["image_id"],
        "category_id": annotation["category_id"],
        "bbox": [left, top, width, height],
        "area": width * height if area is None else float(area),
        "iscrowd": int(annotation.get("iscrowd", 0)),
        "ignore": bool(annotation.get("ignore", False)),
        "segmentation": annotation.get("segmentation"),
    }


def rle(annotation: dict[str, Any], truth: CocoTruth) -> Rle:
    """Run lengths of an annotation, kept beside its segmentation: a sweep scores the same ground truth 76 times.

    Raises:
        DataError: there is no segmentation, or a mask of another size than the image.
    """
    from pycocotools import mask as codec

    if "rle" in annotation:
        return cast(Rle, annotation["rle"])
    shape, size = annotation["segmentation"], image_size(truth, annotation["image_id"])
    if isinstance(shape, dict):
        if isinstance(shape.get("counts"), list):
            shape = codec.frPyObjects(shape, *size)
        if tuple(shape.get("size", ())) != size or not fills(shape.get("counts", b""), size):
            raise DataError(f"{annotation['name']}: its mask is not of the image's size {size}")
    elif isinstance(shape, list):
        # Fewer than three points enclose nothing, and pycocotools would take four numbers for a box.
        outlines = [outline for outline in shape if len(outline) >= 6]
        if outlines:
            shape = codec.merge(codec.frPyObjects(outlines, *size))
        else:
            shape = encode_mask(np.zeros(size, np.uint8))
    else:
        raise DataError(f"{annotation['name']} has no segmentation, which mask AP needs; score boxes only")
    annotation["rle"] = shape
    return cast(Rle, shape)
