"""`detectron2:CONFIG.yaml`: scores equal those of detectron2's own test loader and COCOEvaluator."""

from __future__ import annotations

import pickle
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("detectron2", reason="detectron2 is not installed; it is built from its source")
pytest.importorskip("mmdet")

from detectron2.config import get_cfg  # noqa: E402
from detectron2.data import build_detection_test_loader  # noqa: E402
from detectron2.data.datasets import register_coco_instances  # noqa: E402
from detectron2.data.transforms import ResizeShortestEdge  # noqa: E402
from detectron2.evaluation import COCOEvaluator, inference_on_dataset  # noqa: E402
from detectron2.model_zoo import get_config_file  # noqa: E402
from detectron2.modeling import build_model  # noqa: E402

from rtx.errors import BadValue, WeightsError, WeightsMismatch  # noqa: E402
from rtx.evaluation.evaluate import evaluate  # noqa: E402
from rtx.evaluation.models.presets import open_model  # noqa: E402
from tests.evaluation.models import own_truth  # noqa: E402

CLEAN: dict[str, Any] = dict(corruptions=[], severities=[], workers=0, resamples=0, batch_size=2)
NAMES = ("disc", "block", "stripe")
SPREADS = {
    "proposal_generator.rpn_head.objectness_logits": 1.0,
    "proposal_generator.rpn_head.anchor_deltas": 0.2,
    "box_predictor.cls_score": 3.0,
    "box_predictor.bbox_pred": 0.3,
    "mask_head.predictor": 2.0,
}
SMALL = {
    "MODEL.DEVICE": "cpu", "MODEL.RESNETS.DEPTH": 18, "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
    "MODEL.FPN.OUT_CHANNELS": 32,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 64, "MODEL.ROI_MASK_HEAD.CONV_DIM": 16, "MODEL.ROI_HEADS.NUM_CLASSES": 3,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 100, "INPUT.MIN_SIZE_TEST": 128, "INPUT.MAX_SIZE_TEST": 200,
    "TEST.DETECTIONS_PER_IMAGE": 30,
}  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return own_truth.photos(tmp_path_factory.mktemp("photos"), 4)


@pytest.fixture(scope="module")
def made(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """A config file with its weights beside it, the config, and the network."""
    folder = tmp_path_factory.mktemp("made")
    cfg = get_cfg()
    cfg.merge_from_file(get_config_file("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"))
    cfg.merge_from_list([item for pair in SMALL.items() for item in pair])
    torch.manual_seed(0)
    network = build_model(cfg).eval()
    inputs = [
        dict(image=torch.from_numpy(own_truth.pixels(path)[..., ::-1].transpose(2, 0, 1).copy())) for path in photos
    ]
    own_truth.made_sure(network, lambda: network(inputs), SPREADS)
    torch.save({"model": network.state_dict(), "iteration": 7}, folder / "model_final.pth")
    (folder / "config.yaml").write_text(cfg.dump())
    return folder / "config.yaml", cfg, network


def opened(file: Path, root: Path, **options: Any) -> Any:
    given = dict(weights=file.with_name("model_final.pth"), classes=NAMES)
    return open_model(f"detectron2:{file}", root, **{**given, **options})


def test_its_own_evaluator(made: tuple[Path, Any, Any], photos: list[Path], tmp_path: Path) -> None:
    file, cfg, network = made
    resize = ResizeShortestEdge([128, 128], 200)

    @own_truth.once
    def predict(image: np.ndarray) -> own_truth.Rows:
        with torch.inference_mode():
            height, width = image.shape[:2]
            resized = resize.get_transform(image).apply_image(image[..., ::-1])
            tensor = torch.from_numpy(resized.transpose(2, 0, 1).copy())
            found = network([dict(image=tensor, height=height, width=width)])[0]["instances"]
        boxes, scores, labels = found.pred_boxes.tensor.tolist(), found.scores.tolist(), found.pred_classes.tolist()
        return [
            dict(category_id=n + 1, score=s, bbox=[a, b, c - a, d - b], segmentation=own_truth.rle(mask.numpy()))
            for (a, b, c, d), s, n, mask in zip(boxes, scores, labels, found.pred_masks, strict=True)
        ]

    root = own_truth.coco_of(tmp_path / "coco", photos, predict, NAMES)
    name = f"own_truth_{uuid.uuid4().hex}"
    register_coco_instances(name, {}, str(root / "annotations/instances_val2017.json"), str(root / "val2017"))
    loader = build_detection_test_loader(cfg, name, num_workers=0)
    scorer = COCOEvaluator(name, output_dir=str(tmp_path / "theirs"), use_fast_impl=False)
    theirs = inference_on_dataset(network, loader, scorer)
    summary = evaluate(opened(file, root), root, tmp_path / "out", **CLEAN)
    metrics = summary["cells"]["clean"]["metrics"]
    for kind in ("bbox", "segm"):
        expected = theirs[kind]["AP"] / 100
        assert metrics[f"{kind}_mAP"] == pytest.approx(expected, abs=1e-6) and 0.03 < expected < 0.97


def test_it_goes_to_another_process_whole(made: tuple[Path, Any, Any], made_coco: Path) -> None:
    adapter = opened(made[0], made_coco)
    again = pickle.loads(pickle.dumps(adapter))
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    with torch.inference_mode():
        assert torch.equal(adapter.fn([image])[0]["boxes"], again.fn([image])[0]["boxes"])


def test_buffers_of_older_files_are_left_out_and_nothing_else(
    made: tuple[Path, Any, Any], made_coco: Path, tmp_path: Path
) -> None:
    file, _, network = made
    state = network.state_dict()
    old = {"proposal_generator.anchor_generator.cell_anchors.0": torch.zeros(3, 4), "pixel_mean": torch.zeros(3, 1, 1)}
    torch.save({"model": {**state, **old}}, tmp_path / "old.pth")
    opened(file, made_coco, weights=tmp_path / "old.pth")
    torch.save({"model": {**state, "extra": torch.zeros(1)}}, tmp_path / "extra.pth")
    with pytest.raises(WeightsMismatch, match=r"1 unexpected keys \(extra\)"):
        opened(file, made_coco, weights=tmp_path / "extra.pth")
    with (tmp_path / "zoo.pkl").open("wb") as out:
        pickle.dump({"model": {key: value.numpy() for key, value in state.items()}, "__author__": "me"}, out)
    adapter = opened(file, made_coco, weights=tmp_path / "zoo.pkl")
    assert all(torch.equal(value, state[key]) for key, value in adapter.fn.network.state_dict().items())


def test_what_cannot_be(made: tuple[Path, Any, Any], made_coco: Path, made_ade: Path, tmp_path: Path) -> None:
    file = made[0]
    with pytest.raises(BadValue, match=r"80 class names for a model of 3 classes; name them: --model-classes"):
        opened(file, made_coco, classes=())
    with pytest.raises(BadValue, match="no such file, and no such config of the model zoo"):
        opened(tmp_path / "none.yaml", made_coco, weights=file)
    with pytest.raises(BadValue, match="give --weights FILE"):
        opened(file, made_coco, weights=None)
    with pytest.raises(BadValue, match="the data of --data-root score label maps"):
        opened(file, made_ade)
    (tmp_path / "odd.yaml").write_text("MODEL:\n  NO_SUCH_KEY: 1\n")
    with pytest.raises(BadValue, match=r"cannot read the config \(.*NO_SUCH_KEY"):
        opened(tmp_path / "odd.yaml", made_coco, weights=file)
    text = file.read_text().replace("NUM_CLASSES: 3", "NUM_CLASSES: 5")
    (tmp_path / "five.yaml").write_text(text)
    with pytest.raises(WeightsMismatch, match=r"cls_score.weight: \(4, 64\) in the file, \(6, 64\) in the model"):
        opened(tmp_path / "five.yaml", made_coco, weights=file.with_name("model_final.pth"))
    with pytest.raises(WeightsError, match="not a checkpoint"):
        opened(file, made_coco, weights=file)
