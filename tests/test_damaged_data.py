"""Damaged data sets and predictions: rtx gives the value that plain reading gives, or an error of its own.

The few hundred cases of a default run are the same each time; `pytest -m slow` with the name of this
file draws new ones, `RTX_DAMAGE` of each kind.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from rtx.datasets.voc import read_evaluated
from rtx.evaluation.models.folders import READERS
from rtx.evaluation.offline.classification import ClassTruth
from rtx.evaluation.offline.truth import CocoFile, LabelFolder
from rtx.evaluation.offline.voc import VocFolder
from rtx.metrics.coco import Detections
from rtx.results.predictions import detections_to_bytes, encode_map, maps_to_bytes
from tests import naive_readers as plain
from tests.damage import Tree, damaged, read_tree, write_tree
from tests.fuzzing import EXAMPLES, agree, draw_cases
from tests.makers import VOC_NAMES, make_ade, make_coco, make_voc

Value = Callable[[Path], Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


def check(place: Path, tree: Tree, names: list[str], examples: int, ours: Value, plainly: Value) -> None:
    """Damage files of a tree again and again, and hold the two ways of reading it against each other."""

    def case(rng: Random) -> None:
        shutil.rmtree(place, ignore_errors=True)
        write_tree(place, damaged(tree, rng, names))
        agree(lambda: ours(place), lambda: plainly(place))

    agree(lambda: (write_tree(place, tree), ours(place))[1], lambda: plainly(place), sound=True)
    draw_cases(case, examples)


def coco_rows(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Detections near the objects of an annotation file, some of another class, some of nothing."""
    rng = np.random.default_rng(0)
    rows = []
    for n, row in enumerate(content["annotations"]):
        box = (np.array(row["bbox"]) + rng.integers(-2, 3, 4)).clip(1).tolist()
        kind = row["category_id"] if n % 4 else content["categories"][0]["id"]
        rows.append(dict(image_id=row["image_id"], category_id=kind, bbox=box, score=round(float(rng.random()), 3)))
    return rows


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return read_tree(make_coco(tmp_path_factory.mktemp("made") / "coco", splits={"val2017": 3}))


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    years = {"2007": {"trainval": 1, "test": 3}}
    return read_tree(make_voc(tmp_path_factory.mktemp("made") / "voc", years=years) / "VOCdevkit")


@pytest.fixture(scope="module")
def ade(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return read_tree(make_ade(tmp_path_factory.mktemp("made") / "ade", splits={"validation": 2}))


FILE = "annotations/instances_val2017.json"


@pytest.mark.parametrize("examples", EXAMPLES)
def test_coco_results(place: Path, coco: Tree, examples: int) -> None:
    content = json.loads(coco[FILE] or b"")
    for row in content["annotations"]:
        row["segmentation"] = [[1, 1, 9, 1, 9, 9]]  # short, so that damage meets other fields too
    tree: Tree = {"truth.json": json.dumps(content).encode(), "found.json": json.dumps(coco_rows(content)).encode()}

    def ours(root: Path) -> float:
        truth = CocoFile(root / "truth.json", kinds=("bbox",))
        return truth.score(root / "found.json").compute()["bbox_mAP"]

    check(place, tree, list(tree), examples, ours, lambda root: plain.coco_ap(root / "truth.json", root / "found.json"))


@pytest.mark.parametrize("examples", EXAMPLES)
def test_coco_masks(place: Path, coco: Tree, examples: int) -> None:
    content = json.loads(coco[FILE] or b"")
    rows = [
        {**row, "segmentation": content["annotations"][n]["segmentation"]} for n, row in enumerate(coco_rows(content))
    ]
    rows = [{k: v for k, v in row.items() if k != "bbox"} for row in rows]
    tree: Tree = {"truth.json": json.dumps(content).encode(), "found.json": json.dumps(rows).encode()}

    def ours(root: Path) -> float:
        truth = CocoFile(root / "truth.json", kinds=("segm",))
        return truth.score(root / "found.json").compute()["segm_mAP"]

    def plainly(root: Path) -> float:
        return plain.coco_ap(root / "truth.json", root / "found.json", masks=True)

    check(place, tree, list(tree), examples, ours, plainly)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_coco_kept_predictions(place: Path, coco: Tree, examples: int) -> None:
    content = json.loads(coco[FILE] or b"")
    ids = [row["id"] for row in content["categories"]]
    found = []
    for image in content["images"]:
        rows = [row for row in coco_rows(content) if row["image_id"] == image["id"]]
        boxes = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([ids.index(row["category_id"]) for row in rows], np.int64)
        scores = np.array([row["score"] for row in rows], np.float32)
        found.append(Detections(image["id"], boxes, scores, labels))
    tree: Tree = {"truth.json": coco[FILE], "clean.npz": detections_to_bytes(found, ids)}

    def plainly(root: Path) -> float:
        rows = [
            dict(image_id=image, category_id=kind, score=score, bbox=[b[0], b[1], b[2] - b[0], b[3] - b[1]])
            for image, kind, score, b in plain.kept_detections(root / "clean.npz")
        ]
        (root / "plain.json").write_text(json.dumps(rows))
        return plain.coco_ap(root / "truth.json", root / "plain.json")

    def ours(root: Path) -> float:
        truth = CocoFile(root / "truth.json", kinds=("bbox",))
        listed = truth.listed(root / "clean.npz")
        assert listed is not None
        return truth.score(root / "clean.npz").compute()["bbox_mAP"] if listed >= set(truth.images) else math.inf

    def whole(root: Path) -> float:
        with np.load(root / "clean.npz") as arrays:
            head = json.loads(arrays["head"].tobytes())
        part = {row["id"] for row in plain.load(root / "truth.json")["images"]} - set(head["image_ids"])
        return math.inf if part else plainly(root)

    check(place, tree, ["clean.npz"], examples, ours, whole)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_coco_folder(place: Path, coco: Tree, examples: int) -> None:
    def ours(root: Path) -> Any:
        held = READERS["coco"](root, annotations=None, wanted=None, known=None)
        return {
            str(Path(row["img_path"]).relative_to(held.root)): [
                (tuple(item["bbox"]), held.classes[item["bbox_label"]], bool(item["ignore_flag"]))
                for item in row["instances"]
            ]
            for row in held.rows
        }

    names = [FILE] * 12 + sorted(coco)
    check(place, coco, names, examples, ours, lambda root: plain.coco_objects(root / FILE))


@pytest.mark.parametrize("examples", EXAMPLES)
def test_voc_results(place: Path, voc: Tree, examples: int) -> None:
    stems = [Path(n).stem for n in voc if n.endswith(".xml")]
    rows = [
        dict(image_id=stem, category=VOC_NAMES[n % 3], bbox=[20 + 9 * k, 20 + 7 * n, 30, 28], score=(3 * n + k) / 10)
        for n, stem in enumerate(stems[-3:])
        for k in range(3)
    ]
    tree: Tree = {name: content for name, content in voc.items() if not name.endswith(".jpg")}
    tree |= {"found.json": json.dumps(rows).encode()}

    def ours(root: Path) -> float:
        return VocFolder(root).score(root / "found.json").compute()["AP50_07"]

    def plainly(root: Path) -> float:
        rows = plain.load(root / "found.json")
        found = []
        for row in rows:
            left, top, width, height = map(float, row["bbox"])
            found.append(
                (str(row["image_id"]), row["category"], float(row["score"]), (left, top, left + width, top + height))
            )
        return plain.voc_ap(plain.voc_objects(root / "VOC2007", "test"), found)

    names = ["found.json"] * 4 + sorted(tree)
    check(place, tree, names, examples, ours, plainly)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_voc_result_lines(place: Path, voc: Tree, examples: int) -> None:
    stems = [Path(n).stem for n in voc if n.endswith(".xml")][-3:]
    tree: Tree = {name: content for name, content in voc.items() if not name.endswith(".jpg")}
    files = [f"clean/comp4_det_test_{name}.txt" for name in VOC_NAMES]
    for n, file in enumerate(files):
        lines = [f"{stem} {0.1 * n + 0.2 * k:.2f} {20 + k} {20 + n} 60.5 58" for k, stem in enumerate(stems)]
        tree[file] = "\n".join(lines).encode()

    def ours(root: Path) -> float:
        return VocFolder(root).score(root / "clean").compute()["AP50_07"]

    def plainly(root: Path) -> float:
        found = []
        for path in sorted((root / "clean").glob("*.txt")):
            name = next(n for n in VOC_NAMES if path.stem.endswith(f"_{n}") or path.stem == n)
            for words in map(str.split, path.read_text(encoding="utf-8-sig").splitlines()):
                if words:
                    left, top, right, bottom = (float(v) - 1 for v in words[2:])
                    found.append((words[0], name, float(words[1]), (left, top, right, bottom)))
        return plain.voc_ap(plain.voc_objects(root / "VOC2007", "test"), found)

    check(place, tree, files, examples, ours, plainly)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_voc_folder(place: Path, voc: Tree, examples: int) -> None:
    def ours(root: Path) -> Any:
        part, _, objects = read_evaluated(root)
        READERS["voc"](root, annotations=None, wanted=None, known=None)
        return {s: [(o.name, o.box, o.difficult) for o in row] for s, row in zip(part.stems, objects, strict=True)}

    def plainly(root: Path) -> Any:
        return plain.voc_objects(root / "VOC2007", "test")

    check(place, voc, sorted(voc), examples, ours, plainly)


@pytest.mark.parametrize("kept", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("examples", EXAMPLES)
def test_label_maps(place: Path, kept: bool, examples: int) -> None:
    rng = np.random.default_rng(0)
    tree: Tree = {}
    maps = {}
    for n in range(3):
        label = rng.integers(0, 5, (6, 7))
        guess = np.where(rng.random((6, 7)) < 0.7, label, rng.integers(1, 5, (6, 7)))
        tree[f"truth/{n}.png"] = encode_map(label)
        maps[str(n)] = encode_map((guess - 1).clip(0))
    entry = "clean.zip" if kept else "clean"
    tree |= {entry: maps_to_bytes(maps.items())} if kept else {f"clean/{n}.png": png for n, png in maps.items()}

    def ours(root: Path) -> float:
        return LabelFolder(root / "truth", 4, reduce_zero_label=True).score(root / entry).compute()["mIoU"]

    def plainly(root: Path) -> float:
        folder = root / "clean"
        if kept:
            shutil.unpack_archive(root / entry, folder)
        return plain.mean_iou(root / "truth", folder, 4)

    check(place, tree, [*[entry] * 3, *sorted(tree)] if kept else sorted(tree), examples, ours, plainly)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_ade_folder(place: Path, ade: Tree, examples: int) -> None:
    def ours(root: Path) -> Any:
        held = READERS["ade"](root, annotations=None, wanted=None, known=None)
        assert held.rule is not None
        named = {}
        for row in held.rows:
            index = held.rule.apply(plain.label_map(Path(row["seg_map_path"])))
            named[Path(row["img_path"]).stem] = [None if n == 255 else held.classes[n] for n in index.ravel().tolist()]
        return named

    def plainly(root: Path) -> Any:
        table = plain.class_table(root / "classes.json")
        files = plain.maps_in(root / "annotations" / "validation")
        images = sorted((root / "images" / "validation").rglob("*.jpg"))
        labels = {image.stem: plain.label_map(files[image.stem]) for image in images}
        return {stem: [table.get(n) for n in label.ravel().tolist()] for stem, label in labels.items()}

    check(place, ade, ["classes.json"] * 6 + sorted(ade), examples, ours, plainly)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_class_folders(place: Path, ade: Tree, examples: int) -> None:
    image = next(content for name, content in ade.items() if name.endswith(".jpg"))
    names = [f"{label}/{n}.jpg" for label in ("ant", "bee", "cat") for n in range(2)]
    tree: Tree = {f"data/{name}": image for name in names}
    orders = (("ant", "bee", "cat"), ("bee", "cat", "ant"), ("cat", "ant", "bee"))
    lines = [",".join([name, *orders[n % 3]]) for n, name in enumerate(names)]
    tree |= {"clean.csv": "\n".join(lines).encode()}

    def ours(root: Path) -> float:
        return ClassTruth(root / "data").score(root / "clean.csv").compute()["accuracy_top1"]

    def plainly(root: Path) -> float:
        return plain.top1(plain.labelled_files(root / "data"), root / "clean.csv")

    check(place, tree, ["clean.csv"] * 8 + sorted(tree), examples, ours, plainly)
