"""Data that an untrained model does well on: photos or made scenes, labelled with what it predicts, a little displaced.

A score of nearly 0 would agree with any other; with such labels it lies in the middle, whatever the weights are.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from tests.makers import SIZES, scene

Rows = list[dict[str, Any]]


def photos(folder: Path, count: int = 6, side: int = 1) -> list[Path]:
    """Made scenes as JPEG files, of several sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        height, width = SIZES[n % len(SIZES)]
        image, _ = scene(n, (height * side, width * side), 4, 3)
        Image.fromarray(image).save(folder / f"{n:03d}.jpg", quality=95)
    return sorted(folder.glob("*.jpg"))


def pixels(path: Path) -> np.ndarray:
    """RGB (H, W, 3) as Pillow reads it."""
    return np.asarray(Image.open(path).convert("RGB"))


def once(predict: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], Any]:
    """The same function, which sees each image only once."""
    seen: dict[bytes, Any] = {}

    def kept(image: np.ndarray) -> Any:
        key = image.tobytes()
        if key not in seen:
            seen[key] = predict(image)
        return seen[key]

    return kept


def coco_of(
    root: Path,
    files: Sequence[Path],
    predict: Callable[[np.ndarray], Rows],
    names: Sequence[str],
    *,
    most: int = 6,
    moved: int = 2,
) -> Path:
    """A COCO folder with these images, labelled with the `most` best rows of each.

    Args:
        root: gets the folder.
        files: the images.
        predict: an image -> rows of category_id, bbox (left, top, width, height), score and perhaps segmentation (RLE).
        names: of categories 1, 2, ...
        most: how many objects an image has.
        moved: pixels that masks are moved to the right.
    """
    rng = np.random.default_rng(0)
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").mkdir()
    images, objects = [], []
    for n, path in enumerate(files, 1):
        shutil.copy(path, root / "val2017" / path.name)
        image = pixels(path)
        height, width = image.shape[:2]
        images.append(dict(id=n, file_name=path.name, height=height, width=width))
        rows = [row for row in predict(image) if 1 <= row["category_id"] <= len(names)]
        large = [row for row in rows if min(row["bbox"][2:]) >= 4]
        for row in sorted(large, key=lambda row: -row["score"])[:most]:
            box = np.asarray(row["bbox"]) + rng.uniform(-0.1, 0.1, 4) * row["bbox"][2]
            box = [float(value) for value in (*box[:2].clip(0), *box[2:].clip(3))]
            found = dict(id=len(objects) + 1, image_id=n, category_id=row["category_id"], iscrowd=0, bbox=box)
            if "segmentation" in row:
                whole = run_lengths.decode(row["segmentation"])
                found["segmentation"] = rle(np.roll(whole, moved, axis=1))
                found["bbox"] = [float(v) for v in run_lengths.toBbox(found["segmentation"])]
            else:
                left, top, w, h = box
                found["segmentation"] = [[left, top, left + w, top, left + w, top + h, left, top + h]]
            objects.append({**found, "area": found["bbox"][2] * found["bbox"][3]})
    categories = [dict(id=n, name=name) for n, name in enumerate(names, 1)]
    content = dict(images=images, annotations=objects, categories=categories)
    (root / "annotations/instances_val2017.json").write_text(json.dumps(content))
    return root


def rle(mask: np.ndarray) -> dict[str, Any]:
    """A mask (H, W) as a JSON run-length dict."""
    found = run_lengths.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {**found, "counts": found["counts"].decode()}


def average_precision(root: Path, predict: Callable[[np.ndarray], Rows], kind: str = "bbox") -> float:
    """COCO AP by pycocotools of a loop over the folder's images, read with Pillow."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(root / "annotations/instances_val2017.json")
        rows = [
            {**row, "image_id": n}
            for n, image in truth.imgs.items()
            for row in predict(pixels(root / "val2017" / image["file_name"]))
        ]
        scored = COCOeval(truth, truth.loadRes(rows), kind)
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    return float(scored.stats[0])


def ade_of(
    root: Path, files: Sequence[Path], predict: Callable[[np.ndarray], np.ndarray], names: Sequence[str]
) -> Path:
    """An ADE folder with label maps: what is predicted, moved by three pixels, with a void frame."""
    for part in ("images", "annotations"):
        (root / part / "validation").mkdir(parents=True)
    for path in files:
        shutil.copy(path, root / "images/validation" / path.name)
        label = np.roll(predict(pixels(path)), 3, axis=1).astype(np.uint8) + 1
        label[:2] = 0
        Image.fromarray(label).save(root / "annotations/validation" / f"{path.stem}.png")
    table = dict(classes=list(names), reduce_zero_label=True)
    (root / "classes.json").write_text(json.dumps(table))
    return root


def mean_iou(root: Path, predict: Callable[[np.ndarray], np.ndarray], n_classes: int) -> float:
    """Mean IoU over the classes that occur, counted pixel by pixel."""
    both, either = np.zeros(n_classes), np.zeros(n_classes)
    for path in sorted((root / "images/validation").iterdir()):
        label = np.asarray(Image.open(root / "annotations/validation" / f"{path.stem}.png")).astype(int) - 1
        found, counted = predict(pixels(path)), label >= 0
        for n in range(n_classes):
            one, other = (found == n) & counted, (label == n) & counted
            both[n] += (one & other).sum()
            either[n] += (one | other).sum()
    return float((both[either > 0] / either[either > 0]).mean())


def folders_of(root: Path, files: Sequence[Path], predict: Callable[[np.ndarray], int], names: Sequence[str]) -> Path:
    """Class folders: two of three images lie in the folder of what is predicted."""
    for n, path in enumerate(files):
        label = predict(pixels(path))
        folder = root / names[label if n % 3 else (label + 1) % len(names)]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.name)
    return root


def accuracy(root: Path, predict: Callable[[np.ndarray], int], names: Sequence[str]) -> float:
    """Share of images whose prediction is the name of their folder."""
    files = sorted(root.rglob("*.jpg"))
    return sum(names[predict(pixels(path))] == path.parent.name for path in files) / len(files)


def made_sure(network: Any, run: Callable[[], Any], spreads: dict[str, float]) -> Any:
    """An untrained network whose statistics fit its inputs, and whose last layers say something.

    Args:
        network: in evaluation mode.
        run: puts images through it.
        spreads: end of a layer's name -> standard deviation that its outputs get.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    for layer in norms:
        layer.momentum = None
        layer.train()
    with torch.no_grad():
        run()
    for layer in norms:
        layer.eval()

    def scale(spread: float) -> Callable[..., None]:
        def hook(layer: Any, inputs: Any, output: Any) -> Any:
            if layer in done:
                return None
            done.add(layer)
            by = spread / float(output.std())
            layer.weight.data.mul_(by)
            if layer.bias is not None:
                layer.bias.data.zero_()
            return layer(*inputs)

        return hook

    done: set[Any] = set()
    hooks = [
        layer.register_forward_hook(scale(spread))
        for key, layer in network.named_modules()
        for end, spread in spreads.items()
        if key.endswith(end) and hasattr(layer, "weight")
    ]
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    assert done
    return network.eval()
