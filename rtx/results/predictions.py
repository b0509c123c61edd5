"""Predictions on disk: rtx's own compact files, and what other tools write.

Detections of one condition are one `.npz` (boxes, scores, classes, run-length masks), label maps one `.zip` of PNG
images. Both can be scored again without inference. From other tools: COCO result files, and folders of label maps.
"""

from __future__ import annotations

import io
import itertools
import json
import logging
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from rtx.errors import BadValue, DataError
from rtx.metrics.accuracy import Guess
from rtx.metrics.coco_file import FIELDS
from rtx.metrics.coco_truth import CocoTruth, ImageId, Rle, encode_mask, fills, image_size
from rtx.results.arrays import pack, reading, unpack, unpack_head

if TYPE_CHECKING:
    from rtx.metrics.coco import Detections

log = logging.getLogger(__name__)

PREDICTIONS_FORMAT = "rtx.predictions/1"
CLASSES_FORMAT = "rtx.classes/1"
MAP_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")
Row = tuple[ImageId, float, int, Any, Any]
"""Image, score, label, box or None, mask or None."""
_PIL_FAULTS = (PILImage.DecompressionBombError, EOFError, IndexError, struct.error, zlib.error)
"""What Pillow lets pass of damaged files, beside OSError and SyntaxError."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


def detections_to_bytes(found: Sequence[Detections], classes: Sequence[int | str]) -> bytes:
    """The content of a file of detections.

    Args:
        found: detections of each image, empty ones too.
        classes: what each label stands for: category ids for COCO, names elsewhere.
    """
    counts = [len(d.scores) for d in found]
    parts: dict[str, list[NDArray[Any]]] = {
        "boxes": [d.boxes.reshape(-1, 4) for d in found],
        "scores": [d.scores for d in found],
        "labels": [d.labels for d in found],
    }
    arrays = {name: np.concatenate(rows) if rows else np.zeros(0) for name, rows in parts.items()}
    head: dict[str, Any] = {"format": PREDICTIONS_FORMAT, "classes": list(classes)}
    head["image_ids"] = [d.image_id for d in found]
    head["not_finite"] = sorted((d.image_id for d in found if d.broken), key=str)
    arrays["counts"] = np.array(counts, np.int64)
    if any(d.mask_scores is not None for d in found):
        arrays["mask_scores"] = np.concatenate([d.scores if d.mask_scores is None else d.mask_scores for d in found])
    if any(d.masks is not None for d in found):
        masks = [mask for d in found for mask in d.masks or ()]
        codes = [_counts(mask) for mask in masks]
        arrays["mask_lengths"] = np.array([len(code) for code in codes], np.int64)
        arrays["mask_codes"] = np.frombuffer(b"".join(codes), np.uint8)
        arrays["mask_sizes"] = np.array([mask["size"] for mask in masks], np.int64).reshape(-1, 2)
    return pack(head, arrays)


def read_detections(path: Path) -> tuple[list[Detections], list[int | str]]:
    """Read a file of detections, and what its labels stand for.

    Raises:
        BadValue: it is no such file.
    """
    from rtx.metrics.coco import Detections  # numba takes a second to import, and reports read label maps here

    with reading(path, "file of detections", "keep the predictions again"):
        head, arrays = unpack(path, PREDICTIONS_FORMAT)
        ends = _ends(arrays["counts"], arrays["scores"], arrays["labels"], arrays["boxes"])
        masks = _masks(arrays) if "mask_codes" in arrays else None
        if masks is not None and len(masks) != ends[-1]:
            raise ValueError(f"{len(masks)} masks for {ends[-1]} boxes")
        _check_numbers(arrays["labels"], head["classes"])
        for name in ("boxes", "scores", "mask_scores"):
            if name in arrays and arrays[name].dtype.kind not in "fiu":
                raise ValueError(f"{name} of type {arrays[name].dtype}")
        broken = set(head.get("not_finite", []))
        found = []
        for image_id, start, end in zip(head["image_ids"], ends[:-1], ends[1:], strict=True):
            part = slice(start, end)
            own = arrays["mask_scores"][part] if "mask_scores" in arrays else None
            boxes, labels = arrays["boxes"].reshape(-1, 4)[part], arrays["labels"][part].astype(np.int64)
            shapes = None if masks is None else masks[part]
            row = Detections(image_id, boxes, arrays["scores"][part], labels, shapes, own, image_id in broken)
            found.append(row)
        return found, list(head["classes"])


def _ends(counts: NDArray[Any], *columns: NDArray[Any]) -> list[int]:
    """Where the rows of each image lie, from 0 on.

    Raises:
        ValueError: the counts are no counts of the rows of every column.
    """
    lengths = {len(column) for column in columns}
    if counts.ndim != 1 or counts.dtype.kind not in "iu" or len(lengths) != 1:
        raise ValueError(f"counts of type {counts.dtype} for columns of {sorted(lengths)} rows")
    rows = [int(count) for count in counts]
    if min(rows, default=0) < 0 or sum(rows) != lengths.pop():
        raise ValueError("counts that are not those of the rows")
    return [0, *itertools.accumulate(rows)]


def _check_numbers(labels: NDArray[Any], classes: Any) -> None:
    """Raise ValueError unless every label is the number of a class, and every class a name or id of its own."""
    if not isinstance(classes, list) or not all(type(name) in (int, str) for name in classes):
        raise ValueError("classes that are no list of names or ids")
    if labels.size and labels.dtype.kind not in "iu":
        raise ValueError(f"labels of type {labels.dtype}")
    if labels.size and not 0 <= labels.min() <= labels.max() < len(classes):
        raise ValueError(f"labels {labels.min()} to {labels.max()} of {len(classes)} classes")


def listed_images(path: Path) -> frozenset[ImageId]:
    """The images that a file of detections was made on, also those in which nothing was found.

    Raises:
        BadValue: it is no such file.
    """
    with reading(path, "file of detections", "keep the predictions again"):
        return frozenset(unpack_head(path, PREDICTIONS_FORMAT)["image_ids"])


def read_coco_results(
    paths: Iterable[Path], truth: CocoTruth, categories: Sequence[int]
) -> dict[str, list[Detections]]:
    """Read COCO result files: lists of `image_id`, `category_id`, `score`, and `bbox` or `segmentation` or both.

    Beside a file with boxes alone, others give masks only: mmdet writes the boxes into `.segm.json` again.

    Args:
        paths: the files of one condition, e.g. one with boxes and one with masks.
        truth: the ground truth that they are for.
        categories: the category ids that count; rows of others are an error.

    Returns:
        `bbox` and `segm`, whichever there are rows of; an empty result is an empty list under `bbox`.

    Raises:
        BadValue: a file or a row is not of this form, names an unknown image or category, or holds NaN; file, row and
            value are named. Or two files have boxes, or masks, of one category in one image.
    """
    tables: dict[Path, list[Row]] = {}
    label = {category: n for n, category in enumerate(categories)}
    for path in paths:
        table = tables.setdefault(path, [])
        for n, row in enumerate(_rows(path)):
            place = f"{path}: row {n}"
            image_id, category, score = (_entry(row, name, place) for name in ("image_id", "category_id", "score"))
            if image_id not in truth.images:
                raise BadValue(f"{place}: image_id {image_id!r} is not in {truth.place}; use the ids of that file")
            if category not in label:
                raise BadValue(f"{place}: category_id {category!r} is not among the categories of {truth.place}")
            try:
                score = float(score)
                box = _box(row.get("bbox"), place)
                mask = None if row.get("segmentation") is None else _rle(row["segmentation"], truth, image_id, place)
            except (TypeError, ValueError, OverflowError) as error:
                raise BadValue(f"{place}: {error}") from error
            if box is None and mask is None:
                raise BadValue(f"{place}: has neither bbox nor segmentation")
            table.append((image_id, score, label[category], box, mask))
    rows: dict[str, dict[ImageId, list[tuple[Any, ...]]]] = {"bbox": {}, "segm": {}}
    for image_id, score, number, box, mask in _once(tables):
        if mask is not None:
            rows["segm"].setdefault(image_id, []).append((box or (0.0,) * 4, score, number, mask))
        if box is not None:
            rows["bbox"].setdefault(image_id, []).append((box, score, number))
    kinds = [kind for kind in rows if rows[kind]] or ["bbox"]
    return {kind: [detections(i, part) for i, part in rows[kind].items()] for kind in kinds}


def _once(tables: Mapping[Path, list[Row]]) -> Iterator[Row]:
    """Rows of the files of one condition, each box and each mask once."""
    boxes_alone = [path for path, rows in tables.items() if any(mask is None for *_, mask in rows)]
    boxed = {image for path in boxes_alone for image, *_ in tables[path]}
    owners: dict[tuple[str, ImageId, int], Path] = {}
    for path, rows in tables.items():
        for image, score, number, box, mask in rows:
            if boxes_alone and path not in boxes_alone:
                if image not in boxed:
                    names = ", ".join(other.name for other in boxes_alone)
                    raise BadValue(
                        f"{path}: image {image!r} has masks here, but no boxes in {names}; leave one of them"
                    )
                box = None
            for kind, shape in (("boxes", box), ("masks", mask)):
                owner = path if shape is None else owners.setdefault((kind, image, number), path)
                if owner != path:
                    raise BadValue(
                        f"{path}: {kind} of image {image!r} and of one category are in {owner.name}, too; "
                        "leave one of them"
                    )
            yield image, score, number, box, mask


def encode_map(labels: NDArray[np.integer[Any]]) -> bytes:
    """A label map (H, W) as PNG: 8 bits, or 16 where a class needs them."""
    stream = io.BytesIO()
    top = int(labels.max()) if labels.size else 0
    PILImage.fromarray(labels.astype(np.uint8 if top < 256 else np.uint16)).save(stream, "PNG")
    return stream.getvalue()


def maps_to_bytes(maps: Iterable[tuple[str, bytes]]) -> bytes:
    """A `.zip` of label maps from (name of the image without suffix, PNG); the same maps give the same bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(maps):
            archive.writestr(zipfile.ZipInfo(f"{name}.png", _EPOCH), content)
    return stream.getvalue()


def read_maps(path: Path) -> Iterator[tuple[str, NDArray[np.integer[Any]]]]:
    """Label maps of a folder (at any depth) or a `.zip`: (name without folder and suffix, (H, W) labels), by name.

    Raises:
        BadValue: there is no label map, two have one name, or one is not a single-channel image.
    """
    found: dict[str, Any] = {}
    archive: zipfile.ZipFile | None = None
    try:
        if path.is_dir():
            files: list[Any] = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in MAP_SUFFIXES]
        else:
            archive = zipfile.ZipFile(path)
            files = [n for n in sorted(archive.namelist()) if Path(n).suffix.lower() in MAP_SUFFIXES]
    except (OSError, ValueError, struct.error, zipfile.BadZipFile) as error:
        raise BadValue(f"{path}: neither a folder nor a zip file of label maps ({error})") from error
    for item in files:
        name = Path(item).stem
        if name in found:
            raise BadValue(f"{path}: two label maps are named {name!r}: {found[name]} and {item}")
        found[name] = item
    if not found:
        raise BadValue(f"{path}: holds no label map ({', '.join(MAP_SUFFIXES)})")
    for name, item in sorted(found.items()):
        yield name, read_map(io.BytesIO(_unzipped(archive, item, path)) if archive else item, f"{path}: {item}")


def _unzipped(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    try:
        return archive.read(name)
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BadValue(f"{path}: {name} cannot be unpacked ({error}); keep the predictions again") from error


def read_map(source: Any, place: str) -> NDArray[np.integer[Any]]:
    """One label map: grey of 8, 16 or 32 bits, or palette indices.

    Raises:
        BadValue: it is no image, or a colour image.
    """
    try:
        with PILImage.open(source) as image:
            if image.mode not in ("L", "P", "I", "I;16", "I;16B", "I;16L", "1"):
                raise BadValue(
                    f"{place}: a label map must have one channel of class numbers, this one is {image.mode}; "
                    "save indices, not colours"
                )
            return np.asarray(image).astype(np.int64)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, *_PIL_FAULTS) as error:
        if isinstance(error, BadValue):
            raise
        raise BadValue(f"{place}: cannot be read as an image ({error})") from error


def _rows(path: Path) -> list[Mapping[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadValue(f"{path}: cannot be read as a COCO result file ({error})") from error
    if isinstance(content, Mapping):
        content = content.get("annotations")
    if not isinstance(content, list) or not all(isinstance(row, Mapping) for row in content):
        raise BadValue(f"{path}: a COCO result file is a list of detections, each with image_id, category_id and score")
    return content


def _entry(row: Mapping[str, Any], name: str, place: str) -> Any:
    if name not in row or isinstance(row[name], list | dict):
        raise BadValue(f"{place}: has no {name}")
    return row[name]


def _box(value: Any, place: str) -> tuple[float, float, float, float] | None:
    if value is None:
        return None
    box = np.asarray(value, dtype=float)
    if box.shape != (4,) or not np.isfinite(box).all() or (box[2:] < 0).any():
        raise BadValue(f"{place}: bbox {value!r} must be left, top, width, height, not negative")
    left, top, width, height = box.tolist()
    return left, top, left + width, top + height


def _rle(shape: Any, truth: CocoTruth, image_id: ImageId, place: str) -> Rle:
    from pycocotools import mask as codec

    try:
        size = image_size(truth, image_id)
    except DataError as error:
        raise BadValue(f"{place}: {error}") from error
    fits, wanted = FIELDS["annotations"]["segmentation"]
    if not fits(shape):
        raise BadValue(f"{place}: its mask must be {wanted}")
    if isinstance(shape, list):
        rings = [ring for ring in shape if len(ring) >= 6]  # four numbers would be taken for a box
        return dict(codec.merge(codec.frPyObjects(rings, *size))) if rings else encode_mask(np.zeros(size, np.uint8))
    if tuple(shape["size"]) != size or not fills(shape["counts"], size):
        raise BadValue(f"{place}: its mask is not of the image's size {size} (height, width)")
    if isinstance(shape["counts"], list):
        return dict(codec.frPyObjects(dict(shape), *size))
    return {"size": list(size), "counts": _counts(shape)}


def _counts(mask: Mapping[str, Any]) -> bytes:
    counts = mask["counts"]
    return counts.encode() if isinstance(counts, str) else bytes(counts)


def _masks(arrays: Mapping[str, NDArray[Any]]) -> list[Rle]:
    ends = _ends(arrays["mask_lengths"], arrays["mask_codes"])
    codes = arrays["mask_codes"].tobytes()
    sizes = arrays["mask_sizes"].tolist()
    masks = [
        {"size": size, "counts": codes[start:end]} for size, start, end in zip(sizes, ends[:-1], ends[1:], strict=True)
    ]
    if not all(fills(mask["counts"], mask["size"]) for mask in masks):
        raise ValueError("a mask whose run lengths are not those of its size")
    return masks


def detections(image_id: ImageId, rows: Sequence[tuple[Any, ...]], dtype: Any = np.float64) -> Detections:
    """Detections of an image from rows of box, score, label and, of masks, mask."""
    from rtx.metrics.coco import Detections

    boxes, scores, labels, *masks = zip(*rows, strict=True)
    columns = np.array(boxes, dtype).reshape(-1, 4), np.array(scores, dtype), np.array(labels, np.int64)
    return Detections(image_id, *columns, list(masks[0]) if masks else None)


def guesses_to_bytes(found: Iterable[Guess], classes: Sequence[str]) -> bytes:
    """The content of a file of guesses; the same guesses give the same bytes.

    Args:
        found: the guesses of each image.
        classes: what the class numbers stand for.
    """
    rows = sorted(found, key=lambda g: g.image)
    head = {"format": CLASSES_FORMAT, "classes": list(classes), "images": [g.image for g in rows]}
    head["not_finite"] = [g.image for g in rows if g.broken]
    arrays = {
        "counts": np.array([len(g.labels) for g in rows], np.int64),
        "labels": np.concatenate([g.labels for g in rows]).astype(np.uint32) if rows else np.zeros(0, np.uint32),
        "scores": np.concatenate([g.scores for g in rows]).astype(np.float32) if rows else np.zeros(0, np.float32),
    }
    return pack(head, arrays)


def read_guesses(path: Path) -> tuple[list[Guess], list[str]]:
    """Read a file of guesses, and what the class numbers stand for.

    Raises:
        BadValue: it is no such file.
    """
    with reading(path, "file of guesses", "keep the predictions again"):
        head, arrays = unpack(path, CLASSES_FORMAT)
        ends = _ends(arrays["counts"], arrays["scores"], arrays["labels"])[1:-1]
        _check_numbers(arrays["labels"], head["classes"])
        labels = np.split(arrays["labels"].astype(np.int64), ends)
        scores = np.split(arrays["scores"], ends)
        # A file of an earlier rtx does not tell guesses below the threshold from scores that were no numbers.
        empty = [name for name, row in zip(head["images"], labels, strict=True) if not len(row)]
        broken = set(head.get("not_finite", empty))
        rows = [Guess(*row, row[0] in broken) for row in zip(head["images"], labels, scores, strict=True)]
        return rows, [str(name) for name in head["classes"]]
