"""`transformers:FOLDER`: scores equal those of the library's image processor and network in a loop of their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("mmdet")

from PIL import Image  # noqa: E402

from rtx.errors import BadValue, WeightsError, WeightsMismatch  # noqa: E402
from rtx.evaluation.evaluate import evaluate  # noqa: E402
from rtx.evaluation.models.presets import open_model  # noqa: E402
from tests.evaluation.models import own_truth  # noqa: E402

CLEAN: dict[str, Any] = dict(corruptions=[], severities=[], workers=0, resamples=0, batch_size=2)
NAMES = ("disc", "block", "stripe")
LABELS = dict(id2label=dict(enumerate(NAMES)), label2id={name: n for n, name in enumerate(NAMES)})
SIZE = dict(shortest_edge=64, longest_edge=96)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return own_truth.photos(tmp_path_factory.mktemp("photos"), 4)


def saved(
    folder: Path, network: Any, processor: Any, photos: list[Path], spreads: dict[str, float]
) -> Callable[..., Any]:
    """Write a folder as people have it; what its own processor and network say of an image."""
    network = network.eval()
    inputs = processor(images=[Image.open(path) for path in photos[:1]], return_tensors="pt")
    own_truth.made_sure(network, lambda: network(**inputs), spreads)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)

    def run(image: np.ndarray) -> Any:
        with torch.inference_mode():
            return network(**processor(images=Image.fromarray(image), return_tensors="pt"))

    return run


def metrics(folder: Path, root: Path, out: Path, **options: Any) -> dict[str, Any]:
    """The metrics of the clean cell."""
    summary = evaluate(open_model(f"transformers:{folder}", root, **options), root, out, **CLEAN)
    found: dict[str, Any] = summary["cells"]["clean"]["metrics"]
    return found


def yolos(labels: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    config = transformers.YolosConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=[64, 96],
        num_detection_tokens=20, use_mid_position_embeddings=False, **labels,
    )  # fmt: skip
    network = transformers.YolosForObjectDetection(config)
    torch.nn.init.normal_(network.vit.embeddings.detection_tokens, std=3.0)  # so that each finds something else
    return network


SURE = {"class_labels_classifier.layers.2": 3.0, "bbox_predictor.layers.2": 1.0}


def test_a_detector_whose_numbers_have_gaps(photos: list[Path], tmp_path: Path) -> None:
    named = {0: "N/A", 1: "disc", 2: "N/A", 3: "block", 4: "stripe"}
    processor = transformers.YolosImageProcessor(size=SIZE)
    run = saved(tmp_path / "yolos", yolos(dict(id2label=named)), processor, photos, SURE)
    category = {1: 2, 3: 3, 4: 1}  # the data's order is another one

    @own_truth.once
    def predict(image: np.ndarray) -> own_truth.Rows:
        (found,) = processor.post_process_object_detection(run(image), 0.0, [image.shape[:2]])
        rows = []
        for score, label, box in zip(found["scores"], found["labels"], found["boxes"], strict=True):
            left, top, right, bottom = map(float, box)
            number = category.get(int(label), 99)
            rows.append(dict(category_id=number, score=float(score), bbox=[left, top, right - left, bottom - top]))
        return rows

    root = own_truth.coco_of(tmp_path / "coco", photos, predict, ["stripe", "disc", "block"])
    expected = own_truth.average_precision(root, predict)
    found = metrics(tmp_path / "yolos", root, tmp_path / "out")
    assert found["bbox_mAP"] == pytest.approx(expected, abs=1e-6) and 0.05 < expected < 0.95


def mask_network(labels: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    backbone = transformers.SwinConfig(
        embed_dim=12, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, hidden_dim=32, feature_size=32, mask_feature_size=32, encoder_layers=1,
        decoder_layers=2, num_attention_heads=2, dim_feedforward=32, encoder_feedforward_dim=32, num_queries=8,
        **labels,
    )  # fmt: skip
    return transformers.Mask2FormerForUniversalSegmentation(config)


@pytest.fixture(scope="module")
def mask2former(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Callable[..., Any]]:
    folder = tmp_path_factory.mktemp("mask2former")
    processor = transformers.Mask2FormerImageProcessor(size=dict(height=64, width=64), num_labels=3, ignore_index=255)
    return folder, processor, saved(folder, mask_network(LABELS), processor, photos, {"class_predictor": 2.0})


def test_instances(mask2former: tuple[Path, Any, Callable[..., Any]], photos: list[Path], tmp_path: Path) -> None:
    folder, processor, run = mask2former

    @own_truth.once
    def predict(image: np.ndarray) -> own_truth.Rows:
        options = dict(threshold=0.0, target_sizes=[image.shape[:2]], return_binary_maps=True)
        (found,) = processor.post_process_instance_segmentation(run(image), **options)
        rows = []
        for mask, about in zip(found["segmentation"], found["segments_info"], strict=False):
            encoded = own_truth.rle(mask.numpy() > 0)
            box = own_truth.run_lengths.toBbox(encoded).tolist()
            rows.append(dict(category_id=about["label_id"] + 1, score=about["score"], segmentation=encoded, bbox=box))
        return rows

    root = own_truth.coco_of(tmp_path / "coco", photos, predict, NAMES, most=3)
    found = metrics(folder, root, tmp_path / "out")
    for kind in ("segm", "bbox"):
        expected = own_truth.average_precision(root, predict, kind)
        assert found[f"{kind}_mAP"] == pytest.approx(expected, abs=1e-6) and expected > 0.05


def test_the_same_network_on_label_maps(
    mask2former: tuple[Path, Any, Callable[..., Any]], photos: list[Path], tmp_path: Path
) -> None:
    folder, processor, run = mask2former

    @own_truth.once
    def predict(image: np.ndarray) -> np.ndarray:
        (found,) = processor.post_process_semantic_segmentation(run(image), target_sizes=[image.shape[:2]])
        label: np.ndarray = found.numpy()
        return label

    root = own_truth.ade_of(tmp_path / "ade", photos, predict, NAMES)
    found = metrics(folder, root, tmp_path / "out")
    assert found["mIoU"] == pytest.approx(own_truth.mean_iou(root, predict, 3), abs=1e-9) and found["mIoU"] > 0.05


def test_a_segmenter(photos: list[Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        **LABELS,
    )
    network = transformers.SegformerForSemanticSegmentation(config)
    processor = transformers.SegformerImageProcessor(size=dict(height=64, width=64))
    run = saved(tmp_path / "model", network, processor, photos, {"classifier": 2.0})

    @own_truth.once
    def predict(image: np.ndarray) -> np.ndarray:
        (found,) = processor.post_process_semantic_segmentation(run(image), target_sizes=[image.shape[:2]])
        label: np.ndarray = found.numpy()
        return label

    root = own_truth.ade_of(tmp_path / "ade", photos, predict, NAMES)
    found = metrics(tmp_path / "model", root, tmp_path / "out")
    assert found["mIoU"] == pytest.approx(own_truth.mean_iou(root, predict, 3), abs=1e-9) and found["mIoU"] > 0.05


def classifiers() -> Iterator[tuple[str, Any, Any]]:
    torch.manual_seed(0)
    small = dict(image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    vit = transformers.ViTForImageClassification(transformers.ViTConfig(**small, intermediate_size=32, **LABELS))
    yield "vit", vit, transformers.ViTImageProcessor(size=dict(height=32, width=32))
    convnext = transformers.ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], **LABELS)
    yield (
        "convnext",
        transformers.ConvNextForImageClassification(convnext),
        transformers.ConvNextImageProcessor(size=dict(shortest_edge=64), crop_pct=0.875),
    )
    resnet = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], **LABELS)
    processor = transformers.BitImageProcessor(size=dict(shortest_edge=64), crop_size=dict(height=48, width=48))
    yield "resnet", transformers.ResNetForImageClassification(resnet), processor


@pytest.mark.parametrize("name", ["vit", "convnext", "resnet"])
def test_classifiers(name: str, photos: list[Path], tmp_path: Path) -> None:
    network, processor = next((network, processor) for key, network, processor in classifiers() if key == name)
    last = {"vit": "classifier", "convnext": "classifier", "resnet": "classifier.1"}[name]
    run = saved(tmp_path / "model", network, processor, photos, {last: 2.0})
    root = own_truth.folders_of(tmp_path / "data", photos, lambda image: int(run(image).logits.argmax()), NAMES)
    adapter: Any = open_model(f"transformers:{tmp_path / 'model'}", root)
    for path in photos[:2]:  # resizing apart from normalising changes no bit
        image = own_truth.pixels(path)
        (step,) = adapter.preparation()
        with torch.inference_mode():
            assert torch.equal(adapter.fn([step(dict(img=image))["img"]]), run(image).logits)
    summary = evaluate(adapter, root, tmp_path / "out", **CLEAN)
    assert summary["P"] == own_truth.accuracy(root, lambda image: int(run(image).logits.argmax()), NAMES)


@pytest.fixture(scope="module")
def folder(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("yolos")
    saved(place, yolos(LABELS), transformers.YolosImageProcessor(size=SIZE), photos, SURE)
    return place


def edited(folder: Path, copy: Path, **changes: Any) -> Path:
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **changes}))
    return copy


def test_what_cannot_be(folder: Path, made_coco: Path, made_ade: Path, tmp_path: Path) -> None:
    def opened(place: Path, data: Path = made_coco, **options: Any) -> Any:
        return open_model(f"transformers:{place}", data, **options)

    with pytest.raises(BadValue, match=r"config.json does not exist; give a folder of save_pretrained"):
        opened(tmp_path / "nothing")
    with pytest.raises(BadValue, match="leave --weights away"):
        opened(folder, weights=__file__)
    with pytest.raises(BadValue, match="is a YolosForObjectDetection, but the data of --data-root score label maps"):
        opened(folder, made_ade)
    with pytest.raises(BadValue, match="2 class names for a model of 3 classes"):
        opened(folder, classes=["a", "b"])
    with pytest.raises(WeightsMismatch, match=r"class_labels_classifier"):
        opened(edited(folder, tmp_path / "head", id2label={n: f"class{n}" for n in range(7)}))
    with pytest.raises(WeightsMismatch, match=r"missing keys \(vit.encoder.layer.2"):
        opened(edited(folder, tmp_path / "deep", num_hidden_layers=3))
    with pytest.raises(WeightsMismatch, match="unexpected keys"):
        opened(edited(folder, tmp_path / "flat", num_hidden_layers=1))
    with pytest.raises(BadValue, match="architecture YolosModel; evaluated are ForObjectDetection"):
        opened(edited(folder, tmp_path / "bare", architectures=["YolosModel"]))
    pickled = edited(folder, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="no safetensors in the folder, and pickles are not read"):
        opened(pickled)
    (tmp_path / "pickled/model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(WeightsError, match="cannot be loaded"):
        opened(pickled)


def test_code_of_the_folder_never_runs(folder: Path, made_coco: Path, tmp_path: Path) -> None:
    own = edited(folder, tmp_path / "own", model_type="mine", auto_map={"AutoConfig": "mine.Config"})
    (own / "mine.py").write_text("open('/tmp/ran', 'w')\nraise SystemExit('ran')")
    with pytest.raises(BadValue, match="transformers cannot read the folder"):
        open_model(f"transformers:{own}", made_coco)
