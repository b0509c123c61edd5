"""Small made data sets in the layouts that people have on disk: COCO, VOC and ADE20K.

Every maker is a pure function of its arguments (seeded), writes a few kilobytes, and returns the root that a person
would pass as `--data-root`. Objects are flat bright shapes on a textured dark ground, easy to learn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

SIZES = ((96, 128), (128, 96), (112, 112))  # (height, width): several shapes, so that batches have to pad
COLOURS = ((230, 60, 50), (60, 200, 70), (70, 90, 240), (240, 220, 60), (220, 80, 220))
COCO_NAMES = ("disc", "block", "stripe")
VOC_NAMES = ("person", "car", "dog")
ADE_NAMES = ("ground", "disc", "block", "stripe")


def scene(seed: int, size: tuple[int, int], n_objects: int, n_classes: int) -> tuple[Pixels, list[tuple[int, Pixels]]]:
    """Draw one scene.

    Args:
        seed: the same seed gives the same scene.
        size: (height, width).
        n_objects: how many shapes.
        n_classes: classes to draw from; the class decides colour and form.

    Returns:
        The RGB image (H, W, 3) and one (class index, visible mask (H, W) of 0/1) for each shape, later ones in front.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    image = rng.integers(20, 90, (height, width, 3)).astype(np.uint8)
    rows, columns = np.mgrid[:height, :width]
    masks: list[tuple[int, Pixels]] = []
    for _ in range(n_objects):
        label = int(rng.integers(n_classes))
        radius = int(rng.integers(12, 24))
        row = int(rng.integers(radius, height - radius))
        column = int(rng.integers(radius, width - radius))
        far = np.maximum(abs(rows - row), abs(columns - column))
        forms = (
            (rows - row) ** 2 + (columns - column) ** 2 <= radius**2,
            far <= radius,
            (far <= radius) & (abs(rows - row) <= radius // 2),
        )
        mask = forms[label % len(forms)]
        image[mask] = COLOURS[label % len(COLOURS)]
        masks = [(other, (old & ~mask).astype(np.uint8)) for other, old in masks] + [(label, mask.astype(np.uint8))]
    return image, [(label, mask) for label, mask in masks if mask.sum() > 16]


def box_of(mask: Pixels) -> tuple[int, int, int, int]:
    """Return the tight (left, top, width, height) of a mask in pixels."""
    rows, columns = np.nonzero(mask)
    left, top = int(columns.min()), int(rows.min())
    return left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1


def rle_of(mask: Pixels) -> dict[str, Any]:
    """Encode a mask as COCO's uncompressed run lengths (column order, first run counts zeros)."""
    flat = np.asarray(mask, np.uint8).flatten(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])))
    counts = np.diff(np.concatenate([[0], edges])).tolist()
    return {"size": list(mask.shape), "counts": counts}


def polygon_of(mask: Pixels) -> list[list[float]]:
    """Return the bounding box of a mask as a polygon (enough for a test's segmentation)."""
    left, top, width, height = box_of(mask)
    right, bottom = left + width, top + height
    return [[float(v) for v in (left, top, right, top, right, bottom, left, bottom)]]


def make_coco(
    root: Path,
    *,
    splits: Mapping[str, int] | None = None,
    names: Sequence[str] = COCO_NAMES,
    ids: Sequence[int] | None = None,
    seed: int = 0,
) -> Path:
    """Write a COCO data set: `<split>/*.jpg` and `annotations/instances_<split>.json`.

    The last image of each split has no object, and the first one has a crowd region, as COCO has.

    Args:
        root: folder to write in, made if need be.
        splits: split name -> number of images; 6 in train2017 and 4 in val2017 when None.
        names: category names.
        ids: category ids; with gaps when None.
        seed: of the scenes.
    """
    splits = {"train2017": 6, "val2017": 4} if splits is None else splits
    ids = [i * 3 + 2 for i in range(len(names))] if ids is None else ids
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for n_split, (split, n_images) in enumerate(splits.items()):
        (root / split).mkdir(exist_ok=True)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for n in range(n_images):
            size = SIZES[n % len(SIZES)]
            n_objects = 0 if n == n_images - 1 and n_images > 1 else 3
            pixels, objects = scene(seed * 1000 + n_split * 100 + n, size, n_objects, len(names))
            image_id = n_split * 100 + n + 1
            file_name = f"{image_id:012d}.jpg"
            Image.fromarray(pixels).save(root / split / file_name, quality=95)
            images.append({"id": image_id, "file_name": file_name, "height": size[0], "width": size[1]})
            for k, (label, mask) in enumerate(objects):
                crowd = int(n == 0 and k == 0 and len(objects) > 1)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": ids[label],
                        "bbox": list(box_of(mask)),
                        "area": int(mask.sum()),
                        "iscrowd": crowd,
                        "segmentation": rle_of(mask) if crowd or k % 2 else polygon_of(mask),
                    }
                )
        categories = [{"id": i, "name": name, "supercategory": "shape"} for i, name in zip(ids, names, strict=True)]
        table = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(table), encoding="utf-8")
    return root


def voc_xml(name: str, size: tuple[int, int], objects: Sequence[tuple[str, tuple[int, int, int, int], bool]]) -> str:
    """Write one VOC annotation.

    Args:
        name: file name of the image.
        size: (height, width).
        objects: (class name, (left, top, right, bottom) counted from 1 and inclusive, difficult).
    """
    top = ElementTree.Element("annotation")
    ElementTree.SubElement(top, "folder").text = "VOC2007"
    ElementTree.SubElement(top, "filename").text = name
    shape = ElementTree.SubElement(top, "size")
    for key, value in (("width", size[1]), ("height", size[0]), ("depth", 3)):
        ElementTree.SubElement(shape, key).text = str(value)
    for label, box, difficult in objects:
        node = ElementTree.SubElement(top, "object")
        ElementTree.SubElement(node, "name").text = label
        ElementTree.SubElement(node, "difficult").text = str(int(difficult))
        corners = ElementTree.SubElement(node, "bndbox")
        for key, number in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            ElementTree.SubElement(corners, key).text = str(number)
    return ElementTree.tostring(top, encoding="unicode")


def make_voc(
    root: Path,
    *,
    years: Mapping[str, Mapping[str, int]] | None = None,
    names: Sequence[str] = VOC_NAMES,
    seed: int = 0,
) -> Path:
    """Write a VOC data set: `VOCdevkit/VOC<year>/{JPEGImages,Annotations,ImageSets/Main}`.

    The second object of every third image is marked difficult.

    Args:
        root: folder to write in, made if need be.
        years: year -> split -> number of images; 5 in trainval and 4 in test of 2007 when None.
        names: class names.
        seed: of the scenes.
    """
    years = {"2007": {"trainval": 5, "test": 4}} if years is None else years
    for n_year, (year, splits) in enumerate(years.items()):
        home = root / "VOCdevkit" / f"VOC{year}"
        for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        for n_split, (split, n_images) in enumerate(splits.items()):
            stems = []
            for n in range(n_images):
                size = SIZES[n % len(SIZES)]
                pixels, objects = scene(seed * 9000 + n_year * 1000 + n_split * 100 + n, size, 3, len(names))
                stem = f"{year}_{n_split}{n:05d}"
                stems.append(stem)
                Image.fromarray(pixels).save(home / "JPEGImages" / f"{stem}.jpg", quality=95)
                rows = []
                for k, (label, mask) in enumerate(objects):
                    left, top, width, height = box_of(mask)
                    rows.append((names[label], (left + 1, top + 1, left + width, top + height), k == 1 and n % 3 == 0))
                (home / "Annotations" / f"{stem}.xml").write_text(voc_xml(f"{stem}.jpg", size, rows), encoding="utf-8")
            listing = home / "ImageSets" / "Main" / f"{split}.txt"
            listing.write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
    return root


def make_ade(
    root: Path,
    *,
    splits: Mapping[str, int] | None = None,
    names: Sequence[str] = ADE_NAMES,
    zero_is_unlabelled: bool = True,
    seed: int = 0,
) -> Path:
    """Write an ADE20K-style data set: `images/<split>/*.jpg`, `annotations/<split>/*.png`, `classes.json`.

    Args:
        root: folder to write in, made if need be.
        splits: split name -> number of images; 6 in training and 4 in validation when None.
        names: class names; the first one is the ground.
        zero_is_unlabelled: True writes ADE's convention (0 = unlabelled, classes from 1); False writes classes from 0
            and the number after the last class as void.
        seed: of the scenes.
    """
    splits = {"training": 6, "validation": 4} if splits is None else splits
    first = int(zero_is_unlabelled)
    void = 0 if zero_is_unlabelled else len(names)
    for n_split, (split, n_images) in enumerate(splits.items()):
        for folder in ("images", "annotations"):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        for n in range(n_images):
            size = SIZES[n % len(SIZES)]
            pixels, objects = scene(seed * 1000 + n_split * 100 + n, size, 3, len(names) - 1)
            labels = np.full(size, first, np.uint8)
            for label, mask in objects:
                labels[mask.astype(bool)] = first + 1 + label
            labels[:3] = void
            stem = f"made_{n_split}{n:04d}"
            Image.fromarray(pixels).save(root / "images" / split / f"{stem}.jpg", quality=95)
            Image.fromarray(labels).save(root / "annotations" / split / f"{stem}.png")
    note = "0 = unlabelled (ADE convention: use reduce_zero_label=True)" if zero_is_unlabelled else f"{void} = void"
    classes = [
        {"label": first + n, "name": name, "color": list(COLOURS[n % len(COLOURS)])} for n, name in enumerate(names)
    ]
    (root / "classes.json").write_text(json.dumps({"ignore": note, "classes": classes}), encoding="utf-8")
    return root
