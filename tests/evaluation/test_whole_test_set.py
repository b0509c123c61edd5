"""A test set that silently lost images is no whole one."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import pytest

from rtx.errors import BadValue, DataError
from rtx.metrics.coco_truth import read_truth

BOX = {"category_id": 1, "bbox": [0, 0, 3, 3]}
FILE: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a"}, {"id": 2, "file_name": "b"}],
    "categories": [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}],
    "annotations": [{"id": 1, "image_id": 1, **BOX}],
}


@pytest.mark.parametrize("kind", ["images", "categories"])
def test_an_id_that_comes_twice_is_an_error(kind: str) -> None:
    content = copy.deepcopy(FILE)
    content[kind][1]["id"] = 1
    with pytest.raises(DataError, match=r"(image|category) id 1 is there twice"):
        read_truth(content)


def test_annotations_of_unknown_images_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read_truth(FILE)
        assert not caplog.text
        read_truth({**FILE, "annotations": [*FILE["annotations"], {"id": 2, "image_id": 3, **BOX}]})
    assert "the image_id of 1 of 2 annotations is not in the file, e.g. 3" in caplog.text
    with pytest.raises(DataError, match="annotation 2 has the image_id '1', which is text"):
        read_truth({**FILE, "annotations": [*FILE["annotations"], {"id": 2, "image_id": "1", **BOX}]})


def test_a_test_set_that_filters_its_images_is_refused(made_coco: Path) -> None:
    pytest.importorskip("mmdet")
    from mmengine.registry import DATASETS, init_default_scope

    from rtx.evaluation.scorers.build import build_scorer
    from tests.evaluation.stand_in import coco_config

    cfg = coco_config(made_coco)
    init_default_scope("mmdet")
    whole = DATASETS.build(cfg.test_dataloader.dataset)
    cfg.test_dataloader.dataset.pop("test_mode")
    assert build_scorer(cfg.test_evaluator, DATASETS.build(cfg.test_dataloader.dataset))  # nothing is left out
    cfg.test_dataloader.dataset.filter_cfg = dict(filter_empty_gt=True)
    fewer = DATASETS.build(cfg.test_dataloader.dataset)
    assert len(fewer) < len(whole)
    with pytest.raises(BadValue, match="leaves images out as for training; set test_dataloader"):
        build_scorer(cfg.test_evaluator, fewer)
