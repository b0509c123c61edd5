"""The classification head of a two-stage detector: its regions, their labels, and what it makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope

from rtx.errors import BadValue
from rtx.evaluation.models.load import load_model
from rtx.influence.boxes import BACKGROUND, PROPOSALS, classification_layer, regions
from rtx.influence.head import Inverse, influences
from rtx.influence.subject import of_run
from tests.drift.worlds import written
from tests.makers import make_coco
from tests.small_configs import small_config

HOW: dict[str, Any] = dict(data_root=None, tests=None, seed=0, device="cpu", batch_size=2, workers=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("boxes")
    data = make_coco(root / "data", splits={"train2017": 4, "val2017": 3})
    return written(root / "run", small_config("fasterrcnn_r50_coco.py", data))


def test_it_has_what_the_detector_predicts(run: Path) -> None:
    subject = of_run(run, **HOW)
    head = subject.head
    assert (
        subject.unit == "regions" and subject.classes[-1] == BACKGROUND and len(head.bias) == len(subject.classes) == 4
    )
    assert head.decay == 1e-4 and head.bias_decays and head.train.shape[1] == 1024
    cfg = Config.fromfile(str(run / "config.py"))
    model: Any = load_model(cfg, run / "epoch_1.pth")
    init_default_scope("mmdet")
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    alone = regions(model, dataset, proposals=0, batch_size=1, workers=1)
    truth = [row for n in range(3) for row in dataset.get_data_info(n)["instances"] if not row["ignore_flag"]]
    assert alone.labels.tolist() == [row["bbox_label"] for row in truth] == head.test_labels.tolist()
    assert np.allclose(alone.features, head.test, atol=1e-4), "the batch size does not matter"
    # What the last layer makes of these features are the detector's own class scores of these boxes.
    batch = model.data_preprocessor(pseudo_collate([dataset[0]]), False)
    scale = dataset[0]["data_samples"].scale_factor
    boxes = torch.tensor([row["bbox"] for row in truth])[alone.places == 0] * torch.tensor([*scale, *scale])
    assert torch.allclose(boxes.float(), torch.from_numpy(alone.boxes[alone.places == 0]))
    rois = torch.cat([torch.zeros(len(boxes), 1), boxes.float()], 1)
    with torch.no_grad():
        scores = model.roi_head._bbox_forward(model.extract_feat(batch["inputs"]), rois)["cls_score"]
    logits = alone.features[alone.places == 0] @ head.weight.T + head.bias
    assert np.allclose(logits, scores.numpy(), atol=1e-4)
    shown = subject.pixels("test", 0)
    left, top, right, bottom = alone.boxes[0]
    assert (
        shown.dtype == np.uint8
        and abs(shown.shape[0] - (bottom - top)) <= 1
        and abs(shown.shape[1] - (right - left)) <= 1
    )


def test_proposals_are_labelled_by_their_overlap(run: Path) -> None:
    cfg = Config.fromfile(str(run / "config.py"))
    model: Any = load_model(cfg, run / "epoch_1.pth")
    init_default_scope("mmdet")
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    alone, found = (regions(model, dataset, proposals=n, batch_size=2, workers=1) for n in (0, 20))
    assert len(alone.labels) < len(found.labels) <= len(alone.labels) + 3 * 20 and (found.labels == 3).any()
    for image in range(3):
        truth, here = alone.boxes[alone.places == image], found.boxes[found.places == image]
        labels = found.labels[found.places == image]
        assert np.allclose(here[: len(truth)], truth)
        corners = np.maximum(here[:, None, :2], truth[None, :, :2]), np.minimum(here[:, None, 2:], truth[None, :, 2:])
        inside = (corners[1] - corners[0]).clip(0).prod(-1)
        area = [(rows[:, 2:] - rows[:, :2]).prod(-1) for rows in (here, truth)]
        overlap = (inside / (area[0][:, None] + area[1][None] - inside)).max(1, initial=0)
        assert (labels[overlap < 0.49] == 3).all() and (labels[overlap > 0.51] < 3).all()


def test_influence_needs_no_matrix(run: Path) -> None:
    subject = of_run(run, **HOW)
    assert (np.bincount(subject.head.train_labels)[-1]) <= 4 * PROPOSALS
    few = subject.head
    found = influences(few, Inverse("ridge", 1e-2), solver="cg", memory=1)
    assert found.values.shape == (len(few.test), len(few.train)) and np.isfinite(found.values).all()
    dense = influences(few, Inverse("ridge", 1e-2))
    assert np.allclose(found.values, dense.values, rtol=1e-6, atol=1e-7 * np.abs(dense.values).max())


def test_other_detectors_are_refused() -> None:
    with pytest.raises(BadValue, match=r"here: Module has no box head with a linear softmax layer.*Faster"):
        classification_layer(torch.nn.Module(), "here")
