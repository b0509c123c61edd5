"""The images of a preview: every class keeps its share, and nothing but names, classes, limit and seed decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DATASETS, init_default_scope

from rtx.evaluation.card import choose, held_classes
from rtx.evaluation.evaluate import prepare
from rtx.results.subset import stratified
from tests.evaluation.stand_in import PixelDetector, coco_config
from tests.makers import make_ade, make_coco

N_IMAGES, N_CLASSES = 1200, 40


@pytest.fixture(scope="module")
def holds() -> np.ndarray:
    """(images, classes): common classes in half of the images, rare ones in a handful, some images empty."""
    rng = np.random.default_rng(0)
    table = rng.random((N_IMAGES, N_CLASSES)) < np.minimum(0.5, 1.5 / np.arange(1, N_CLASSES + 1) ** 1.3)
    table[rng.random(N_IMAGES) < 0.05] = False
    table[:, -3:] = False
    table[[7, 8, 9], [-3, -2, -1]] = True  # classes of a single image, whose share is less than half an image
    return table


def choose_from(table: np.ndarray, limit: int, seed: int = 0, order: np.ndarray | None = None) -> set[str]:
    order = np.arange(len(table)) if order is None else order
    names = [f"{n:06d}" for n in order]
    found = stratified(names, [np.flatnonzero(table[n]).tolist() for n in order], limit, seed)
    assert found == sorted(set(found)) and len(found) == limit
    return {names[n] for n in found}


@pytest.mark.parametrize("limit", [30, 100, 333, 900])
def test_every_class_keeps_its_share_better_than_by_chance(holds: np.ndarray, limit: int) -> None:
    chosen = np.array([int(name) for name in choose_from(holds, limit)])
    whole = np.c_[holds, ~holds.any(axis=1)]
    share = whole.sum(axis=0) * limit / N_IMAGES
    off = np.abs(whole[chosen].sum(axis=0) - share)
    chance = np.abs(whole[np.random.default_rng(1).permutation(N_IMAGES)[:limit]].sum(axis=0) - share)
    assert off.max() < 6 and np.sqrt((off**2).mean()) < 0.6 * np.sqrt((chance**2).mean())
    if limit >= 2 * N_CLASSES:
        assert (whole[chosen].sum(axis=0) > 0).all(), "with room for it, every class that is there is in"


def test_the_order_of_the_files_does_not_matter_and_the_seed_does(holds: np.ndarray) -> None:
    shuffled = np.random.default_rng(2).permutation(N_IMAGES)
    assert choose_from(holds, 100) == choose_from(holds, 100, order=shuffled)
    other = choose_from(holds, 100, seed=1)
    assert len(other & choose_from(holds, 100)) < 60


def test_without_classes_it_is_a_plain_seeded_draw() -> None:
    nothing = np.zeros((50, 3), bool)
    one, two = choose_from(nothing, 10), choose_from(nothing, 10, seed=1)
    assert one == choose_from(nothing, 10) and one != two
    assert stratified(["a", "b"], [[], []], 5, 0) == [0, 1]


def test_classes_are_read_off_detection_and_segmentation_sets(tmp_path: Path) -> None:
    root = make_coco(tmp_path / "coco", splits={"val2017": 8})
    cfg = coco_config(root)
    init_default_scope("mmdet")
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    held = held_classes(dataset)
    assert len(held) == 8 and held[-1] == set(), "the last image is empty"
    assert {kind for row in held for kind in row} <= {0, 1, 2} and max(map(len, held)) > 1
    chosen = choose(dataset, 5, 0)
    assert len(chosen) == 5 and {k for n in chosen for k in held[n]} == {k for row in held for k in row}
    assert choose(dataset, 8, 0) == choose(dataset, None, 0) == list(range(8))

    cards = [prepare(PixelDetector(), cfg, tmp_path / "out", limit=n).card for n in (5, 8, None)]
    assert (cards[0]["limit"], cards[0]["subset"]) == (5, "stratified/1")
    assert cards[1] == cards[2], "a limit of all images is no preview, and its cells are those of the whole"
    assert cards[2]["limit"] is None and "subset" not in cards[2]

    folder = make_ade(tmp_path / "ade", splits={"validation": 4})
    init_default_scope("mmseg")
    prefix = dict(img_path="images/validation", seg_map_path="annotations/validation")
    maps = DATASETS.build(
        dict(type="mmseg.ADE20KDataset", data_root=str(folder), data_prefix=prefix, pipeline=[], test_mode=True)
    )
    held = held_classes(maps)
    assert len(held) == 4 and all({0, 1} <= row <= {0, 1, 2, 3, 4} for row in held)
