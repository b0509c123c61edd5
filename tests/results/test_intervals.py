from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtx.errors import BadValue, MissingConditions, UnknownName
from rtx.metrics import miou
from rtx.metrics.coco import Detections
from rtx.metrics.coco_truth import read_truth
from rtx.metrics.miou import pixel_evidence
from rtx.metrics.per_image import PixelEvidence
from rtx.metrics.voc_match import VocTruth
from rtx.results import arrays as files
from rtx.results.intervals import confidence
from rtx.results.resample import draw, scores
from rtx.types import CLEAN, Condition
from tests.metrics.coco_worlds import CATEGORIES, FAMILIES, world
from tests.metrics.reference_scorers import REFERENCE, reference_ap
from tests.metrics.scores import coco_evidence, voc_ap, voc_evidence
from tests.results.pixel_worlds import pixel_world

FOG, SNOW = Condition("fog", 3), Condition("snow", 2)
KINDS = ("bbox", "segm")


def duplicated(content: dict[str, Any], found: list[Detections], weights: np.ndarray) -> tuple[Any, list[Detections]]:
    """The data set in which image n, in order of ids, really is there `weights[n]` times."""
    order = sorted(image["id"] for image in content["images"])
    images, rows, guesses = [], [], []
    for old, times in zip(order, weights.tolist(), strict=True):
        for _ in range(times):
            new = len(images) + 1
            images += [{**i, "id": new, "file_name": f"{new}.jpg"} for i in content["images"] if i["id"] == old]
            rows += [{**a, "image_id": new} for a in content["annotations"] if a["image_id"] == old]
            guesses += [dataclasses.replace(d, image_id=new) for d in found if d.image_id == old]
    return {**content, "images": images, "annotations": rows}, guesses


@pytest.mark.parametrize("seed", range(len(FAMILIES)))
def test_reweighting_equals_scoring_the_duplicated_images_with_pycocotools(seed: int) -> None:
    family, content, found = world(seed)
    evidence = coco_evidence(read_truth(content, quiet=True), found, CATEGORIES, kinds=KINDS)
    weights = np.concatenate([np.ones((1, len(found)), np.uint16), draw(len(found), 2, seed)])
    mine = {metric: scores(evidence, weights, metric) for metric in evidence.metrics}
    assert set(mine) == {f"{kind}_{item}" for kind in KINDS for item in ("mAP", "mAP_50", "mAP_75")}
    for n, row in enumerate(weights):
        copies, guesses = duplicated(content, found, row)
        theirs = reference_ap(REFERENCE, read_truth(copies, quiet=True), guesses, CATEGORIES, kinds=KINDS)
        for metric, values in mine.items():
            assert values[n] == pytest.approx(theirs[metric], abs=1e-12, nan_ok=True), (family, metric)


def voc_world(seed: int, n_images: int = 7) -> tuple[list[VocTruth], list[Detections]]:
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for image in range(n_images):
        n = int(rng.integers(0, 6))
        corner = rng.integers(0, 60, (n, 2))
        boxes = np.concatenate([corner, corner + rng.integers(5, 40, (n, 2))], axis=1).astype(np.float32)
        labels = rng.integers(0, 3, n)
        truths.append(VocTruth(f"{image:04d}", boxes, labels, rng.random(n) < 0.2))
        near = np.repeat(boxes, 3, axis=0) + rng.integers(-3, 4, (3 * n, 4)).astype(np.float32)
        ranks = np.ceil(rng.random(3 * n) * (6 if seed % 2 else 5000)) / (6 if seed % 2 else 5000)
        found.append(Detections(f"{image:04d}", near, ranks.astype(np.float32), np.repeat(labels, 3)))
    return truths, found


@pytest.mark.parametrize("seed", range(6))
def test_every_voc_definition_equals_scoring_the_duplicated_images(seed: int) -> None:
    truths, found = voc_world(seed)
    evidence = voc_evidence(truths, found, 4)
    weights = np.concatenate([np.ones((1, len(found)), np.uint16), draw(len(found), 4, seed)])
    mine = {metric: scores(evidence, weights, metric) for metric in evidence.metrics}
    for n, row in enumerate(weights):
        copies: list[list[Any]] = [[], []]
        for old, times in enumerate(row.tolist()):
            for _ in range(times):
                name = f"{len(copies[0]):05d}"
                for side, item in zip(copies, (truths[old], found[old]), strict=True):
                    side.append(dataclasses.replace(item, image_id=name))
        theirs = voc_ap(*copies, 4)
        assert set(theirs) == set(mine)
        for metric, values in mine.items():
            assert values[n] == pytest.approx(theirs[metric], abs=1e-12, nan_ok=True), metric


def test_pixel_counts_reweighted_equal_the_duplicated_images() -> None:
    rows = pixel_world(0)
    evidence = pixel_evidence(rows, 7)
    weights = np.concatenate([np.ones((1, len(rows)), np.uint16), draw(len(rows), 20, 3)])
    ordered = dict(rows)
    for n, row in enumerate(weights):
        total = miou.PixelCounts.empty(7)
        for name, times in zip(evidence.image_ids, row.tolist(), strict=True):
            for _ in range(times):
                total += ordered[name]
        theirs = miou.scores(total)
        for metric in miou.METRICS:
            assert scores(evidence, weights, metric)[n] == pytest.approx(theirs[metric], abs=1e-12)


def test_draws_depend_on_the_seed_alone_and_are_of_the_right_size() -> None:
    one = draw(50, 200, 7)
    assert (one.sum(axis=1) == 50).all() and (one == draw(50, 200, 7)).all()
    assert (one[:20] == draw(50, 20, 7)).all(), "more resamplings keep the earlier ones"
    assert (one != draw(50, 200, 8)).any()
    assert abs(one.mean(axis=0) - 1).max() < 0.4
    with pytest.raises(BadValue, match="0 resamplings of 50 images"):
        draw(50, 0)


def pixels(seed: int) -> PixelEvidence:
    return pixel_evidence(pixel_world(seed), 7)


def test_mpc_and_rpc_share_their_draws_with_the_cells() -> None:
    source = {CLEAN: pixels(0), FOG: pixels(1), SNOW: pixels(2)}
    found = confidence(source, "mIoU", resamples=300, seed=4)
    weights = draw(9, 300, 4)
    cells = {c: scores(e, weights, "mIoU") for c, e in source.items()}
    mean = (cells[FOG] + cells[SNOW]) / 2
    assert found.mPC is not None and found.rPC is not None and found.P is not None
    assert (found.mPC.low, found.mPC.high) == pytest.approx(tuple(np.quantile(mean, [0.025, 0.975])))
    assert (found.rPC.low, found.rPC.high) == pytest.approx(tuple(np.quantile(mean / cells[CLEAN], [0.025, 0.975])))
    assert found.rPC.value == pytest.approx(found.mPC.value / found.P.value)
    for interval in (found.P, found.mPC, found.rPC, *found.cells.values()):
        assert interval.low < interval.value < interval.high and interval.error > 0
    assert found.mPC.error < max(found.cells[c].error for c in (FOG, SNOW))
    plain = found.to_dict()
    assert plain["cells"]["fog_3"]["low"] == found.cells[FOG].low and plain["n_images"] == 9


def test_held_out_corruptions_stay_out_of_mpc() -> None:
    spatter = Condition("spatter", 1)
    with_it = confidence({FOG: pixels(1), spatter: pixels(5)}, "mIoU", resamples=20)
    assert with_it.mPC == confidence({FOG: pixels(1)}, "mIoU", resamples=20).mPC
    assert with_it.P is None and with_it.rPC is None and spatter in with_it.cells


def test_cells_over_different_images_are_refused() -> None:
    shorter = pixel_evidence(pixel_world(1)[:-1], 7)
    with pytest.raises(BadValue, match="fog_3 was scored on 8 images, another cell on 9"):
        confidence({CLEAN: pixels(0), FOG: shorter}, "mIoU", resamples=5)
    with pytest.raises(MissingConditions, match="no cell with evidence"):
        confidence({}, "mIoU")
    with pytest.raises(UnknownName, match="mIou"):
        confidence({FOG: pixels(0)}, "mIou", resamples=5)


def test_a_file_gives_the_same_draws_and_the_same_bytes(tmp_path: Path) -> None:
    _, content, found = world(2)
    whole = coco_evidence(read_truth(content, quiet=True), found, CATEGORIES, kinds=KINDS)
    for name, evidence, metric in (("coco", whole, "segm_mAP"), ("miou", pixels(0), "mIoU")):
        path = tmp_path / f"{name}.npz"
        files.save(path, evidence, key="k", condition="fog_3")
        assert files.to_bytes(evidence, key="k", condition="fog_3") == path.read_bytes()
        again = files.load(path, key="k")
        assert again.metrics == evidence.metrics and again.image_ids == evidence.image_ids
        weights = draw(len(evidence.image_ids), 30)
        assert np.array_equal(scores(again, weights, metric), scores(evidence, weights, metric), equal_nan=True)
        assert confidence({FOG: again}, metric, resamples=30) == confidence({FOG: evidence}, metric, resamples=30)
        with pytest.raises(BadValue, match="another protocol"):
            files.load(path, key="other")
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(BadValue, match="not an rtx evidence file"):
            files.load(path)
    assert list(tmp_path.glob(".*")) == []
