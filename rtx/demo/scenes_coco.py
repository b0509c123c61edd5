"""Write rendered scenes as a COCO data set."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2

from rtx.demo.scenes import CLASSES, SIZE, render_scene
from rtx.errors import unknown_name
from rtx.files import write_whole
from rtx.metrics.coco_truth import encode_mask

SPLITS = ("train", "val")
JPEG_QUALITY = 95


def write_scenes(
    root: Path,
    counts: Mapping[str, int],
    *,
    seed: int = 0,
    size: tuple[int, int] = SIZE,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render scenes into `ROOT/{train,val}2017`, with `ROOT/annotations/instances_{train,val}2017.json`.

    Args:
        root: the data folder, as the configs expect one.
        counts: how many scenes the splits "train" and "val" get.
        seed: the scenes' seed.
        size: height and width of a scene.
        progress: called with (scenes written, scenes in all).

    Raises:
        UnknownName: no such split.
        OutputError: a file could not be written.
    """
    for split in counts:
        if split not in SPLITS:
            raise unknown_name("split", split, place="rtx.demo.scenes_coco.SPLITS", choices=SPLITS)
    done = 0
    for split, count in counts.items():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index in range(count):
            scene, stem = render_scene(seed, split, index, size=size), scene_name(split, index)
            _, photo = cv2.imencode(".jpg", scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            write_whole(root / f"{split}2017" / f"{stem}.jpg", photo.tobytes(), sync=False)
            height, width = size
            images.append({"id": int(stem), "file_name": f"{stem}.jpg", "height": height, "width": width})
            for thing in scene.things:
                run_lengths = encode_mask(thing.mask)  # exact, unlike a polygon
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": int(stem),
                        "category_id": thing.label + 1,
                        "bbox": list(thing.box),
                        "area": int(thing.mask.sum()),
                        "iscrowd": 0,
                        "segmentation": {**run_lengths, "counts": run_lengths["counts"].decode()},
                    }
                )
            done += 1
            if progress is not None:
                progress(done, sum(counts.values()))
        categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
        facts = {"images": images, "annotations": annotations, "categories": categories}
        write_whole(root / "annotations" / f"instances_{split}2017.json", json.dumps(facts).encode(), sync=False)


def scene_name(split: str, index: int) -> str:
    """File stem of a scene, unique over the splits."""
    return f"{SPLITS.index(split) * 1_000_000 + index:012d}"
