"""A torch module's settings are part of what it is: two that differ in one attribute never share cells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmdet")

from torch import nn  # noqa: E402

from rtx.errors import RunConflict  # noqa: E402
from rtx.evaluation.models.adapter_config import evaluate  # noqa: E402
from rtx.evaluation.models.adapters import Detector  # noqa: E402
from rtx.evaluation.models.settings import settings_sha256  # noqa: E402
from tests.evaluation.stand_in import CLASSES  # noqa: E402


class Coder:
    """A helper that is no module, as torchvision's box coder."""

    def __init__(self, weight: float) -> None:
        self.weights = (weight, 1.0)
        self.owner = self


class Net(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))
        self.inner = nn.ModuleDict({"head": nn.Identity()})
        self.coder = Coder(options.pop("coder", 10.0))
        self._hidden = options.pop("hidden", 1)
        self.where = options.pop("where", "cuda:0")
        self.inner["head"].options = {"thr": 0.5, "sides": [800], "names": {"a", "b"}, "mean": torch.ones(2), **options}

    def forward(self, images: Any) -> Any:
        return [dict(boxes=[], scores=[], labels=[]) for _ in images]


CHANGES: list[dict[str, Any]] = [
    dict(thr=0.7),
    dict(sides=[160]),
    dict(sides=(800,)),
    dict(names={"a"}),
    dict(mean=torch.zeros(2)),
    dict(coder=5.0),
    dict(hidden=2),
    dict(extra=None),
    dict(act=torch.relu),
    dict(act=torch.sigmoid),
]


def test_every_setting_in_every_part_counts() -> None:
    assert len({settings_sha256(Net(**change)) for change in [{}, *CHANGES]}) == len(CHANGES) + 1


@pytest.mark.parametrize(
    "touch",
    [
        lambda net: net.train(),
        lambda net: net.register_forward_hook(lambda *_: None),
        lambda net: net.w.data.add_(1),
        lambda net: setattr(net, "where", "cpu"),
        lambda net: setattr(net, "path", Path("/elsewhere")),
    ],
    ids=["training flag", "hook", "weight", "device", "path"],
)
def test_what_changes_no_answer_or_is_hashed_elsewhere_does_not_count(touch: Callable[[Any], Any]) -> None:
    net, other = Net().eval(), Net().eval()
    net.path = Path("/here")
    other.path = Path("/here")
    touch(net)
    assert settings_sha256(net) == settings_sha256(other)


def test_every_process_finds_the_same() -> None:
    code = "from tests.evaluation.models.test_settings import *; print(settings_sha256(Net(act=torch.relu)))"
    found = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in (1, 2)
    }
    assert found == {settings_sha256(Net(act=torch.relu))}


def test_a_torchvision_detector_with_other_thresholds_is_another_one() -> None:
    torchvision = pytest.importorskip("torchvision")
    make = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn
    changes: list[dict[str, Any]] = [
        {},
        dict(box_score_thresh=0.7),
        dict(min_size=160),
        dict(rpn_post_nms_top_n_test=7),
    ]
    nets = [make(weights=None, weights_backbone=None, num_classes=3, **change).eval() for change in changes]
    hashes = [settings_sha256(net) for net in nets]
    assert len(set(hashes)) == len(changes)
    with torch.no_grad():
        nets[0]([torch.zeros(3, 64, 64)])
    assert settings_sha256(nets[0]) == hashes[0], "a forward pass changed them"


def test_finished_cells_are_not_those_of_another_threshold(made_coco: Path, tmp_path: Path) -> None:
    few: dict[str, Any] = dict(corruptions=["contrast"], severities=[0], limit=2, workers=0, resamples=0)
    evaluate(Detector(Net(), CLASSES, inputs="arrays"), made_coco, tmp_path, **few)
    evaluate(Detector(Net(), CLASSES, inputs="arrays"), made_coco, tmp_path, **few)
    key = json.loads((tmp_path / "summary.json").read_text())["key"]
    with pytest.raises(RunConflict, match="config_sha256"):
        evaluate(Detector(Net(thr=0.7), CLASSES, inputs="arrays"), made_coco, tmp_path, **few)
    assert json.loads((tmp_path / "summary.json").read_text())["key"] == key
