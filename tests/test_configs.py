"""Every leaf builds, opens with its facts, and equals the upstream config but for the keys listed here."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.makers import make_coco

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
LEAVES = sorted(path.name for path in CONFIGS.glob("*.py"))
HEADINGS = ("Reproduces:", "Command:", "Needs:", "Cost:", "Expected:")
STANDARD, ROBUST = "resnet50_in1k_v1", "resnet50_l2_eps3"

UPSTREAM = {
    "maskrcnn_r50_coco.py": ("mmdet", "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"),
    "maskrcnn_r50_eps3_coco.py": ("mmdet", "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"),
    "fasterrcnn_r50_coco.py": ("mmdet", "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"),
    "fasterrcnn_r50_eps3_coco.py": ("mmdet", "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"),
    "fasterrcnn_r50_voc.py": ("mmdet", "pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py"),
    "fasterrcnn_r50_eps3_voc.py": ("mmdet", "pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py"),
    "upernet_r50_ade20k.py": ("mmseg", "upernet/upernet_r50_4xb4-80k_ade20k-512x512.py"),
    "upernet_r50_eps3_ade20k.py": ("mmseg", "upernet/upernet_r50_4xb4-80k_ade20k-512x512.py"),
}
ABSENT = "<absent>"


def backbone(source: str, *, frozen_stages: int, norm_policy: str) -> dict[str, Any]:
    return {
        "type": "SourceResNet",
        "depth": 50,
        "source": source,
        "out_indices": [0, 1, 2, 3],
        "frozen_stages": frozen_stages,
        "norm_cfg": {"type": "BN", "requires_grad": True},
        "norm_policy": norm_policy,
    }


def allowed(name: str) -> dict[str, Any]:
    """The keys in which a leaf may differ from upstream, each with the value it must then have."""
    source = ROBUST if "eps3" in name else STANDARD
    common = {
        "custom_imports": {"imports": ["rtx.backbones"], "allow_failed_imports": False},
        "vis_backends": [{"type": "LocalVisBackend"}, {"type": "TensorboardVisBackend"}],
        "visualizer.vis_backends": [{"type": "LocalVisBackend"}, {"type": "TensorboardVisBackend"}],
    }
    if not name.startswith("upernet"):
        return common | {"model.backbone": backbone(source, frozen_stages=1, norm_policy="eval")}
    plain = {"type": "BN", "requires_grad": True}  # SyncBN upstream; `sync_bn` restores it in distributed runs
    return common | {
        "model.backbone": backbone(source, frozen_stages=-1, norm_policy="train"),
        "model.pretrained": ABSENT,
        "norm_cfg": plain,
        "model.decode_head.norm_cfg": plain,
        "model.auxiliary_head.norm_cfg": plain,
        "sync_bn": "torch",
        "auto_scale_lr": {"enable": False, "base_batch_size": 16},  # upstream has none; 4 GPUs x 4 images
        "img_ratios": ABSENT,  # test-time augmentation, which no protocol here uses
        "tta_pipeline": ABSENT,
        "tta_model": ABSENT,
    }


def load(path: Path) -> Any:
    from mmengine.config import Config

    return Config.fromfile(path)


def upstream(name: str) -> Any:
    package, rest = UPSTREAM[name]
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    return load(Path(spec.origin).parent / ".mim" / "configs" / rest)


def plain(node: Any) -> Any:
    """Config nodes as dicts and lists; without `_scope_`, which mmengine adds on inheritance across packages."""
    if isinstance(node, dict):
        return {str(key): plain(value) for key, value in node.items() if key != "_scope_"}
    if isinstance(node, (list, tuple)):
        return [plain(value) for value in node]
    return node


def differences(ours: Any, theirs: Any, keys: set[str], name: str = "") -> dict[str, Any]:
    """Dotted key -> our value, for everything that is not equal; `keys` are compared as a whole."""
    if name not in keys and isinstance(ours, dict) and isinstance(theirs, dict):
        found: dict[str, Any] = {}
        for key in {**ours, **theirs}:
            inner = f"{name}.{key}" if name else key
            found |= differences(ours.get(key, ABSENT), theirs.get(key, ABSENT), keys, inner)
        return found
    return {} if ours == theirs else {name: ours}


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_differs_from_upstream_in_the_listed_keys_only(name: str) -> None:
    listed = allowed(name)
    found = differences(plain(load(CONFIGS / name)._cfg_dict), plain(upstream(name)._cfg_dict), set(listed))
    assert found == listed


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_opens_with_its_facts(name: str) -> None:
    text = (CONFIGS / name).read_text(encoding="utf-8")
    header = ast.get_docstring(ast.parse(text)) or ""
    assert [heading for heading in HEADINGS if heading not in header] == []
    assert f"tools/train.py configs/{name}" in header
    assert "estimate" in header, "a cost that nobody measured is an estimate, and says so"
    assert (ROBUST if "eps3" in name else STANDARD) in header


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_builds_its_whole_model(name: str) -> None:
    from mmengine.registry import MODELS, init_default_scope

    cfg = load(CONFIGS / name)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    assert type(model.backbone).__name__ == "SourceResNet"
    assert model.backbone.source == cfg.model.backbone.source
    shapes = {key: tuple(value.shape) for key, value in model.backbone.state_dict().items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7), "the stem of the ImageNet weights, not the V1c one"
    train_stem = any(p.requires_grad for p in model.backbone.conv1.parameters())
    assert train_stem == name.startswith("upernet")


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_names_a_source_of_the_catalogue(name: str) -> None:
    catalog = pytest.importorskip("rtx.sources.catalog")
    assert catalog.find(load(CONFIGS / name).model.backbone.source).arch == "resnet50"


@pytest.mark.slow
def test_a_leaf_runs_with_the_stock_test_tool(tmp_path: Path) -> None:
    import mmdet
    import torch
    from mmdet.datasets import CocoDataset
    from mmengine.registry import MODELS, init_default_scope

    root = make_coco(tmp_path / "coco", names=CocoDataset.METAINFO["classes"])
    cfg = load(CONFIGS / "maskrcnn_r50_eps3_coco.py")
    init_default_scope("mmdet")
    torch.save({"state_dict": MODELS.build(cfg.model).state_dict(), "meta": {}}, tmp_path / "model.pth")
    changes = [
        f"test_dataloader.dataset.data_root={root}/",
        f"test_evaluator.ann_file={root}/annotations/instances_val2017.json",
        "test_dataloader.num_workers=0",
        "test_dataloader.persistent_workers=False",
        "test_dataloader.dataset.indices=1",
    ]
    tool = Path(mmdet.__file__).parent / ".mim/tools/test.py"
    leaf = CONFIGS / "maskrcnn_r50_eps3_coco.py"
    command = [sys.executable, tool, leaf, tmp_path / "model.pth", "--work-dir", tmp_path / "run"]
    done = subprocess.run([*command, "--cfg-options", *changes], capture_output=True, text=True, cwd=CONFIGS.parent)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Epoch(test) [1/1]" in done.stdout + done.stderr


def test_every_leaf_is_listed() -> None:
    assert sorted(UPSTREAM) == LEAVES


def test_a_drifted_leaf_is_noticed() -> None:
    name = "maskrcnn_r50_coco.py"
    cfg = load(CONFIGS / name)
    cfg.optim_wrapper.optimizer.lr = 0.04
    found = differences(plain(cfg._cfg_dict), plain(upstream(name)._cfg_dict), set(allowed(name)))
    assert found != allowed(name) and found["optim_wrapper.optimizer.lr"] == 0.04
