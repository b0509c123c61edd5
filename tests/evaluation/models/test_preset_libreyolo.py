"""`libreyolo:FILE`: scores equal those of LibreYOLO's own `val`; its files are read without running their code."""

from __future__ import annotations

import argparse
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
libreyolo = pytest.importorskip("libreyolo", reason="libreyolo is not installed")
pytest.importorskip("mmdet")

from rtx.errors import BadValue, WeightsError, WeightsMismatch  # noqa: E402
from rtx.evaluation.evaluate import evaluate  # noqa: E402
from rtx.evaluation.models.presets import open_model  # noqa: E402
from tests.evaluation.models import own_truth  # noqa: E402

CLEAN: dict[str, Any] = dict(corruptions=[], severities=[], workers=0, resamples=0, batch_size=2)
NAMES = ("disc", "block", "stripe")
SPREADS = {
    "yolox": {
        f"head.{part}_preds.{n}": 2.5 if part != "reg" else 0.7 for part in ("cls", "obj", "reg") for n in range(3)
    },
    "yolo9": {f"{part}.{n}.2": 2.5 for part in ("cv3",) for n in range(3)},
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return own_truth.photos(tmp_path_factory.mktemp("photos"), 3, side=2)


def model_of(family: str, photos: list[Path], file: Path, **options: Any) -> Any:
    """A model with random weights that finds something, as its own `save` writes it; opened by its own reader."""
    torch.manual_seed(0)
    made = getattr(libreyolo, family)(model_path=None, nb_classes=len(NAMES), device="cpu", **options)
    made.names = dict(enumerate(NAMES))
    made.model.eval()
    key = "yolox" if family == "LibreYOLOX" else "yolo9"
    inputs = torch.cat([made._preprocess(own_truth.pixels(path), color_format="rgb")[0] for path in photos[:2]])
    own_truth.made_sure(made.model, lambda: made.model(inputs), SPREADS[key])
    made.save(str(file))
    return libreyolo.LibreYOLO(str(file), device="cpu")


def validated(model: Any, root: Path, out: Path) -> tuple[dict[str, float], dict[int, own_truth.Rows]]:
    """The metrics of its own `val`, and what it predicts by image."""
    yaml = dict(path=str(root), val="val2017", train="val2017", names=list(NAMES), nc=len(NAMES))
    (root / "data.yaml").write_text(json.dumps(yaml))
    quiet: dict[str, Any] = dict(verbose=False, workers=0, faster_coco_eval=False, save_plots=False, save_json=True)
    metrics = model.val(data=str(root / "data.yaml"), batch=2, **quiet, project=str(out))
    rows: dict[int, own_truth.Rows] = {}
    for row in json.loads(next(out.rglob("predictions.json")).read_text()):
        rows.setdefault(row["image_id"], []).append(row)
    return metrics, rows


def one_box(image: np.ndarray) -> own_truth.Rows:
    return [dict(category_id=1, bbox=[8.0, 8.0, 40.0, 40.0], score=1.0)]


@pytest.mark.parametrize(
    ("family", "size"),
    [("LibreYOLOX", "n"), pytest.param("LibreYOLO9", "t", marks=[pytest.mark.slow, pytest.mark.ci])],
)
def test_its_own_validation(family: str, size: str, photos: list[Path], tmp_path: Path) -> None:
    model = model_of(family, photos, tmp_path / "made.pt", size=size)
    first = own_truth.coco_of(tmp_path / "first", photos, one_box, NAMES)
    _, found = validated(model, first, tmp_path / "val1")
    in_turn = iter(sorted(found))
    root = own_truth.coco_of(tmp_path / "coco", photos, lambda image: found[next(in_turn)], NAMES, most=8)
    theirs, _ = validated(model, root, tmp_path / "val2")
    summary = evaluate(open_model(f"libreyolo:{tmp_path / 'made.pt'}", root), root, tmp_path / "out", **CLEAN)
    assert summary["P"] == pytest.approx(theirs["metrics/mAP50-95"], abs=1e-6) and 0.05 < summary["P"] < 0.95


@pytest.fixture(scope="module")
def made(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("made") / "made.pt"
    model_of("LibreYOLOX", photos, file, size="n")
    return file


class Trap:
    def __reduce__(self) -> Any:
        return os.mkdir, ("trapped",)


def test_a_file_is_never_unpickled_by_the_library(
    made: Path, made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = torch.load(made)
    torch.save({**content, "more": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(WeightsError, match="nothing was run"):
        open_model(f"libreyolo:{tmp_path / 'trap.pt'}", made_coco)
    assert not (tmp_path / "trapped").exists()
    torch.save({**content, "args": argparse.Namespace(lr=0.1), "log": [argparse.Namespace()]}, tmp_path / "args.pt")
    adapter: Any = open_model(f"libreyolo:{tmp_path / 'args.pt'}", made_coco)
    state = adapter.fn.network.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in content["model"].items())


def test_it_goes_to_another_process_whole(made: Path, made_coco: Path) -> None:
    adapter: Any = open_model(f"libreyolo:{made}", made_coco)
    again = pickle.loads(pickle.dumps(adapter))
    assert again.fn.model.model is again.fn.network
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    with torch.inference_mode():
        (one,), (other,) = adapter.fn([image]), again.fn([image])
    assert torch.equal(one["boxes"], other["boxes"])


def test_what_cannot_be(made: Path, made_coco: Path, made_ade: Path, tmp_path: Path) -> None:
    def opened(**changes: Any) -> Any:
        torch.save({**torch.load(made), **changes}, tmp_path / "changed.pt")
        return open_model(f"libreyolo:{tmp_path / 'changed.pt'}", made_coco)

    with pytest.raises(WeightsError, match="there is no such file"):
        open_model("libreyolo:nowhere.pt", made_coco)
    with pytest.raises(BadValue, match="leave --weights away"):
        open_model(f"libreyolo:{made}", made_coco, weights=made)
    with pytest.raises(BadValue, match="2 class names for a model of 3 classes"):
        open_model(f"libreyolo:{made}", made_coco, classes=["a", "b"])
    with pytest.raises(BadValue, match=r"task 'detect' .*data of --data-root score label maps"):
        open_model(f"libreyolo:{made}", made_ade)
    with pytest.raises(BadValue, match=r"task 'classify' \(evaluated are detect and segment\)"):
        opened(task="classify")
    with pytest.raises(WeightsError, match=r"no checkpoint of LibreYOLO 1.0 \(missing required key: schema_version"):
        torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "bare.pt")
        open_model(f"libreyolo:{tmp_path / 'bare.pt'}", made_coco)
    state = torch.load(made)["model"]
    with pytest.raises(WeightsMismatch, match="1 missing key"):
        opened(model={key: value for key, value in state.items() if key != "head.cls_preds.0.bias"})
    with pytest.raises(WeightsMismatch, match="size mismatch"):
        opened(nc=2, names={0: "a", 1: "b"})
