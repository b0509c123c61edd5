"""`rtx score` scores what the predictions are: the images they were made on, each box once, on the pixels exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rtx.corruptions.settings import Settings
from rtx.datasets.export import export
from rtx.datasets.layouts import find_images
from rtx.errors import BadValue
from rtx.evaluation.offline.classification import ClassTruth
from rtx.evaluation.offline.score import check_exported, score_predictions
from rtx.evaluation.offline.truth import CocoFile, LabelFolder
from rtx.evaluation.offline.voc import VocFolder
from rtx.metrics import miou
from rtx.metrics.accuracy import best
from rtx.metrics.coco import Detections
from rtx.metrics.coco_truth import read_truth
from rtx.results.predictions import detections_to_bytes, encode_map, guesses_to_bytes, read_coco_results
from rtx.types import Condition
from tests.makers import VOC_NAMES
from tests.metrics.coco_worlds import CATEGORIES, results, world, write_annotations
from tests.metrics.scores import voc_ap

CLEAN_AND_FOG = ("clean", "fog_1")


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A COCO annotation file."""
    _, content, _ = world(0)
    return write_annotations(tmp_path / "truth.json", content)


def test_predictions_kept_of_a_preview_are_scored_as_one(coco: Path, tmp_path: Path) -> None:
    _, _, found = world(0)
    few = found[:3]
    part = {image.image_id for image in few}
    small = {**json.loads(coco.read_text())}
    small["images"] = [row for row in small["images"] if row["id"] in part]
    small["annotations"] = [row for row in small["annotations"] if row["image_id"] in part]
    (tmp_path / "small.json").write_text(json.dumps(small))
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in CLEAN_AND_FOG:
        (kept / f"{name}.npz").write_bytes(detections_to_bytes(few, CATEGORIES))
    alone = score_predictions(kept, CocoFile(tmp_path / "small.json"), tmp_path / "alone")
    summary = score_predictions(kept, CocoFile(coco), tmp_path / "out")
    assert (summary["preview"], summary["n_images"], alone["preview"]) == (True, 3, False)
    assert summary["cells"]["clean"]["metrics"] == alone["cells"]["clean"]["metrics"]
    assert "PREVIEW" in (tmp_path / "out/table.md").read_text()
    (kept / "fog_1.npz").write_bytes(detections_to_bytes(found[1:4], CATEGORIES))
    with pytest.raises(BadValue, match=r"clean\.npz: was made on 3 of the 6 images, fog_1\.npz on others"):
        score_predictions(kept, CocoFile(coco), tmp_path / "b")
    (kept / "fog_1.npz").unlink()
    (kept / "fog_1.json").write_text(json.dumps(results(few)))  # does not say which images it was made on
    with pytest.raises(BadValue, match=r"fog_1\.json on others"):
        score_predictions(kept, CocoFile(coco), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_of_voc_too(made_voc: Path, tmp_path: Path) -> None:
    truth = VocFolder(made_voc, classes=VOC_NAMES)
    rng = np.random.default_rng(0)
    rows = []
    for image in truth.truth:
        boxes = image.boxes + rng.normal(0, 3, image.boxes.shape)
        rows.append(Detections(image.image_id, np.sort(boxes, 1), rng.random(len(boxes)), image.labels))
    (tmp_path / "p").mkdir()
    scores = set()
    for n_images in (len(rows), 2):
        (tmp_path / "p/clean.npz").write_bytes(detections_to_bytes(rows[:n_images], VOC_NAMES))
        summary = score_predictions(tmp_path / "p", truth, tmp_path / f"out{n_images}")
        assert (summary["preview"], summary["n_images"]) == (n_images == 2, n_images)
        want = voc_ap(truth.truth[:n_images], rows[:n_images], len(VOC_NAMES))
        assert summary["cells"]["clean"]["metrics"] == pytest.approx(want)
        scores.add(summary["P"])
    assert len(scores) == 2


def test_boxes_and_masks_of_mmdets_two_files_count_once(coco: Path, tmp_path: Path) -> None:
    _, _, found = world(0)
    rows = results(found)
    boxes = [{k: v for k, v in row.items() if k != "segmentation"} for row in rows]
    masks = [{**row, "score": row["score"] / 2} for row in rows]  # as of a head that scores masks
    (tmp_path / "p/clean").mkdir(parents=True)
    for name, content in (("x.bbox.json", boxes), ("x.segm.json", masks)):
        (tmp_path / name).write_text(json.dumps(content))
        (tmp_path / "p/clean" / name).write_text(json.dumps(content))
    truth = read_truth(coco)
    both = read_coco_results([tmp_path / "x.bbox.json", tmp_path / "x.segm.json"], truth, CATEGORIES)
    for kind, name in (("bbox", "x.bbox.json"), ("segm", "x.segm.json")):
        alone = read_coco_results([tmp_path / name], truth, CATEGORIES)[kind]
        assert [d.scores.tolist() for d in both[kind]] == [d.scores.tolist() for d in alone]
        summary = score_predictions(tmp_path / "p", CocoFile(coco, kinds=[kind]), tmp_path / f"both_{kind}")
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "clean.json").write_text((tmp_path / name).read_text())
        want = score_predictions(tmp_path / kind, CocoFile(coco, kinds=[kind]), tmp_path / f"one_{kind}")
        assert summary["P"] == want["P"] > 0
    with pytest.raises(BadValue, match=r"b\.json: boxes of image .* are in x\.bbox\.json, too"):
        (tmp_path / "b.json").write_text(json.dumps(boxes[:1]))
        read_coco_results([tmp_path / "x.bbox.json", tmp_path / "b.json"], truth, CATEGORIES)
    other = next(row for row in masks if row["image_id"] != boxes[0]["image_id"])
    (tmp_path / "c.json").write_text(json.dumps([other]))
    with pytest.raises(BadValue, match=r"c\.json: image .* has masks here, but no boxes in b\.json"):
        read_coco_results([tmp_path / "b.json", tmp_path / "c.json"], truth, CATEGORIES)


def test_reduce_zero_label_is_mmsegs_rule(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, (40, 40))
    label[0] = 255
    guess = rng.integers(0, 3, label.shape)
    for place, content in (("truth", label), ("p", guess)):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.png").write_bytes(encode_map(content))
    reduced = label.astype(np.uint8)  # as mmseg's LoadAnnotations, in whole bytes
    reduced[reduced == 0] = 255
    reduced -= 1
    reduced[reduced == 254] = 255
    want = miou.scores(miou.count(guess, reduced.astype(int), 3)[0])
    assert LabelFolder(tmp_path / "truth", 3, reduce_zero_label=True).score(tmp_path / "p").compute() == want
    for n_classes, ignored in ((3, 0), (3, 2), (255, 255)):
        with pytest.raises(BadValue, match="leave it at 255"):
            LabelFolder(tmp_path / "truth", n_classes, ignore_index=ignored, reduce_zero_label=True)


def test_a_class_score_below_the_threshold_is_a_number(tmp_path: Path) -> None:
    for folder in ("cat", "dog"):
        (tmp_path / "v" / folder).mkdir(parents=True)
        (tmp_path / "v" / folder / "1.png").touch()
    truth, path = ClassTruth(tmp_path / "v"), tmp_path / "clean.npz"
    for second, flags in ((0.4, []), (np.nan, ["1 image with non-finite predictions"])):
        scores = {"cat/1": [0.3, 0.2], "dog/1": [0.1, second]}
        guesses = [best(name, np.array(row), threshold=0.5) for name, row in scores.items()]
        assert [len(guess.labels) for guess in guesses] == [0, 0]
        path.write_bytes(guesses_to_bytes(guesses, truth.classes))
        metric = truth.score(path)
        assert metric.flags() == flags and metric.compute()["accuracy_top1"] == 0


def test_exported_images_of_two_classes_with_one_name_are_told_apart(tmp_path: Path) -> None:
    import cv2

    for folder in ("cat", "dog"):
        (tmp_path / "v" / folder).mkdir(parents=True)
        for n in range(3):
            pixels = np.random.default_rng(n).integers(0, 255, (40, 40, 3)).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "v" / folder / f"{n:04d}.png"), pixels)
    out, fog = tmp_path / "out", Condition("fog", 1)
    export(find_images(tmp_path / "v"), out, [fog], Settings(quality=None))
    names = ClassTruth(tmp_path / "v").names
    assert check_exported(out, [fog], names) == 6
    (out / "fog_1/cat/0002.png").write_bytes(b"other pixels")
    with pytest.raises(BadValue, match=r"cat/0002\.png: is not what was exported"):
        check_exported(out, [fog], names)
    (out / "fog_1/cat/0002.png").unlink()
    with pytest.raises(BadValue, match=r"cat/0002\.png: is gone"):
        check_exported(out, [fog], names)
    with pytest.raises(BadValue, match=r"'0001' could be 'cat/0001' or 'dog/0001'"):
        check_exported(out, [fog], ["0001"])
    with pytest.raises(BadValue, match=r"'cat/0001' could be 'v/cat/0001' or 'w/cat/0001'"):
        check_exported(out, [fog], ["v/cat/0001", "w/cat/0001"])
    with pytest.raises(BadValue, match=r"lacks 1 of 1 images, e\.g\. 'cow/0001'"):
        check_exported(out, [fog], ["cow/0001"])
    assert check_exported(out, [fog], ["v/cat/0001", "dog/0001"]) == 2
