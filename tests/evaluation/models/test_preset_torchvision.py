"""`torchvision:NAME`: scores equal those of torchvision's own loop, whatever way the weights were trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")
pytest.importorskip("mmdet")

from PIL import Image  # noqa: E402
from torch import nn  # noqa: E402
from torchvision import models  # noqa: E402
from torchvision.ops import FrozenBatchNorm2d  # noqa: E402
from torchvision.transforms import functional as pixels_of  # noqa: E402

from rtx.errors import BadValue, UnknownName, WeightsError, WeightsMismatch  # noqa: E402
from rtx.evaluation.evaluate import evaluate  # noqa: E402
from rtx.evaluation.models.presets import open_model  # noqa: E402
from tests.evaluation.models import own_truth  # noqa: E402

CLEAN: dict[str, Any] = dict(corruptions=[], severities=[], workers=0, resamples=0, batch_size=2)
FASTER, MASK = "fasterrcnn_mobilenet_v3_large_320_fpn", "maskrcnn_resnet50_fpn"
COCO91 = models.get_model_weights(FASTER).DEFAULT.meta["categories"]
SPREADS = {
    "rpn.head.cls_logits": 1.0,
    "rpn.head.bbox_pred": 0.2,
    "box_predictor.cls_score": 3.0,
    "box_predictor.bbox_pred": 0.3,
    "mask_fcn_logits": 2.0,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return own_truth.photos(tmp_path_factory.mktemp("photos"), 4)


def as_tensor(image: Any) -> Any:
    return pixels_of.to_tensor(image if isinstance(image, Image.Image) else Image.fromarray(image))


def detector(name: str, photos: list[Path], n_classes: int, *, frozen: bool = False) -> Any:
    """A detector with random weights that finds something; `frozen` as one that was trained from published weights."""
    torch.manual_seed(0)
    network = models.get_model(name, weights=None, weights_backbone=None, num_classes=n_classes).eval()
    images = [as_tensor(Image.open(path)) for path in photos[:2]]
    own_truth.made_sure(network, lambda: network(images), SPREADS)
    return with_frozen_norms(network) if frozen else network


def with_frozen_norms(network: Any) -> Any:
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                norm = FrozenBatchNorm2d(child.num_features, eps=child.eps)
                norm.load_state_dict(child.state_dict())
                setattr(parent, name, norm)
    return network


def own_rows(network: Any, image: np.ndarray, category: Any) -> own_truth.Rows:
    """What torchvision's reference evaluation makes of an image: tensors in, COCO rows out."""
    with torch.inference_mode():
        (found,) = network([as_tensor(image)])
    rows = []
    for n in range(len(found["scores"])):
        left, top, right, bottom = map(float, found["boxes"][n])
        row = dict(category_id=category(int(found["labels"][n])), score=float(found["scores"][n]))
        row["bbox"] = [left, top, right - left, bottom - top]
        if "masks" in found:
            row["segmentation"] = own_truth.rle((found["masks"][n, 0] > 0.5).numpy())
        rows.append(row)
    return rows


def scores(spec: str, root: Path, out: Path, **options: Any) -> dict[str, Any]:
    """The metrics of the clean cell."""
    summary = evaluate(open_model(spec, root, **options), root, out, **CLEAN)
    metrics: dict[str, Any] = summary["cells"]["clean"]["metrics"]
    return metrics


def test_a_detector_with_cocos_91_numbers(photos: list[Path], tmp_path: Path) -> None:
    network = detector(FASTER, photos, 91)
    torch.save({"model": network.state_dict(), "epoch": 3}, tmp_path / "random.pth")
    names = [name for name in COCO91 if name not in ("__background__", "N/A")]
    category = {n: names.index(name) + 1 for n, name in enumerate(COCO91) if name in names}

    @own_truth.once
    def predict(image: np.ndarray) -> own_truth.Rows:
        return own_rows(network, image, lambda n: category.get(n, 999))

    root = own_truth.coco_of(tmp_path / "coco", photos, predict, names)
    expected = own_truth.average_precision(root, predict)
    found = scores(f"torchvision:{FASTER}", root, tmp_path / "out", weights=tmp_path / "random.pth")
    assert 0.05 < expected < 0.95
    assert found["bbox_mAP"] == pytest.approx(expected, abs=1e-6)


def test_a_detector_with_classes_of_its_own_and_frozen_norms(photos: list[Path], tmp_path: Path) -> None:
    network = detector(FASTER, photos, 4, frozen=True)
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    names = ["stripe", "disc", "block"]  # the data's order is another one
    category = {1: 2, 2: 3, 3: 1}

    @own_truth.once
    def predict(image: np.ndarray) -> own_truth.Rows:
        return own_rows(network, image, category.__getitem__)

    root = own_truth.coco_of(tmp_path / "coco", photos, predict, names)
    own = dict(weights=tmp_path / "mine.pth", classes=["Disc", "bl-ock", "band"], class_map={"band": "stripe"})
    found = scores(f"torchvision:{FASTER}", root, tmp_path / "out", **own)
    assert (
        found["bbox_mAP"] == pytest.approx(own_truth.average_precision(root, predict), abs=1e-6)
        and found["bbox_mAP"] > 0.05
    )
    with pytest.raises(WeightsMismatch, match=r"91 classes.*--model-classes.*cls_score"):
        open_model(f"torchvision:{FASTER}", root, weights=tmp_path / "mine.pth")
    with pytest.raises(WeightsMismatch, match="3 classes"):
        open_model(f"torchvision:{FASTER}", root, weights=tmp_path / "mine.pth", classes=["a", "b"])


@pytest.mark.slow
def test_masks_and_boxes(photos: list[Path], tmp_path: Path) -> None:
    network = detector(MASK, photos[:1], 3)
    torch.save(network.state_dict(), tmp_path / "mask.pth")

    @own_truth.once
    def predict(image: np.ndarray) -> own_truth.Rows:
        return own_rows(network, image, int)

    root = own_truth.coco_of(tmp_path / "coco", photos[:1], predict, ["disc", "block"], most=30, moved=0)
    own = dict(weights=tmp_path / "mask.pth", classes=["disc", "block"])
    found = scores(f"torchvision:{MASK}", root, tmp_path / "out", **own)
    for kind, name in (("bbox", "bbox_mAP"), ("segm", "segm_mAP")):
        expected = own_truth.average_precision(root, predict, kind)
        assert found[name] == pytest.approx(expected, abs=1e-6) and expected > 0.01


def test_a_segmenter(photos: list[Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    name, n = "lraspp_mobilenet_v3_large", 5
    network = models.get_model(name, weights=None, weights_backbone=None, num_classes=n).eval()
    transforms = models.get_model_weights(name).DEFAULT.transforms()

    def network_input(image: np.ndarray) -> Any:
        return transforms(Image.fromarray(image))[None]

    first = network_input(own_truth.pixels(photos[0]))
    own_truth.made_sure(network, lambda: network(first), {"low_classifier": 2.0, "high_classifier": 2.0})
    torch.save(network.state_dict(), tmp_path / "seg.pth")

    @own_truth.once
    def predict(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits = network(network_input(image))["out"]
        large = nn.functional.interpolate(logits, image.shape[:2], mode="bilinear", align_corners=False)
        return large[0].argmax(0).numpy()

    names = ["sky", "road", "tree", "car"]  # of torchvision's five, the first is the background
    root = own_truth.ade_of(tmp_path / "ade", photos, lambda image: (predict(image) - 1) % 5 % 4, names)
    own = dict(weights=tmp_path / "seg.pth", classes=names)
    found = scores(f"torchvision:{name}", root, tmp_path / "out", **own)
    expected = own_truth.mean_iou(root, lambda image: predict(image) - 1, 4)
    assert found["mIoU"] == pytest.approx(expected, abs=1e-9) and 0.02 < expected < 0.98


def test_a_classifier_is_resized_as_its_weights_ask_for(photos: list[Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    name = "mobilenet_v3_small"
    entry = models.get_model_weights(name).DEFAULT
    network = models.get_model(name, weights=None).eval()
    transforms = entry.transforms()
    own_truth.made_sure(network, lambda: network(transforms(Image.open(photos[0]))[None]), {"classifier.3": 3.0})
    torch.save(network.state_dict(), tmp_path / "cls.pth")

    @own_truth.once
    def predict(image: np.ndarray) -> int:
        with torch.inference_mode():
            return int(network(transforms(Image.fromarray(image))[None]).argmax())

    names = entry.meta["categories"]
    root = own_truth.folders_of(tmp_path / "folders", photos, predict, names)
    found = scores(f"torchvision:{name}", root, tmp_path / "out", weights=tmp_path / "cls.pth")
    assert found["accuracy_top1"] == own_truth.accuracy(root, predict, names) and 0 < found["accuracy_top1"] < 1


def test_a_network_is_the_one_that_published_weights_would_make(photos: list[Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = models.googlenet(weights=None, transform_input=True, aux_logits=True, init_weights=False).eval()
    torch.save(network.state_dict(), tmp_path / "google.pth")
    (tmp_path / "data/tench").mkdir(parents=True)
    (tmp_path / "data/tench/0.jpg").write_bytes(photos[0].read_bytes())
    adapter: Any = open_model("torchvision:googlenet", tmp_path / "data", weights=tmp_path / "google.pth")
    image = np.zeros((224, 224, 3), np.uint8)
    with torch.inference_mode():
        expected = network(models.GoogLeNet_Weights.DEFAULT.transforms()(Image.fromarray(image))[None])
        assert torch.equal(adapter.fn(as_tensor(image)[None]), expected)


def test_published_weights_are_known_by_their_file(photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "data/tench").mkdir(parents=True)
    (tmp_path / "data/tench/0.jpg").write_bytes(photos[0].read_bytes())
    state = models.resnet18().state_dict()
    for spec, file, sizes in (
        ("resnet18", "mine.pth", "IMAGENET1K_V1"),
        ("mobilenet_v2", "mine2.pth", "IMAGENET1K_V2"),
        ("mobilenet_v2", "mobilenet_v2-b0353104.pth", "IMAGENET1K_V1"),
        ("mobilenet_v2@IMAGENET1K_V1", "mine2.pth", "IMAGENET1K_V1"),
    ):
        state = models.get_model(spec.partition("@")[0]).state_dict()
        torch.save(state, tmp_path / file)
        found = open_model(f"torchvision:{spec}", tmp_path / "data", weights=tmp_path / file)
        assert str(found.version).endswith(sizes)


def test_what_cannot_be(made_coco: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'fasterrcnn_resnet50_fpn_v2'"):
        open_model("torchvision:fasterrcnn_resnet50_fpn_v3", made_coco, weights=__file__)
    with pytest.raises(
        BadValue, match=r"give --weights FILE; torchvision's own are https://download.pytorch.org/.*\.pth"
    ):
        open_model(f"torchvision:{FASTER}", made_coco)
    with pytest.raises(BadValue, match="does another task"):
        open_model("torchvision:resnet50", made_coco, weights=__file__)
    with pytest.raises(UnknownName, match="known: COCO_V1"):
        open_model(f"torchvision:{FASTER}@V9", made_coco, weights=__file__)
    with pytest.raises(WeightsError, match="not a checkpoint"):
        open_model(f"torchvision:{FASTER}", made_coco, weights=__file__)
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(WeightsError, match="no state dict"):
        open_model(f"torchvision:{FASTER}", made_coco, weights=tmp_path / "empty.pth")
