"""Cityscapes: `leftImg8bit/<split>/<city>/*_leftImg8bit.png`, and its annotations of the same names in `gtFine`.

Names, ids and layout: https://github.com/mcordts/cityscapesScripts, `helpers/labels.py` and `preparation`. Instances
are read from `*_instanceIds.png`, or drawn from `*_polygons.json` as `json2instanceImg.py` draws them; label maps are
`*_labelTrainIds.png`, or `*_labelIds.png`, whose numbers are then mapped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

from rtx.datasets.ade import LabelRule, LabelTable, label_rule
from rtx.datasets.image_files import image_sizes
from rtx.datasets.layout import DataFolder, Layout, unsaid
from rtx.errors import BadValue, DataError, some
from rtx.metrics.coco_file import Tables
from rtx.results.predictions import read_map

IMAGES, TRUTH = "leftImg8bit", "gtFine"
IMAGE_END = "_leftImg8bit.png"
ENDS = ("instanceIds.png", "labelTrainIds.png", "labelIds.png", "polygons.json")

_NAMES = {
    **dict(
        enumerate(("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground"))
    ),
    **dict(enumerate(("road", "sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail"), 7)),
    **dict(enumerate(("bridge", "tunnel", "pole", "polegroup", "traffic light", "traffic sign", "vegetation"), 15)),
    **dict(enumerate(("terrain", "sky", "person", "rider", "car", "truck", "bus", "caravan", "trailer", "train"), 22)),
    **dict(enumerate(("motorcycle", "bicycle"), 32)),
}
"""Id -> name. A license plate has no id and is never drawn."""
_NOT_EVALUATED = frozenset((*range(7), 9, 10, 14, 15, 16, 18, 29, 30))
IDS = tuple(number for number in _NAMES if number not in _NOT_EVALUATED)
"""Ids of the 19 evaluated classes; the place of each is its train id."""
CLASSES = tuple(_NAMES[number] for number in IDS)
_COUNTED = range(24, 34)  # classes of which instances are told apart, caravans and trailers included
INSTANCE_IDS = tuple(number for number in IDS if number in _COUNTED)
INSTANCE_CLASSES = tuple(_NAMES[number] for number in INSTANCE_IDS)
_PER_CLASS = 1000  # instance n of class c is c * 1000 + n


@dataclass(frozen=True)
class Frame:
    """One image.

    Attributes:
        image: the file.
        name: city and numbers, e.g. frankfurt_000000_000294.
        truth: where its annotation files start: complete it by one of `ENDS`.
    """

    image: Path
    name: str
    truth: str

    def file(self, end: str) -> Path:
        """An annotation file, whether it is there or not."""
        return Path(f"{self.truth}_{end}")


def frames(root: Path, split: str) -> list[Frame]:
    """The images of a split, sorted.

    Raises:
        DataError: there is no such split, or no image in it.
    """
    folder = root / IMAGES / split
    if not folder.is_dir():
        raise unsaid(root, f"{IMAGES}/{split}", splits_of(root))
    images = sorted(folder.rglob(f"*{IMAGE_END}"))
    if not images:
        raise DataError(f"{folder} has no *{IMAGE_END} image; unpack {IMAGES}_trainvaltest.zip there")
    found = []
    for image in images:
        name = image.name.removesuffix(IMAGE_END)
        found.append(
            Frame(image, name, str(root / TRUTH / split / image.parent.relative_to(folder) / f"{name}_{TRUTH}"))
        )
    if len({frame.name for frame in found}) != len(found):
        raise DataError(f"{folder}: two images have one name; cities keep their own numbers")
    return found


def splits_of(root: Path) -> list[str]:
    """The splits that are there."""
    return sorted(path.name for path in (root / IMAGES).glob("*") if path.is_dir())


def files_of(root: Path, split: str) -> Iterator[Path]:
    """Every file that the instances of a split depend on."""
    for frame in frames(root, split):
        yield from (frame.image, frame.file("instanceIds.png"), frame.file("polygons.json"))


def read_instances(root: Path, split: str) -> tuple[Tables, tuple[str, ...]]:
    """The images and instances of a split in COCO's form, and what a person must know about them.

    An image's id is its name, a category's its Cityscapes id. Groups, in which nobody could tell instances apart, are
    `iscrowd`: neither found nor missed. The 8 evaluated classes count; caravans and trailers do not.

    Raises:
        DataError: as `frames`; annotations are missing, cannot be read, are of another size than the image or hold a
            number that means nothing.
    """
    found = frames(root, split)
    ends = ENDS[0], ENDS[3]
    lost = [frame.name for frame in found if not any(frame.file(end).is_file() for end in ends)]
    if lost:
        raise DataError(
            f"{root}: {len(lost)} of {len(found)} images of {split} have neither {' nor '.join(ends)} in {TRUTH}: "
            f"{some(lost)}; unpack gtFine_trainvaltest.zip there"
        )
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(_instances_of, found))
    images = [
        dict(id=frame.name, file_name=frame.image.relative_to(root).as_posix(), width=width, height=height)
        for frame, ((height, width), _) in zip(found, read, strict=True)
    ]
    annotations: list[dict[str, Any]] = [row for _, rows in read for row in rows]
    for number, row in enumerate(annotations, start=1):
        row["id"] = number
    categories = [dict(id=number, name=_NAMES[number]) for number in INSTANCE_IDS]
    drawn = sum(not frame.file(ENDS[0]).is_file() for frame in found)
    notes = (f"{drawn} of {len(found)} images have no {ENDS[0]}: drawn from {ENDS[3]}",) if drawn else ()
    return dict(images=images, categories=categories, annotations=annotations), notes


def _instances_of(frame: Frame) -> tuple[tuple[int, int], list[dict[str, Any]]]:
    """(Height, width) and the instances of one image, in the order of their numbers."""
    path = frame.file(ENDS[0])
    if path.is_file():
        try:
            numbers = read_map(path, f"instances {path}").astype(np.int32)
        except BadValue as error:
            raise DataError(str(error)) from error
    else:
        path = frame.file(ENDS[3])
        numbers = draw_polygons(path)
    size = image_sizes(frame.image)[0]
    if numbers.shape != size:
        raise DataError(f"{path} is of {numbers.shape} pixels (H, W), its image of {size}; copy both again")
    rows = []
    for number in np.flatnonzero(np.bincount(numbers.reshape(-1))).tolist():
        kind = number // _PER_CLASS if number >= _PER_CLASS else number
        if kind not in _NAMES or (number >= _PER_CLASS and kind not in _COUNTED):
            raise DataError(f"{path}: holds {number}, which is no class and no instance of one; copy the file again")
        if kind not in INSTANCE_IDS:
            continue
        rows.append(
            dict(image_id=frame.name, category_id=kind, iscrowd=int(number < _PER_CLASS), **_outline(numbers == number))
        )
    return size, rows


def _outline(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Box, area and run lengths of a mask (H, W) with at least one pixel."""
    height, width = mask.shape
    columns, lines = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    left, right, top, bottom = columns[0], columns[-1] + 1, lines[0], lines[-1] + 1
    # Run lengths go column by column, zeros first: only the columns that the mask touches are looked at.
    flat = np.concatenate(([False], mask[:, left:right].T.reshape(-1), [False]))
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + left * height
    counts = np.diff(np.concatenate(([0], edges, [height * width]))).tolist()
    return dict(
        bbox=[int(left), int(top), int(right - left), int(bottom - top)],
        area=int(mask.sum()),
        segmentation=dict(size=[height, width], counts=counts),
    )


def draw_polygons(path: Path) -> NDArray[np.int32]:
    """Instance numbers (H, W) of a `*_polygons.json`, later objects over earlier ones, as Cityscapes' own tool has it.

    Raises:
        DataError: the file cannot be read, or has another form.
    """
    ids = {name: number for number, name in _NAMES.items()}
    seen = dict.fromkeys(_COUNTED, 0)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        canvas = Pillow.new("I", (int(content["imgWidth"]), int(content["imgHeight"])), 0)
        pen = ImageDraw.Draw(canvas)
        for row in content["objects"]:
            label = str(row["label"])
            single = label if label in ids else label.removesuffix("group")
            if row.get("deleted") or label == "license plate":
                continue
            if single not in ids:
                raise ValueError(f"label {label!r} is none of Cityscapes'")
            number = ids[single]
            if number in seen and single == label:
                seen[number] += 1
                number = number * _PER_CLASS + seen[number] - 1
            pen.polygon([(float(x), float(y)) for x, y in row["polygon"]], fill=number)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} is no polygon file of Cityscapes ({type(error).__name__}: {error})") from error
    return np.asarray(canvas, np.int32)


def label_maps(root: Path, split: str) -> tuple[str, LabelRule]:
    """How the names of a split's label maps end, and what their numbers mean.

    Raises:
        DataError: images have no label map.
    """
    found = frames(root, split)
    for end in ENDS[1:3]:
        if all(frame.file(end).is_file() for frame in found):
            plain = LabelRule(reduce=False)
            return f"_{TRUTH}_{end}", plain if end == ENDS[1] else label_rule(LabelTable(CLASSES, IDS, reduce=False))
    lost = [frame.name for frame in found if not any(frame.file(end).is_file() for end in ENDS[1:3])]
    what = (
        f"{len(lost)} of {len(found)} images of {split} have none: {some(lost)}" if lost else "some have one kind only"
    )
    raise DataError(
        f"{root}: needs {ENDS[1]} or {ENDS[2]} of every image in {TRUTH}, but {what}; unpack gtFine_trainvaltest.zip "
        "there, or write them with cityscapesScripts' csCreateTrainIdLabelImgs"
    )


def _recognised(root: Path) -> bool:
    return (root / IMAGES).is_dir()


def _evaluated(root: Path, split: str | None) -> DataFolder:
    found = frames(root, split or "val")
    labels = [frame.file(end) for frame in found for end in (*ENDS, "color.png")]
    there = tuple(path.relative_to(root) for path in labels if path.is_file())
    return DataFolder(root, "cityscapes", tuple(frame.image.relative_to(root) for frame in found), there)


LAYOUT = Layout("cityscapes", "Cityscapes (leftImg8bit, gtFine)", _recognised, _evaluated)
