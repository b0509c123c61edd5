"""mmpretrain classifiers through the same sweep: pixels corrupted where the network sees them, accuracy by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmpretrain")

from mmengine.registry import MODELS, init_default_scope  # noqa: E402

from rtx.corruptions import corrupt  # noqa: E402
from rtx.errors import BadValue  # noqa: E402
from rtx.evaluation.evaluate import evaluate  # noqa: E402
from rtx.evaluation.models.load import load_model  # noqa: E402
from rtx.results.evaluation import Evaluation  # noqa: E402
from rtx.results.intervals import confidence  # noqa: E402
from rtx.results.predictions import read_guesses  # noqa: E402
from rtx.rng import image_rng  # noqa: E402
from rtx.types import CLEAN, Condition  # noqa: E402
from tests.evaluation.class_folders import MEAN, NAMES, STD, class_config, make_folders, train  # noqa: E402

FEW: dict[str, Any] = dict(corruptions=["contrast", "impulse_noise"], severities=[5], workers=0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("classes")
    make_folders(root / "val")
    cfg = class_config(root / "val")
    init_default_scope("mmpretrain")
    model = MODELS.build({"data_preprocessor": cfg.data_preprocessor, **cfg.model})
    train(model)
    torch.save({"state_dict": model.state_dict(), "meta": {"dataset_meta": {"classes": NAMES}}}, root / "model.pth")
    return root / "val", root / "model.pth"


@pytest.fixture(scope="module")
def evaluated(world: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out, cfg = tmp_path_factory.mktemp("out"), class_config(world[0])
    model = load_model(cfg, world[1])
    return out, evaluate(model, cfg, out, keep_predictions=True, **FEW)


def by_hand(root: Path, model: Any, condition: Condition) -> float:
    """Load, shrink, crop, corrupt, normalise, predict: written out."""
    hits = []
    for path in sorted(root.rglob("*.png")):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        scale = 72 / min(image.shape[:2])
        size = [72 if side == min(image.shape[:2]) else int(side * scale) for side in image.shape[:2]]
        image = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        top, left = (round((side - 64) / 2) for side in image.shape[:2])
        rgb = np.ascontiguousarray(image[top : top + 64, left : left + 64, ::-1])
        if condition != CLEAN:
            rgb = corrupt(rgb, condition, image_rng(0, path.stem, condition), name="image")
        x = torch.from_numpy((rgb - np.array(MEAN)) / np.array(STD)).permute(2, 0, 1)[None].float()
        with torch.no_grad():
            hits.append(int(model(x, mode="tensor").argmax()) == NAMES.index(path.parent.name))
    return float(np.mean(hits))


def test_cells_are_the_accuracy_by_hand(world: tuple[Path, Path], evaluated: tuple[Path, dict[str, Any]]) -> None:
    model = load_model(class_config(world[0]), world[1])
    assert model.data_preprocessor._enable_normalize, "the statistics beside the model reach it"
    cells = evaluated[1]["cells"]
    values = [cells[key]["metrics"]["accuracy_top1"] for key in cells]
    assert values == [by_hand(world[0], model, Condition.from_key(key)) for key in cells]
    assert values[0] >= 0.5 and min(values) < values[0], "it has learnt something, and corruption takes some of it"


def test_summary_card_evidence_and_predictions(
    world: tuple[Path, Path], evaluated: tuple[Path, dict[str, Any]]
) -> None:
    out, summary = evaluated
    assert summary["metric"] == "accuracy_top1" and summary["n_images"] == 12
    assert set(summary["metrics"]) == {"accuracy_top1", "accuracy_top5", "mean_class_accuracy"}
    card = summary["protocol"]
    assert card["corruption_at"] == "network_input" and card["metric"]["scorer"] == "accuracy"
    found = confidence(Evaluation.read(out).evidence, "accuracy_top1", resamples=50)
    assert found.P is not None and found.P.low <= found.P.value == summary["P"] <= found.P.high
    guesses, classes = read_guesses(out / "predictions" / "contrast_5.npz")
    assert tuple(classes) == NAMES and {g.image for g in guesses} >= {"n01/000", "n06/001"}
    hits = [NAMES[g.labels[0]] == g.image.split("/")[0] for g in guesses]
    assert np.mean(hits) == summary["cells"]["contrast_5"]["metrics"]["accuracy_top1"]


def test_batches_and_the_place_of_the_corruption(world: tuple[Path, Path], evaluated: Any, tmp_path: Path) -> None:
    cfg = class_config(world[0])
    model = load_model(cfg, world[1])
    batched = evaluate(model, cfg, tmp_path / "a", batch_size=4, **FEW)
    for key, cell in batched["cells"].items():
        assert cell["metrics"] == pytest.approx(evaluated[1]["cells"][key]["metrics"], abs=1e-12)
    before = evaluate(model, cfg, tmp_path / "b", corruption_at="original_resolution", **FEW)
    assert before["key"] != batched["key"] and before["protocol"]["corruption_at"] == "original_resolution"
    assert before["cells"]["clean"] == batched["cells"]["clean"]


def test_labels_and_statistics_are_part_of_the_key(world: tuple[Path, Path], tmp_path: Path) -> None:
    few = {**FEW, "corruptions": ["contrast"], "severities": [5]}
    cfg = class_config(world[0])
    model = load_model(cfg, world[1])
    keys = {evaluate(model, cfg, tmp_path / "a", **few)["key"]}
    other = class_config(world[0])
    other.data_preprocessor.mean = [0, 0, 0]
    keys.add(evaluate(load_model(other, world[1]), other, tmp_path / "b", **few)["key"])
    listed = class_config(world[0])
    names = sorted(f"{p.relative_to(world[0])}" for p in world[0].rglob("*.png"))
    (tmp_path / "meta.txt").write_text("".join(f"{name} {n % 6}\n" for n, name in enumerate(names)))
    listed.test_dataloader.dataset.update(ann_file=str(tmp_path / "meta.txt"), metainfo=dict(classes=NAMES))
    summary = evaluate(model, listed, tmp_path / "c", **few)
    keys.add(summary["key"])
    assert len(keys) == 3 and json.loads((tmp_path / "c/protocol.json").read_text())["data_sha256"]


def test_a_head_of_another_number_of_classes_is_refused(world: tuple[Path, Path], tmp_path: Path) -> None:
    cfg = class_config(world[0], n_classes=9)
    init_default_scope("mmpretrain")
    model = MODELS.build({"data_preprocessor": cfg.data_preprocessor, **cfg.model}).eval()
    with pytest.raises(BadValue, match="9 class scores for a data set of 6 classes"):
        evaluate(model, cfg, tmp_path, **FEW)
