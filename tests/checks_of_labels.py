"""Faults of label maps, class folders and the lists of classification targets, see docs/checks.md."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from mmengine.config import Config
from PIL import Image

from rtx.cli import train as train_command
from rtx.datasets.classification import find_target
from rtx.datasets.openmmlab.with_data import with_data
from rtx.datasets.target_data import check_target
from rtx.errors import DataError
from rtx.evaluation.evaluate import prepare
from rtx.evaluation.models.adapters import Segmenter
from rtx.evaluation.offline.classification import ClassTruth
from rtx.evaluation.offline.truth import LabelFolder
from rtx.evaluation.pixels.stored import Stored
from rtx.evaluation.pixels.stored_files import find_stored
from rtx.probe.run import ProbeOptions, open_data
from rtx.training import missing
from tests.checking import CONFIGS, Checked, World, copied, corrupt, corrupt_eval, hook, save_map, train, turn
from tests.datasets.target_worlds import pets
from tests.evaluation.class_folders import NAMES, make_folders
from tests.evaluation.pixels.stored_world import shade_model
from tests.makers import ADE_NAMES, make_ade

MAPS = "annotations/validation"


@cache
def sound() -> tuple[Path, Config]:
    return make_ade(Path(mkdtemp(prefix="rtx_sound_"))), Config.fromfile(CONFIGS / "upernet_r50_ade20k.py")


def ade(folder: Path) -> World:
    root, cfg = sound()
    root = copied(root, folder / "data")
    return World(root, folder / "out", with_data(cfg, root))


def score(world: World) -> None:
    """`rtx score --labels` on predictions of one condition, which find the first class everywhere."""
    for path in (world.root / MAPS).iterdir():
        (world.out / "clean").mkdir(parents=True, exist_ok=True)
        save_map(world.out / "clean" / path.name, np.zeros(Image.open(path).size[::-1]))
    LabelFolder(world.root / MAPS, len(ADE_NAMES), reduce_zero_label=True).score(world.out / "clean")


def maps(change: Callable[[np.ndarray], np.ndarray], names: str = "*") -> Any:
    """Damages label maps of test images."""

    def damage(world: World) -> None:
        for path in (world.root / MAPS).glob(f"{names}.png"):
            save_map(path, change(np.asarray(Image.open(path))))

    return damage


FIRST = "made_10000"
LABEL_MAPS = Checked(
    ade,
    {
        "train": train,
        "corrupt_eval": corrupt_eval,
        "hook": hook,
        "function": lambda world: prepare(Segmenter(list, ADE_NAMES, name="a"), world.root, world.out) and None,
        "score": score,
        "corrupt": corrupt,
    },
    {
        "an image without label map": (
            lambda world: (world.root / MAPS / f"{FIRST}.png").unlink(),
            rf"1 of (4 label maps are missing|the 4 images have no labels).*{FIRST}\.png",
        ),
        "a number that is no class": (
            maps(lambda labels: np.where(labels == 1, 9, labels), FIRST),
            rf"{FIRST}.*(has the number 9|labels \[8\] are none of the 4 classes)",
        ),
        "a colour image as label map": (
            maps(lambda labels: np.dstack([labels] * 3), FIRST),
            rf"{FIRST}\.png: a label map must have one channel",
        ),
        "255 in place of a class": (
            maps(lambda labels: np.where(labels > 1, 255, labels)),
            r"hold class 1 and no other, and \d+% of their pixels are 255, which does not count",
        ),
        "a class in no label map": (
            maps(lambda labels: np.where(labels == 4, 1, labels)),
            r"1 of 4 classes are in no label.*(stripe|: 3)",
        ),
        "most pixels do not count": (
            maps(lambda labels: np.where(labels == 1, 0, labels)),
            r"\d+% of the pixels of the label maps do not count \(0\)",
        ),
        "a label map of another size than the picture": (
            maps(lambda labels: labels[:, 1:], FIRST),
            rf"1 images have another size .*{FIRST}\.jpg \(128 x 96, 127 x 96 in its label map\)",
        ),
        "a picture that its EXIF data turn": (
            lambda world: turn(world.root / f"images/validation/{FIRST}.jpg"),
            rf"1 images have another size .*{FIRST}\.jpg .*as before the turn",
        ),
    },
)


def class_folders(folder: Path) -> World:
    """`train`, `val`, and the same as corrupted ones."""
    for place in ("data/train", "data/val", "stored/fog/3", "stored/frost/3"):
        make_folders(folder / place)
    return World(folder / "data", folder / "out", classes=NAMES)


def stored(world: World) -> Path:
    return world.root.parent / "stored"


def imagenet_c(world: World) -> None:
    """`rtx imagenet_c`, up to the first image."""
    files = find_stored(stored(world), world.root / "val", world.classes)
    pixels = Stored(files)
    model = shade_model()
    model = type(model)(model.fn, files.classes, name="a")
    job = prepare(model, files.base, world.out, corruptions=["fog", "frost"], severities=[3], pixels=pixels)
    pixels.check(job, overwrite=False)


def function(world: World) -> None:
    model = shade_model()
    prepare(type(model)(model.fn, world.classes, name="a"), world.root / "val", world.out)


def train_target(world: World) -> None:
    """`rtx train --target`, up to the point where it would start."""
    parser = argparse.ArgumentParser()
    train_command.add_arguments(parser)
    words = [str(CONFIGS / "classify_r50.py"), "--target", target(world), "--subset", "--data-root", str(world.root)]
    problems = missing(train_command.prepare(parser.parse_args([*words, "--source", "random"])))
    if problems:
        raise DataError("; ".join(problems))


def target(world: World) -> str:
    return "folder" if (world.root / "train").is_dir() else "pets"


ON_TARGETS: dict[str, Callable[[World], Any]] = {
    "train": train_target,
    "probe": lambda world: open_data(ProbeOptions(("a",), target(world), world.root, subset=True)) and None,
    "targets": lambda world: check_target(find_target(target(world)), world.root, subset=True) and None,
}


def everywhere(change: Callable[[Path], Any]) -> Callable[[World], None]:
    """Damages the class folders of clean and of corrupted images."""

    def damage(world: World) -> None:
        for place in (world.root / "val", stored(world) / "fog/3", stored(world) / "frost/3"):
            change(place)

    return damage


CLASS_FOLDERS = Checked(
    class_folders,
    {
        "train": ON_TARGETS["train"],
        "function": function,
        "score": lambda world: ClassTruth(world.root / "val", classes=world.classes).place[:0],
        "imagenet_c": imagenet_c,
        "probe": ON_TARGETS["probe"],
        "targets": ON_TARGETS["targets"],
    },
    {
        "a folder named after no class": (
            everywhere(lambda place: shutil.copytree(place / "n01", place / "n0l")),
            "1 folders are named after no class of the model, the first is 'n0l'",
        ),
        "a class without folder": (
            everywhere(lambda place: shutil.rmtree(place / "n06")),
            "1 of 6 classes have no (folder: n06|test image, the first is class 5 .n06)",
        ),
        "two images that differ in their suffix alone": (
            everywhere(lambda place: Image.open(place / "n01/000.png").save(place / "n01/000.jpg")),
            r"n01/000\.jpg and 000\.png differ in their suffix alone",
        ),
        "a class named twice": (
            lambda world: setattr(world, "classes", (*NAMES, "n01")),
            "('n01' is there 2 times|1 are there more than once: n01)",
        ),
        "a condition lacks an image": (
            lambda world: (stored(world) / "fog/3/n02/001.png").unlink(),
            "fog/3: lacks 1 of the 12 images of .*the first is 'n02/001'",
        ),
        "the first condition lacks an image": (
            lambda world: (stored(world) / "frost/3/n02/001.png").unlink(),
            "frost/3: lacks 1 images of .*/fog/3, the first is 'n02/001'",
        ),
    },
)


def published(folder: Path) -> World:
    pets(folder / "data", 37)
    return World(folder / "data", folder / "out")


def lists(change: Callable[[bytes, bytes], bytes]) -> Callable[[World], None]:
    """Damages the test list, by itself and the list of training images."""

    def damage(world: World) -> None:
        train_list, test_list = (
            world.root / f"oxford-iiit-pet/annotations/{name}.txt" for name in ("trainval", "test")
        )
        test_list.write_bytes(change(test_list.read_bytes(), train_list.read_bytes()))

    return damage


TARGETS = Checked(
    published,
    ON_TARGETS,
    {
        "a list names an image twice": (
            lists(lambda text, _: text + text.splitlines(keepends=True)[0]),
            r"1 images are in the test lists more than once: oxford-iiit-pet/images/Pet_x_36_2\.jpg",
        ),
        "an image in both lists": (
            lists(lambda text, other: text + other.splitlines(keepends=True)[0]),
            r"1 images are in the train and in the test lists: .*Pet_x_36_1\.jpg",
        ),
        "a listed image is absent": (
            lambda world: (world.root / "oxford-iiit-pet/images/Pet_x_03_2.jpg").unlink(),
            r"1 of 37 listed images are missing, the first is .*Pet_x_03_2\.jpg",
        ),
        "a list with byte order mark": (lists(lambda text, _: b"\xef\xbb\xbf" + text), ""),
    },
)
