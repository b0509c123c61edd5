"""The table of docs/checks.md on stored predictions: what `rtx score` says of each kind, and where there are none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from rtx.evaluation.offline.classification import ClassTruth
from rtx.evaluation.offline.score import score_predictions
from rtx.evaluation.offline.truth import CocoFile, LabelFolder, Truth
from rtx.metrics.accuracy import Guess
from rtx.metrics.coco import Detections
from rtx.results.folder import CELLS, PREDICTIONS, PROTOCOL
from rtx.results.predictions import detections_to_bytes, encode_map, guesses_to_bytes, maps_to_bytes
from tests.checking import Checked, World, save_map

NAMES = ("ant", "bee")
LABELS = np.eye(4, dtype=np.int64)
BOXES = Detections(1, np.array([[0.0, 0, 2, 2], [2, 2, 4, 4]]), np.array([0.9, 0.8]), np.array([0, 1]))
GUESSES = [Guess(f"{name}/{name}", np.array([0, 1]), np.array([0.9, 0.1])) for name in NAMES]
KINDS = {
    "--coco": (".npz", detections_to_bytes([BOXES], [0, 1])),
    "--labels": (".zip", maps_to_bytes([("1", encode_map(LABELS))])),
    "--class-folders": (".npz", guesses_to_bytes(GUESSES, NAMES)),
}


def world(folder: Path) -> World:
    """A world of its own, once all kernels are compiled, which would be said in the log of the first test."""
    compile_all()
    return made(folder)


@cache
def compile_all() -> None:
    for command in STORED.commands.values():
        with TemporaryDirectory() as folder:
            command(made(Path(folder)))


def made(folder: Path) -> World:
    """Ground truth of every kind for one image, and an evaluation that kept nothing."""
    run = folder / "run"
    (run / CELLS).mkdir(parents=True)
    (run / PROTOCOL).write_text(json.dumps({"metric": {}}))
    for name in NAMES:
        (folder / "folders" / name).mkdir(parents=True)
        save_map(folder / "folders" / name / f"{name}.png", np.zeros((4, 4, 3)))
    (folder / "maps").mkdir()
    save_map(folder / "maps" / "1.png", LABELS)
    boxes = [{"id": n, "image_id": 1, "category_id": n, "bbox": [2 * n, 2 * n, 2, 2]} for n in range(2)]
    truth = {
        "images": [{"id": 1, "file_name": "1.png", "height": 4, "width": 4}],
        "categories": [{"id": n, "name": name} for n, name in enumerate(NAMES)],
        "annotations": boxes,
    }
    (folder / "truth.json").write_text(json.dumps(truth))
    return World(folder, folder / "out")


def keep(world: World, kind: str) -> None:
    """Predictions of one condition, in an evaluation whose ground truth is not known to be this one."""
    ending, content = KINDS[kind]
    world.file = world.root / "elsewhere" / PREDICTIONS
    world.file.mkdir(parents=True)
    (world.file / f"clean{ending}").write_bytes(content)


def score(kind: str, truth: Callable[[Path], Truth]) -> Any:
    """`rtx score` on predictions of its kind, where a fault names no others."""

    def run(world: World) -> None:
        if world.file == Path():
            keep(world, kind)
        score_predictions(world.file, truth(world.root), world.out)

    return run


def not_kept(world: World) -> None:
    world.file = world.root / "run" / PREDICTIONS


def cells(world: World) -> None:
    world.file = world.root / "run" / CELLS
    shutil.copy(world.root / "truth.json", world.file / "clean.json")


STORED = Checked(
    world,
    {
        "--coco": score("--coco", lambda root: CocoFile(root / "truth.json")),
        "--labels": score("--labels", lambda root: LabelFolder(root / "maps", 2)),
        "--class-folders": score("--class-folders", lambda root: ClassTruth(root / "folders")),
    },
    {
        "predictions were not kept": (not_kept, "kept none; evaluate again with --keep-predictions"),
        "the cells in their place": (cells, "holds cells and their evidence.*give .*predictions"),
        "detections": (
            lambda world: keep(world, "--coco"),
            "holds detections, which are scored with --coco|detections go with --coco",
        ),
        "label maps of a segmenter": (
            lambda world: keep(world, "--labels"),
            "holds label maps of a segmenter; score them with --labels",
        ),
        "guesses of a classifier": (
            lambda world: keep(world, "--class-folders"),
            "holds guesses of a classifier, which are scored with --class-folders|guesses with --class-folders",
        ),
    },
)
