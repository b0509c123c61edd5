"""Write rendered scenes in the layouts of COCO, VOC and ADE20K, the same photos and facts in each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from rtx.demo.scenes import CLASSES, LABEL_MAP_CLASSES, SIZE, STUFF, Scene, render_scene
from rtx.errors import DataError, unknown_name

LAYOUTS = ("coco", "voc", "ade20k")
SPLITS = ("train", "val")
JPEG_QUALITY = 95


def write_scenes(
    root: Path,
    counts: Mapping[str, int],
    *,
    seed: int = 0,
    size: tuple[int, int] = SIZE,
    layouts: tuple[str, ...] = LAYOUTS,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Path]:
    """Render scenes and write each in every layout asked for.

    VOC has its training scenes in VOC2007 and VOC2012 `trainval` by turns, its val scenes in VOC2007 `test`.

    Args:
        root: the folder that gets one folder per layout.
        counts: how many scenes the splits "train" and "val" get.
        seed: the scenes' seed.
        size: height and width of a scene.
        layouts: which of `LAYOUTS` to write.
        progress: called with (scenes written, scenes in all).

    Returns:
        Layout -> its data root, as the configs expect one.

    Raises:
        UnknownName: no such layout or split.
        DataError: a file could not be written.
    """
    for layout in layouts:
        if layout not in LAYOUTS:
            raise unknown_name("layout", layout, place="rtx.demo.scenes_layouts.LAYOUTS", choices=LAYOUTS)
    for split in counts:
        if split not in SPLITS:
            raise unknown_name("split", split, place="rtx.demo.scenes_layouts.SPLITS", choices=SPLITS)
    roots = {layout: root / ("VOCdevkit" if layout == "voc" else layout) for layout in layouts}
    total, done = sum(counts.values()), 0
    writers: dict[str, Callable[[Path, str, Iterator[Scene]], Iterator[Scene]]] = {
        "coco": _coco, "voc": _voc, "ade20k": _ade20k,
    }  # fmt: skip
    for split, count in counts.items():
        scenes: Iterator[Scene] = (render_scene(seed, split, index, size=size) for index in range(count))
        # Each writer hands every scene on to the next, so that one scene at a time is in memory.
        for layout in layouts:
            scenes = writers[layout](roots[layout], split, scenes)
        for _ in scenes:
            done += 1
            if progress is not None:
                progress(done, total)
    return roots


def scene_name(split: str, index: int) -> str:
    """File stem of a scene, unique over the splits."""
    return f"{SPLITS.index(split) * 1_000_000 + index:012d}"


def _coco(root: Path, split: str, scenes: Iterator[Scene]) -> Iterator[Scene]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    folder = root / f"{split}2017"
    for index, scene in enumerate(scenes):
        stem = scene_name(split, index)
        _write_image(folder / f"{stem}.jpg", scene.image)
        height, width = scene.image.shape[:2]
        images.append({"id": int(stem), "file_name": f"{stem}.jpg", "height": height, "width": width})
        annotations += [
            {
                "id": len(annotations) + number + 1,
                "image_id": int(stem),
                "category_id": thing.label + 1,
                "bbox": list(thing.box),
                "area": int(thing.mask.sum()),
                "iscrowd": 0,
                "segmentation": run_lengths(thing.mask),
            }
            for number, thing in enumerate(scene.things)
        ]
        yield scene
    categories = [{"id": k + 1, "name": n, "supercategory": shape} for k, (n, (shape, _)) in enumerate(CLASSES.items())]
    facts = {
        "info": {"description": "scenes rendered by rtx"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    _write_text(root / "annotations" / f"instances_{split}2017.json", json.dumps(facts))


def _voc(root: Path, split: str, scenes: Iterator[Scene]) -> Iterator[Scene]:
    listed: dict[tuple[str, str], list[str]] = {("VOC2007", "test"): []} if split == "val" else {
        ("VOC2007", "trainval"): [], ("VOC2012", "trainval"): [],
    }  # fmt: skip
    for index, scene in enumerate(scenes):
        stem = scene_name(split, index)
        (year, image_set), stems = list(listed.items())[index % len(listed)]
        stems.append(stem)
        _write_image(root / year / "JPEGImages" / f"{stem}.jpg", scene.image)
        _write_text(root / year / "Annotations" / f"{stem}.xml", _voc_xml(scene, year, stem))
        yield scene
    for (year, image_set), stems in listed.items():
        _write_text(root / year / "ImageSets" / "Main" / f"{image_set}.txt", "".join(f"{stem}\n" for stem in stems))


def _voc_xml(scene: Scene, year: str, stem: str) -> str:
    node = ElementTree.Element("annotation")
    ElementTree.SubElement(node, "folder").text = year
    ElementTree.SubElement(node, "filename").text = f"{stem}.jpg"
    size = ElementTree.SubElement(node, "size")
    for name, value in zip(("height", "width", "depth"), scene.image.shape, strict=True):
        ElementTree.SubElement(size, name).text = str(value)
    ElementTree.SubElement(node, "segmented").text = "0"
    names = list(CLASSES)
    for thing in scene.things:
        entry = ElementTree.SubElement(node, "object")
        for name, text in (
            ("name", names[thing.label]),
            ("pose", "Unspecified"),
            ("truncated", "0"),
            ("difficult", "0"),
        ):
            ElementTree.SubElement(entry, name).text = text
        box = ElementTree.SubElement(entry, "bndbox")
        x, y, width, height = thing.box
        # VOC counts pixels from 1 and names the last one that belongs to the object.
        for name, value in (("xmin", x + 1), ("ymin", y + 1), ("xmax", x + width), ("ymax", y + height)):
            ElementTree.SubElement(box, name).text = str(value)
    ElementTree.indent(node)
    return ElementTree.tostring(node, encoding="unicode") + "\n"


def _ade20k(root: Path, split: str, scenes: Iterator[Scene]) -> Iterator[Scene]:
    folder = {"train": "training", "val": "validation"}[split]
    for index, scene in enumerate(scenes):
        stem = scene_name(split, index)
        _write_image(root / "images" / folder / f"{stem}.jpg", scene.image)
        _write_image(root / "annotations" / folder / f"{stem}.png", scene.label_map)
        yield scene
    classes = [
        {"label": number, "name": name, "isthing": int(name not in STUFF)}
        for number, name in enumerate(LABEL_MAP_CLASSES, start=1)
    ]
    facts = {"ignore": "0 = unlabelled (ADE convention: use reduce_zero_label=True)", "classes": classes}
    _write_text(root / "classes.json", json.dumps(facts, indent=1))


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask as COCO's uncompressed run lengths: exact, unlike a polygon.

    Example:
        >>> run_lengths(np.array([[False, True], [True, True]]))
        {'size': [2, 2], 'counts': [1, 3]}
    """
    flat = np.concatenate(([False], mask.ravel(order="F"), [False]))
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    ends = np.concatenate(([0], edges, [mask.size]))
    counts = np.diff(ends)
    # Counts alternate from a run of zeros; a last run of length 0 carries nothing.
    return {
        "size": [int(side) for side in mask.shape],
        "counts": [int(n) for n in counts[: len(counts) - (counts[-1] == 0)]],
    }


def _write_image(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = image[..., ::-1] if image.ndim == 3 else image
    if not cv2.imwrite(str(path), np.ascontiguousarray(pixels), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
        raise DataError(f"{path}: the image could not be written; is the disk full or the folder read-only?")


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
