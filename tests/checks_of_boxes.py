"""Faults of COCO and VOC folders, see docs/checks.md."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from mmengine.config import Config

from rtx.datasets.openmmlab.with_data import with_data
from rtx.evaluation.evaluate import prepare
from rtx.evaluation.models.adapters import Detector
from rtx.evaluation.offline.truth import CocoFile
from rtx.evaluation.offline.voc import VocFolder
from tests.checking import CONFIGS, Checked, World, copied, corrupt, corrupt_eval, edit, hook, train, turn
from tests.makers import COCO_NAMES, make_coco, make_voc

VAL = "annotations/instances_val2017.json"
TRAIN = "annotations/instances_train2017.json"
CELLS = ("cell", "plate", "yeast")


@cache
def sound(kind: str) -> tuple[Path, Config]:
    """A data folder of our own, and the config for it."""
    root = Path(mkdtemp(prefix="rtx_sound_"))
    make_coco(root) if kind == "coco" else make_voc(root, names=CELLS)
    return root, Config.fromfile(CONFIGS / f"fasterrcnn_r50_{kind}.py")


def world(kind: str, folder: Path) -> World:
    root, cfg = sound(kind)
    root = copied(root, folder / "data")
    return World(root, folder / "out", with_data(cfg, root))


def function(names: tuple[str, ...]) -> Any:
    def run(given: World) -> None:
        prepare(Detector(lambda images: [], names, name="a"), given.root, given.out, classes=given.classes)

    return run


def annotations(change: Any) -> Any:
    """Damages the annotations of the test images."""
    return lambda given: edit(given.root / VAL, lambda content: change(content["annotations"]))


def images(change: Any) -> Any:
    return lambda given: edit(given.root / VAL, lambda content: change(content["images"]))


def without(rows: list[dict[str, Any]], category: int) -> None:
    rows[:] = [row for row in rows if row["category_id"] != category]


def swapped(row: dict[str, Any]) -> None:
    row["width"], row["height"] = row["height"], row["width"]


def of_nothing(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["image_id"] = 999


def reordered(given: World) -> None:
    edit(given.root / VAL, lambda content: content["categories"].reverse())


def marked(given: World) -> None:
    path = given.root / VAL
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def misspelt(*names: str) -> Any:
    return lambda given: setattr(given, "classes", names)


COCO = Checked(
    lambda folder: world("coco", folder),
    {
        "train": train,
        "corrupt_eval": corrupt_eval,
        "hook": hook,
        "function": function((*COCO_NAMES, "blok")),
        "score": lambda given: str(CocoFile(given.root / VAL, classes=given.classes).place)[:0],
        "corrupt": corrupt,
    },
    {
        "an annotation of no category of the file": (
            annotations(lambda rows: rows[1].update(category_id=999)),
            r"category_id of 1 .*annotations is not in the file.*999",
        ),
        "an annotation of no image of the file": (
            annotations(lambda rows: rows[1].update(image_id=999)),
            r"image_id of 1 .*annotations is not in the file.*999",
        ),
        "an id is text where the others are numbers": (
            annotations(lambda rows: rows[1].update(category_id=str(rows[1]["category_id"]))),
            r"annotation 2 has the category_id '\d', which is text",
        ),
        "no annotation belongs to an image": (annotations(of_nothing), "no annotation belongs to an image of the file"),
        "a listed image is absent": (
            lambda given: (given.root / "val2017/000000000102.jpg").unlink(),
            r"(1 of 4 images are missing|failed): .*102\.jpg",
        ),
        "a picture under two ids": (
            images(lambda rows: rows.append({**rows[0], "id": 7})),
            r"images 101 and 7 are both '000000000101\.jpg'",
        ),
        "an object is there twice": (
            annotations(lambda rows: rows.append({**rows[1], "id": 99})),
            "1 objects are there more than once, such as the box .* in image 101",
        ),
        "width and height of another size than the picture": (
            images(lambda rows: swapped(rows[0])),
            r"1 images have another size .*101\.jpg \(128 x 96, 96 x 128 stated\)",
        ),
        "a picture that its EXIF data turn": (
            lambda given: turn(given.root / "val2017/000000000101.jpg"),
            r"1 images have another size .*101\.jpg \(96 x 128, 128 x 96 stated, as before the turn that its EXIF data",
        ),
        "a misspelt class among those asked for": (misspelt("disc", "blok", "stripe"), "blok"),
        "a class without object": (
            annotations(lambda rows: without(rows, 8)),
            "1 of 3 classes (are in no label|have no object).*stripe",
        ),
        "a byte order mark": (marked, "it starts with a byte order mark"),
        "training and test file number the classes differently": (
            reordered,
            "label 0 is 'disc' in the train data and 'stripe' in the val data",
        ),
    },
)


def home(given: World) -> Path:
    return given.root / "VOCdevkit" / "VOC2007"


def listing(change: Any) -> Any:
    def damage(given: World) -> None:
        path = home(given) / "ImageSets/Main/test.txt"
        path.write_bytes(change(path.read_bytes()))

    return damage


def labels(old: str, new: str, stem: str = "2007_100000", count: int = 1) -> Any:
    """Replace something in one annotation file, or in all of the test images."""

    def damage(given: World) -> None:
        for path in (home(given) / "Annotations").glob(f"{stem}.xml"):
            text = path.read_text()
            path.write_text(text.replace(old, new, count))

    return damage


def doubled(given: World) -> None:
    path = home(given) / "Annotations/2007_100000.xml"
    start, end = (text := path.read_text()).index("<object>"), text.index("</object>") + len("</object>")
    path.write_text(text[:end] + text[start:end] + text[end:])


written_by_hand = listing(lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"  1\r\n\r\n"))
IMAGE = "JPEGImages/2007_100001.jpg"
VOC = Checked(
    lambda folder: world("voc", folder),
    {
        "train": train,
        "corrupt_eval": corrupt_eval,
        "hook": hook,
        "function": function((*CELLS, "cel")),
        "score": lambda given: VocFolder(given.root, classes=given.classes).place[:0],
        "corrupt": corrupt,
    },
    {
        "a list names an image twice": (listing(lambda text: text + b"2007_100000\n"), "line 5 names '2007_100000'"),
        "a list with byte order mark, blank lines and flags": (
            lambda given: (written_by_hand(given), setattr(given, "cfg", with_data(sound("voc")[1], given.root))),
            "",
        ),
        "such a list in a config for mmdet's own reader": (
            lambda given: written_by_hand(given),
            r"test\.txt has blank lines, flags or a byte order mark.*--data-root",
        ),
        "a listed image is absent": (
            lambda given: (home(given) / IMAGE).unlink(),
            r"(1 of 4 images are missing|failed): .*2007_100001\.jpg",
        ),
        "an annotation file is absent": (
            lambda given: (home(given) / "Annotations/2007_100001.xml").unlink(),
            r"1 of (4 annotation files are missing|the 4 images have no labels).*2007_100001\.xml",
        ),
        "an object without name": (
            labels("<name>", "<nom>", count=1),
            r"2007_100000\.xml is no VOC annotation",
        ),
        "an object is there twice": (
            doubled,
            "1 objects are there more than once, such as the '.*' at .* in 2007_100000",
        ),
        "width and height of another size than the picture": (
            labels("<width>128", "<width>127"),
            r"1 images have another size .*100000\.jpg \(128 x 96, 127 x 96 stated\)",
        ),
        "a picture that its EXIF data turn": (
            lambda given: turn(home(given) / IMAGE),
            r"1 images have another size .*100001\.jpg .*as before the turn",
        ),
        "a misspelt class among those asked for": (
            misspelt("cel", "plate", "yeast"),
            r"'cel'.*(is in no label|is none of)",
        ),
        "a class without object": (
            labels("<name>plate", "<name>yeast", "2007_1*", -1),
            "1 of 3 classes (are in no label|have no object).*plate",
        ),
    },
)
