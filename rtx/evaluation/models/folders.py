"""What is evaluated in a data folder of each layout: the images, what is true of them, the classes. All is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtx.datasets import ade, cityscapes, coco, voc
from rtx.datasets.annotated import read_annotated
from rtx.datasets.class_folders import check_stems, labelled_images
from rtx.datasets.openmmlab import annotated
from rtx.datasets.openmmlab.checks import check_sets
from rtx.datasets.openmmlab.cityscapes import map_set
from rtx.errors import BadValue
from rtx.metrics.coco_file import MMDET, Tables, read_tables
from rtx.metrics.coco_truth import CocoTruth, category_ids, read_truth
from rtx.metrics.voc import VocTruth

CLASS_FOLDERS = "class folders"
SPLITS = coco.SPLIT_NAMES["val"]
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Held:
    """What a data folder holds.

    Attributes:
        rows: of each image `img_path`, and `img_id`, `instances`, `gt_label` or `seg_map_path`.
        classes: names of those that count, in the order of the labels.
        root: where names of images start.
        truth: what detections are scored against.
        rule: what the numbers in label maps mean.
    """

    rows: Rows
    classes: tuple[str, ...]
    root: Path
    truth: CocoTruth | list[VocTruth] | None = None
    rule: ade.LabelRule | None = None


def read_coco(root: Path, *, annotations: str | Path | None, wanted: Sequence[str] | None, known: object) -> Held:
    """A COCO folder; with `annotations`, that file and the folder of its images."""
    split, file = coco.find_file(root, SPLITS) or (SPLITS[0], f"annotations/instances_{SPLITS[0]}.json")
    path = root / file if annotations is None else Path(annotations).absolute()
    tables = read_tables(path, need=MMDET) if path.is_file() else None  # else the check says so
    classes = _wanted(coco.category_names(tables["categories"], path), wanted) if tables else ()
    if annotations is None:
        listed = [Path(row["file_name"]) for row in tables["images"]] if tables else []
        folder = coco.image_folder(root, listed, split) or split
        images, place = root / folder, dict(data_root=str(root), ann_file=file, data_prefix=dict(img=f"{folder}/"))
    else:
        images = root.absolute()
        place = dict(data_root="", ann_file=str(path), data_prefix=dict(img=str(images)))
    check_sets([("val", dict(place, type="CocoDataset", metainfo=dict(classes=classes), tables=tables))])
    assert tables is not None
    return _held(tables, str(path), classes, images)


def read_folder(layout: str) -> Callable[..., Held]:
    """What reads the boxes and masks of a folder of that layout, see `rtx.datasets.annotated`."""

    def read(root: Path, *, annotations: object, wanted: Sequence[str] | None, known: object) -> Held:
        root = root.absolute()
        found = read_annotated(root, layout, "val")
        classes = _wanted(found.classes, wanted)
        place = dict(data_root=str(root), split="val", metainfo=dict(classes=classes))
        check_sets([("val", dict(place, type=annotated.DATASETS[layout]))])
        return _held(found.tables, found.place, classes, root)

    return read


def _held(tables: Tables, place: str, classes: Sequence[str], images: Path) -> Held:
    """What tables in COCO's form hold; the names of images start at `images`."""
    truth = read_truth(tables, place=place)
    label = {category: n for n, category in enumerate(category_ids(truth, classes))}
    rows = {
        key: dict(img_id=key, img_path=str(images / row["file_name"]), width=row["width"], height=row["height"])
        for key, row in truth.images.items()
    }
    for row in rows.values():
        row["instances"] = []
    for item in truth.annotations:
        if item["image_id"] in rows and item["category_id"] in label and _trained_on(item, rows[item["image_id"]]):
            left, top, width, height = item["bbox"]
            found = dict(bbox=[left, top, left + width, top + height], bbox_label=label[item["category_id"]])
            found |= dict(ignore_flag=int(bool(item["iscrowd"])), mask=item.get("segmentation") or None)
            rows[item["image_id"]]["instances"].append(found)
    return Held(list(rows.values()), tuple(classes), images, truth=truth)


def _trained_on(item: Mapping[str, Any], image: Mapping[str, Any]) -> bool:
    """Whether mmdet's data set has an annotation: a subset of images must be the same whoever is evaluated on it."""
    left, top, width, height = item["bbox"]
    inside = min(left + width, image["width"]) > max(left, 0) and min(top + height, image["height"]) > max(top, 0)
    return bool(inside and item["area"] > 0 and width >= 1 and height >= 1 and not item["ignore"])


def read_voc(root: Path, *, annotations: object, wanted: Sequence[str] | None, known: object) -> Held:
    """The evaluated split of a VOC folder."""
    part, names, objects = voc.read_evaluated(root)
    classes = _wanted(names, wanted)
    listing = part.listing.relative_to(part.home).as_posix()
    named = dict(metainfo=dict(classes=classes)) if classes != voc.NAMES else {}
    where = dict(named, data_root=str(part.home), ann_file=listing, objects=objects)
    check_sets([("val", dict(where, type="XMLDataset"))])
    truth = voc.voc_truth(part, objects, classes)
    rows = [
        dict(
            img_id=image.image_id,
            img_path=str(part.home / "JPEGImages" / f"{image.image_id}.jpg"),
            instances=[
                dict(bbox=box, bbox_label=int(label), ignore_flag=int(difficult))
                for box, label, difficult in zip(image.boxes.tolist(), image.labels, image.difficult, strict=True)
            ],
        )
        for image in truth
    ]
    return Held(rows, classes, part.home, truth=truth)


def read_ade(root: Path, *, annotations: object, wanted: object, known: object) -> Held:
    """The validation split of an ADE20K folder."""
    home = ade.find_home(root)
    folder = ade.split_folder(home, "val")
    images, maps = f"images/{folder}", f"annotations/{folder}"
    suffix = ade.image_suffix(home / images)
    if (home / "classes.json").is_file():
        table = ade.settle(ade.read_table(home / "classes.json"), home, [ade.split_folder(home, "train"), folder])
        classes, rule = table.names, ade.label_rule(table)
    else:
        from mmseg.datasets import ADE20KDataset  # for the names of its 150 classes

        classes, rule = tuple(ADE20KDataset.METAINFO["classes"]), ade.LabelRule(reduce=True)
    where = dict(data_root=str(home), data_prefix=dict(img_path=images, seg_map_path=maps), img_suffix=suffix)
    named = dict(metainfo=dict(classes=classes), label_map=list(rule.pairs), reduce_zero_label=rule.reduce)
    return _mapped({**where, **named}, rule)


def read_cityscapes_maps(root: Path, *, annotations: object, wanted: object, known: object) -> Held:
    """The label maps of Cityscapes' validation split."""
    return _mapped(map_set(root, "val"), cityscapes.label_maps(root, "val")[1])


def _mapped(node: Mapping[str, Any], rule: ade.LabelRule) -> Held:
    """The images and label maps that a data set config of mmseg's names, checked."""
    check_sets([("val", dict(node, type="BaseSegDataset"))])
    root, prefix, suffix = Path(node["data_root"]), node["data_prefix"], node["img_suffix"]
    images, maps = root / prefix["img_path"], root / prefix["seg_map_path"]
    meaning = dict(label_map=dict(rule.pairs), reduce_zero_label=rule.reduce)
    rows = [
        dict(
            meaning,
            img_path=str(path),
            seg_map_path=str(maps / ade.map_name(path.relative_to(images), suffix, node.get("seg_map_suffix", ".png"))),
        )
        for path in sorted(images.rglob(f"*{suffix}"), key=str)  # as mmseg sorts them
        if not any(part.startswith(".") for part in path.relative_to(images).parts)
    ]
    return Held(rows, tuple(node["metainfo"]["classes"]), images, rule=rule)


def read_class_folders(root: Path, *, annotations: object, wanted: object, known: Sequence[str]) -> Held:
    """Class folders, whose labels follow the model's classes."""
    found = labelled_images(root, known)
    check_stems(path for path, _ in found)
    return Held([dict(img_path=str(path), gt_label=label) for path, label in found], tuple(known), root)


MAPS = "maps of "
READERS: dict[str, Callable[..., Held]] = {
    "coco": read_coco,
    "voc": read_voc,
    "yolo": read_folder("yolo"),
    "cityscapes": read_folder("cityscapes"),
    "ade": read_ade,
    f"{MAPS}cityscapes": read_cityscapes_maps,
    CLASS_FOLDERS: read_class_folders,
}
"""Layout -> what reads it; a layout with boxes and label maps has two.

`wanted`: names of the classes that count, all when None; `known`: the model's classes.

Raises:
    BadValue: `wanted` names a class that the data do not have.
    DataError: the data cannot be used as they are.
"""


def _wanted(held: Sequence[str], wanted: Sequence[str] | None) -> tuple[str, ...]:
    if absent := [name for name in wanted or () if name not in held]:
        raise BadValue(f"classes: {absent[0]!r} is none of the data's ({', '.join(held)})")
    return tuple(name for name in held if wanted is None or name in wanted)
