"""Images of one file name in two folders of a segmentation set: told apart in the evidence, in any order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmseg")

from mmengine.structures import PixelData  # noqa: E402
from mmseg.structures import SegDataSample  # noqa: E402

from rtx.errors import BadValue  # noqa: E402
from rtx.evaluation.scorers.build import build_scorer  # noqa: E402
from rtx.evaluation.sweep.forward import Job  # noqa: E402
from rtx.evaluation.sweep.sweep import run  # noqa: E402
from rtx.results.resample import draw, scores  # noqa: E402
from rtx.types import CLEAN  # noqa: E402

PATHS = ("data/a/0001.png", "data/b/0001.png", "data/b/z.png")


class Streets:
    metainfo = {"classes": ("road", "car")}  # noqa: RUF012

    def __init__(self, root: str = "") -> None:
        self.root = root

    def get_data_info(self, index: int) -> dict[str, Any]:
        return {"img_path": self.root + PATHS[index]}


def sample(path: str, right: bool) -> SegDataSample:
    label = torch.zeros(1, 4, 4, dtype=torch.int64)
    found = SegDataSample(metainfo={"img_path": path})
    found.set_data({"gt_sem_seg": PixelData(data=label), "pred_sem_seg": PixelData(data=label + (not right))})
    return found


def evidence(order: tuple[int, ...], root: str = "") -> Any:
    scorer = build_scorer({"type": "IoUMetric", "iou_metrics": ["mIoU"]}, Streets())
    for n in order:
        scorer.process([sample(root + PATHS[n], right=n != 1)])
    return scorer.evidence()


def test_the_order_of_processing_and_the_place_change_nothing() -> None:
    first = evidence((0, 1, 2))
    assert first.image_ids == ("a/0001.png", "b/0001.png", "b/z.png")
    for other in (evidence((1, 0, 2)), evidence((2, 1, 0), root="/elsewhere/")):
        assert other.image_ids == first.image_ids
        assert np.array_equal(scores(other, draw(3, 50), "mIoU"), scores(first, draw(3, 50), "mIoU"))


def test_without_equal_names_the_stems_stay() -> None:
    assert evidence((1, 2)).image_ids == ("0001", "z")


def test_maps_of_equal_names_are_not_kept_over_each_other(tmp_path: Path) -> None:
    scorer = build_scorer({"type": "IoUMetric", "iou_metrics": ["mIoU"]}, Streets())
    job = Job(None, Streets(), scorer, {"metric": scorer.card()}, tmp_path / "out", range(3), keep_predictions=True)
    with pytest.raises(BadValue, match=r"two images are named '0001', data/a/0001.png and data/b/0001.png"):
        run(job, [CLEAN])
    assert not (tmp_path / "out").exists()
