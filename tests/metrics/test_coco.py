from __future__ import annotations

import contextlib
import copy
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtx.errors import BadValue, DataError
from rtx.metrics.coco import ITEMS, Detections
from rtx.metrics.coco_truth import category_ids, encode_mask, read_truth
from tests.metrics.scores import coco_ap

SIZE = (60, 80)
IDS = (3, 7)
ONE = pytest.approx(1, abs=1e-12)  # pycocotools divides by tp + fp + 2e-16


def box_mask(left: int, top: int, width: int, height: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[top : top + height, left : left + width] = 1
    return mask


def polygon(left: float, top: float, width: float, height: float) -> list[list[float]]:
    right, bottom = left + width, top + height
    return [[left, top, right, top, right, bottom, left, bottom]]


def annotation(image: int, box: list[float], category: int = 3, **more: Any) -> dict[str, Any]:
    area = box[2] * box[3]
    row = {"image_id": image, "category_id": category, "bbox": box, "area": area, "segmentation": polygon(*box)}
    return {"id": 1000 * image + int(box[0]), "iscrowd": 0, **row, **more}


def content(*annotations: dict[str, Any], n_images: int = 3) -> dict[str, Any]:
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": SIZE[0], "width": SIZE[1]} for i in range(n_images)],
        "categories": [{"id": 3, "name": "disc"}, {"id": 7, "name": "block"}],
        "annotations": list(annotations),
    }


def detections(image: int, *rows: tuple[list[float], float, int]) -> Detections:
    boxes = np.array([[b[0], b[1], b[0] + b[2], b[1] + b[3]] for b, _, _ in rows], np.float32).reshape(-1, 4)
    return Detections(
        image,
        boxes,
        np.array([score for _, score, _ in rows], np.float32),
        np.array([label for _, _, label in rows], np.int64),
        [encode_mask(box_mask(*map(int, b))) for b, _, _ in rows],
    )


def score(source: Any, *found: Detections, **more: Any) -> dict[str, float]:
    return coco_ap(read_truth(source), found, IDS, **{"kinds": ("bbox", "segm"), **more})


BOX = [10.0, 10.0, 20.0, 20.0]


def test_a_perfect_detector_scores_one(capsys: pytest.CaptureFixture[str]) -> None:
    scores = score(content(annotation(0, BOX), annotation(1, BOX, 7)), *(detections(i, (BOX, 0.9, i)) for i in (0, 1)))
    assert list(scores) == [f"{kind}_{item}" for kind in ("bbox", "segm") for item in ITEMS]
    for kind in ("bbox", "segm"):
        for item in ("mAP", "mAP_50", "mAP_75", "mAP_s"):
            assert scores[f"{kind}_{item}"] == ONE
        for item in ("mAP_m", "mAP_l"):
            assert math.isnan(scores[f"{kind}_{item}"]), "no medium or large object: undefined, neither 0 nor -1"
    assert capsys.readouterr().out == ""


def test_one_object_covered_to_775_thousandths_passes_six_of_ten_thresholds() -> None:
    scores = score(content(annotation(0, [10, 10, 40, 10])), detections(0, ([10, 10, 31, 10], 0.3, 0)))
    for kind in ("bbox", "segm"):
        assert scores[f"{kind}_mAP"] == pytest.approx(0.6)
        assert (scores[f"{kind}_mAP_50"], scores[f"{kind}_mAP_75"]) == (ONE, ONE)


@pytest.mark.parametrize("found", [[], [detections(0), detections(1), detections(2)]], ids=["none", "empty"])
def test_no_prediction_is_a_score_of_zero_and_is_said(
    found: list[Detections], caplog: pytest.LogCaptureFixture
) -> None:
    scores = score(content(annotation(0, BOX)), *found)
    assert [scores[f"{kind}_{item}"] for kind in ("bbox", "segm") for item in ("mAP", "mAP_50", "mAP_s")] == [0.0] * 6
    assert "no prediction in any of 3 images" in caplog.text


def test_only_the_named_images_count() -> None:
    source = content(annotation(0, BOX), annotation(1, BOX), annotation(2, BOX))
    mine = detections(0, (BOX, 0.9, 0))
    assert score(source, mine, image_ids=[0])["bbox_mAP"] == ONE
    assert score(source, mine)["bbox_mAP"] < 0.5, "without image_ids the other images are misses"
    with pytest.raises(DataError, match=r"lacks 1 of the evaluated images.*99"):
        score(source, image_ids=[0, 99])
    with pytest.raises(BadValue, match="image 0 was scored twice"):
        score(source, mine, mine)


def test_a_detection_on_a_crowd_is_no_mistake() -> None:
    crowd = annotation(0, [40, 10, 30, 40], iscrowd=1, segmentation=uncompressed(box_mask(40, 10, 30, 40)))
    found = detections(0, (BOX, 0.5, 0), ([42, 12, 9, 9], 0.9, 0), ([55, 12, 9, 9], 0.8, 0))
    with_crowd = score(content(annotation(0, BOX), crowd), found)
    without = score(content(annotation(0, BOX)), found)
    for kind in ("bbox", "segm"):
        assert with_crowd[f"{kind}_mAP"] == ONE
        assert without[f"{kind}_mAP"] == pytest.approx(1 / 3)


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])))
    return {"size": list(mask.shape), "counts": np.diff(np.concatenate([[0], edges])).tolist()}


def test_annotation_ids_do_not_matter() -> None:
    """Pycocotools reads a match with annotation 0 as no match, and merges annotations that share an id."""
    rows = [annotation(0, BOX), annotation(0, [40, 10, 20, 20]), annotation(1, BOX, 7)]
    found = [detections(0, (BOX, 0.9, 0), ([40, 10, 20, 20], 0.8, 0)), detections(1, (BOX, 0.7, 1))]
    for ids in ((1, 2, 3), (0, 1, 2), (5, 5, 5)):
        source = content(*({**row, "id": i} for row, i in zip(rows, ids, strict=True)))
        assert score(source, *found)["bbox_mAP"] == ONE == score(source, *found)["segm_mAP"]


@pytest.mark.parametrize("shape", [[], [[5.0, 5.0, 5.0, 5.0]], [[5.0, 5.0, 5.0, 9.0, 5.0, 5.0]]])
def test_an_annotation_without_area_is_an_object_nobody_can_find(
    shape: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    flat = annotation(0, [5, 5, 0, 4], segmentation=shape, area=0)
    source, found = content(annotation(0, BOX), flat), detections(0, (BOX, 0.9, 0), ([5, 5, 0, 4], 0.5, 0))
    with caplog.at_level("INFO"):
        scores = score(source, found)
    assert scores["bbox_mAP"] == scores["segm_mAP"] == pytest.approx(51 / 101), "recall ends at one half"
    assert "1 annotations of zero area" in caplog.text


def test_missing_optional_fields_are_filled_in() -> None:
    bare = {"image_id": 0, "category_id": 3, "bbox": BOX, "id": 4}
    assert score(content(bare), detections(0, (BOX, 0.9, 0)), kinds=("bbox",))["bbox_mAP_s"] == ONE
    with pytest.raises(DataError, match="annotation 4 of image 0 has no segmentation"):
        score(content(bare), detections(0, (BOX, 0.9, 0)))
    assert score({k: v for k, v in content().items() if k != "annotations"}, kinds=("bbox",)).keys()


def test_masks_must_have_the_size_of_their_image() -> None:
    wrong = encode_mask(np.ones((10, 10)))
    found = detections(0, (BOX, 0.9, 0))
    with pytest.raises(BadValue, match=r"image 0: a mask of \(10, 10\) for an image of \(60, 80\)"):
        score(content(annotation(0, BOX)), Detections(0, found.boxes, found.scores, found.labels, [wrong]))
    with pytest.raises(DataError, match="annotation 10 of image 0: its mask is not"):
        score(content(annotation(0, BOX, segmentation=wrong)), found)
    without = Detections(0, found.boxes, found.scores, found.labels)
    with pytest.raises(BadValue, match="predicts no masks"):
        score(content(annotation(0, BOX)), without)
    assert score(content(annotation(0, BOX)), without, kinds=("bbox",))["bbox_mAP"] == ONE


def test_mask_scores_rank_the_masks_and_only_them() -> None:
    found = detections(0, (BOX, 0.9, 0), ([40, 10, 20, 20], 0.5, 0))
    swapped = Detections(0, found.boxes, found.scores, found.labels, found.masks, np.array([0.1, 0.2], np.float32))
    scores = score(content(annotation(0, BOX)), swapped)
    assert (scores["bbox_mAP"], scores["segm_mAP"]) == (ONE, pytest.approx(0.5))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (([[0, 0, 1, 1]], [0.5, 0.4], [0, 0]), "do not belong together"),
        (([[0, 0, 1, math.nan]], [0.5], [0]), "boxes hold NaN"),
        (([[0, 0, 1, 1]], [math.inf], [0]), "scores hold NaN or infinity"),
    ],
)
def test_detections_that_make_no_sense_are_refused(arrays: Any, message: str) -> None:
    boxes, scores, labels = arrays
    with pytest.raises(BadValue, match=f"image 5.*{message}"):
        Detections(5, np.array(boxes, np.float32), np.array(scores, np.float32), np.array(labels))


def test_labels_must_be_classes() -> None:
    with pytest.raises(BadValue, match="labels 2 to 2 of 2"):
        score(content(annotation(0, BOX)), detections(0, (BOX, 0.9, 2)))


def test_labels_follow_the_file(caplog: pytest.LogCaptureFixture) -> None:
    truth = read_truth(content())
    assert category_ids(truth, ["disc", "block"]) == IDS
    assert category_ids(truth, ["block"]) == (7,)
    assert not caplog.records
    assert category_ids(truth, ["block", "disc"]) == IDS, "as mmdet: the order of the file"
    assert "another order" in caplog.text
    with pytest.raises(DataError, match="not so: cube, ball"):
        category_ids(truth, ["disc", "cube", "ball"])
    with pytest.raises(DataError, match="not so: disc"):
        category_ids(read_truth({**content(), "categories": [{"id": i, "name": "disc"} for i in (1, 2)]}), ["disc"])


def test_files_that_are_no_ground_truth_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    with pytest.raises(DataError, match=r"instances\.json: cannot be read"):
        read_truth(path)
    path.write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        read_truth(path)
    path.write_text("[1]")
    with pytest.raises(DataError, match="not a COCO annotation file"):
        read_truth(path)
    for box in ([1, 2, 3], [1, 2, -3, 4], [1, 2, math.nan, 4]):
        with pytest.raises(DataError, match="annotation 9 of image 0 has the box"):
            read_truth(content(annotation(0, BOX, bbox=box, id=9)))
    path.write_text(json.dumps(content(annotation(0, BOX))))
    assert read_truth(path).annotations[0]["bbox"] == BOX


def random_world(seed: int, n_images: int = 8) -> tuple[dict[str, Any], list[Detections]]:
    rng = np.random.default_rng(seed)
    rows, found = [], []
    for image in range(n_images):
        guesses: list[tuple[list[float], float, int]] = []
        for _ in range(rng.integers(0, 6)):
            left, top, width, height = (int(v) for v in rng.integers((0, 0, 2, 2), (40, 30, 40, 30)))
            label = int(rng.integers(2))
            crowd = rng.random() < 0.1
            shape = uncompressed(box_mask(left, top, width, height)) if crowd else polygon(left, top, width, height)
            box = [left, top, width, height]
            rows.append(annotation(image, box, IDS[label], iscrowd=int(crowd), segmentation=shape, id=len(rows) + 1))
            for _ in range(rng.integers(0, 4)):
                moved = [max(0, v + int(d)) for v, d in zip(box, rng.integers(-1, 2, 4), strict=True)]
                guesses.append((moved, float(rng.random()), label if rng.random() < 0.8 else 1 - label))
        found.append(detections(image, *guesses))
    return content(*rows, n_images=n_images), found


@pytest.mark.parametrize("seed", range(4))
def test_equals_pycocotools_called_the_usual_way(seed: int) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    source, found = random_world(seed)
    mine = score(source, *found)
    rows = []
    for image in found:
        assert image.masks is not None
        for (left, top, right, bottom), value, label, mask in zip(
            image.boxes.tolist(), image.scores.tolist(), image.labels.tolist(), image.masks, strict=True
        ):
            box = [left, top, right - left, bottom - top]
            row = {"image_id": image.image_id, "category_id": IDS[label], "bbox": box, "score": value}
            rows.append({**row, "segmentation": mask})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(source)
        truth.createIndex()
        for kind in ("bbox", "segm"):
            drop = "segmentation" if kind == "bbox" else "bbox"
            results = truth.loadRes([{k: v for k, v in row.items() if k != drop} for row in rows])
            usual = COCOeval(truth, results, kind)
            usual.evaluate()
            usual.accumulate()
            usual.summarize()
            theirs = [math.nan if v == -1 else float(v) for v in usual.stats[:6]]
            assert [mine[f"{kind}_{item}"] for item in ITEMS] == pytest.approx(theirs, abs=0, nan_ok=True)
            assert 0.05 < theirs[0] < 0.95


def test_the_order_of_images_and_a_second_scoring_change_nothing() -> None:
    source, found = random_world(9)
    truth = read_truth(source)
    first = coco_ap(truth, found, IDS, kinds=("bbox", "segm"))
    again = coco_ap(truth, found[::-1], IDS, kinds=("segm", "bbox"))
    assert again == pytest.approx(first, abs=0, nan_ok=True)
    few = coco_ap(truth, found[:3], IDS, image_ids=[0, 1, 2], kinds=("bbox", "segm"))
    cut = {**source, "annotations": [a for a in source["annotations"] if a["image_id"] < 3]}
    assert few == pytest.approx(score(cut, *found[:3], image_ids=[0, 1, 2]), abs=0, nan_ok=True) != first
