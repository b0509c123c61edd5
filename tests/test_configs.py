"""Every leaf builds, opens with its facts, and equals the upstream config but for the keys listed here."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.makers import make_coco

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
LEAVES = sorted(path.name for path in CONFIGS.glob("*.py"))
HEADINGS = ("Reproduces:", "Command:", "Needs:", "Cost:", "Expected:")
STANDARD, ROBUST, STANDARD_D2 = "resnet50_in1k_v1", "resnet50_l2_eps3", "resnet50_l2_eps0"

# The upstream config of a leaf, or the parts that it puts together.
D2_FASTER = ("mmdet", "common/ms-90k_coco.py", "_base_/models/faster-rcnn_r50_fpn.py")
D2_MASK = ("mmdet", "common/ms-poly-90k_coco-instance.py", "_base_/models/mask-rcnn_r50_fpn.py")
D2_VOC = ("_base_/models/faster-rcnn_r50_fpn.py", "_base_/datasets/voc0712.py", "_base_/default_runtime.py")
SWIN_ADE = "swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py"
UPSTREAM: dict[str, tuple[str, ...]] = {
    "maskrcnn_r50_coco.py": ("mmdet", "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"),
    "maskrcnn_r50_eps3_coco.py": ("mmdet", "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"),
    "fasterrcnn_r50_coco.py": ("mmdet", "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"),
    "fasterrcnn_r50_eps3_coco.py": ("mmdet", "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"),
    "fasterrcnn_r50_d2_1x_coco.py": D2_FASTER,
    "fasterrcnn_r50_d2_3x_coco.py": D2_FASTER,
    "maskrcnn_r50_d2_1x_coco.py": D2_MASK,
    "maskrcnn_r50_d2_3x_coco.py": D2_MASK,
    "maskrcnn_r50_lr04_coco.py": ("mmdet", "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"),
    "maskrcnn_r50_prime_coco.py": ("mmdet", "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"),
    "upernet_r50_prime_ade20k.py": ("mmseg", "upernet/upernet_r50_4xb4-80k_ade20k-512x512.py"),
    "maskrcnn_swin_t_prime_coco.py": ("mmdet", "swin/mask-rcnn_swin-t-p4-w7_fpn_ms-crop-3x_coco.py"),
    "upernet_swin_t_prime_ade20k.py": ("mmseg", SWIN_ADE),
    "fasterrcnn_r50_d2_voc.py": ("mmdet", *D2_VOC),
    "fasterrcnn_r50_voc.py": ("mmdet", "pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py"),
    "fasterrcnn_r50_eps3_voc.py": ("mmdet", "pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py"),
    "upernet_r50_ade20k.py": ("mmseg", "upernet/upernet_r50_4xb4-80k_ade20k-512x512.py"),
    "maskrcnn_swin_t_1x_coco.py": ("mmdet", "swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py"),
    "maskrcnn_swin_t_3x_coco.py": ("mmdet", "swin/mask-rcnn_swin-t-p4-w7_fpn_ms-crop-3x_coco.py"),
    "upernet_swin_t_160k_ade20k.py": ("mmseg", SWIN_ADE),
    "upernet_r50_160k_ade20k.py": ("mmseg", "upernet/upernet_r50_4xb4-160k_ade20k-512x512.py"),
    "upernet_r50_eps3_ade20k.py": ("mmseg", "upernet/upernet_r50_4xb4-80k_ade20k-512x512.py"),
    "classify_r50.py": ("mmpretrain", "resnet/resnet50_8xb32_in1k.py"),
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


def source_of(name: str) -> str:
    if "swin_t" in name:
        return "swin_t_in1k"
    if "prime" in name:
        return "resnet50_prime_nojsd"
    return ROBUST if "eps3" in name else STANDARD_D2 if "_d2_" in name else STANDARD


def steps(warmup: int, milestones: list[int], end: int) -> list[dict[str, Any]]:
    return [
        {"type": "LinearLR", "start_factor": 0.001, "by_epoch": False, "begin": 0, "end": warmup},
        {"type": "MultiStepLR", "begin": 0, "end": end, "by_epoch": False, "milestones": milestones, "gamma": 0.1},
    ]


def d2_changes(name: str) -> dict[str, Any]:
    """What a detectron2-equivalent leaf changes in the parts of mmdet that it puts together."""
    changes: dict[str, Any] = {}
    if "maskrcnn" in name:
        changes["model.train_cfg.rcnn.assigner.match_low_quality"] = False
    if "3x" in name:
        changes |= {
            "max_iter": 270000,
            "train_cfg.max_iters": 270000,
            "train_cfg.val_interval": 30000,
            "default_hooks.checkpoint.interval": 30000,
            "param_scheduler": steps(1000, [210000, 250000], 270000),
        }
    return changes | (voc_changes() if name.endswith("voc.py") else {})


def voc_changes() -> dict[str, Any]:
    read = {"type": "LoadImageFromFile", "backend_args": None, "imdecode_backend": "pillow"}
    train = [
        read,
        {"type": "LoadAnnotations", "with_bbox": True},
        {"type": "KeepDifficult"},
        {
            "type": "RandomChoiceResize",
            "scales": [[1333, s] for s in (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)],
            "keep_ratio": True,
            "backend": "pillow",
        },
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "PackDetInputs"},
    ]
    keys = ["img_id", "img_path", "ori_shape", "img_shape", "scale_factor"]
    test = [
        read,
        {"type": "Resize", "scale": [1333, 800], "keep_ratio": True, "backend": "pillow"},
        {"type": "LoadAnnotations", "with_bbox": True},
        {"type": "PackDetInputs", "meta_keys": keys},
    ]
    years = [
        {
            "type": "VOCDataset",
            "data_root": "data/VOCdevkit/",
            "ann_file": f"VOC{year}/ImageSets/Main/trainval.txt",
            "data_prefix": {"sub_data_root": f"VOC{year}/"},
            "filter_cfg": {"filter_empty_gt": True, "min_size": 32},
            "pipeline": train,
            "backend_args": None,
        }
        for year in (2007, 2012)
    ]
    return {
        "model.roi_head.bbox_head.num_classes": 20,
        "backend": "pillow",
        "train_pipeline": train,
        "test_pipeline": test,
        "train_dataloader.sampler": {"type": "InfiniteSampler", "shuffle": True},
        "train_dataloader.dataset": {"type": "ConcatDataset", "ignore_keys": ["dataset_type"], "datasets": years},
        "val_dataloader.dataset.pipeline": test,
        "test_dataloader.dataset.pipeline": test,
        "max_iter": 18000,
        "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 18000, "val_interval": 6000},
        "val_cfg": {"type": "ValLoop"},
        "test_cfg": {"type": "TestLoop"},
        "param_scheduler": steps(100, [12000, 16000], 18000),
        "optim_wrapper": {
            "type": "OptimWrapper",
            "optimizer": {"type": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.0001},
        },
        "auto_scale_lr": {"enable": False, "base_batch_size": 16},
        "default_hooks.checkpoint.by_epoch": False,
        "default_hooks.checkpoint.interval": 6000,
        "log_processor.by_epoch": False,
    }


def classifier(source: str) -> dict[str, Any]:
    found = backbone(source, frozen_stages=-1, norm_policy="train") | {"out_indices": [3]}
    return {key: value for key, value in found.items() if key != "norm_cfg"}


def swin(drop_path_rate: float) -> dict[str, Any]:
    return {
        "type": "SourceSwin",
        "arch": "swin_t",
        "source": "swin_t_in1k",
        "out_indices": [0, 1, 2, 3],
        "frozen_stages": -1,
        "drop_path_rate": drop_path_rate,
    }


def labels_of(name: str) -> dict[str, str]:
    """What a leaf says of itself; reports read nothing else."""
    if name == "classify_r50.py":
        return {"method": "classifier", "data": "imagenet_val", "schedule": "100 epochs"}
    method = {"m": "Mask R-CNN", "f": "Faster R-CNN", "u": "UperNet"}[name[0]]
    data = "ade20k_val" if "ade20k" in name else "voc2007_test" if "voc" in name else "coco_val2017"
    if "voc" in name:
        return {"method": method, "data": data, "schedule": "d2 18k" if "_d2_" in name else "4 epochs"}
    long = re.search(r"160k|3x", name) or ("swin" in name and "prime" in name)
    schedule = ("160k" if long else "80k") if "ade20k" in name else "3x" if long else "1x"
    schedule = f"d2 {schedule}" if "_d2_" in name else schedule
    schedule += " lr 0.04" if name in ("maskrcnn_r50_lr04_coco.py", "maskrcnn_r50_prime_coco.py") else ""
    return {"method": method, "data": data, "schedule": schedule + (" PRIME" if "prime" in name else "")}


def allowed(name: str) -> dict[str, Any]:
    """The keys in which a leaf may differ from upstream, each with the value it must then have."""
    source = source_of(name)
    imports = ["rtx.backbones"] + (
        ["rtx.datasets.openmmlab.keep_difficult"] if name == "fasterrcnn_r50_d2_voc.py" else []
    )
    imports += ["rtx.augment.prime"] if "prime" in name else []
    common: dict[str, Any] = {
        "labels": labels_of(name),
        "custom_imports": {"imports": imports, "allow_failed_imports": False},
        "vis_backends": [{"type": "LocalVisBackend"}, {"type": "TensorboardVisBackend"}],
        "visualizer.vis_backends": [{"type": "LocalVisBackend"}, {"type": "TensorboardVisBackend"}],
    }
    if "prime" in name:
        whole = plain(upstream(name)._cfg_dict["train_pipeline"])
        common["train_pipeline"] = common["train_dataloader.dataset.pipeline"] = [
            *whole[:-1], {"type": "Prime"}, whole[-1],
        ]  # fmt: skip
    if name == "classify_r50.py":
        return common | {"model.backbone": classifier(source)}
    if "_d2_" in name:
        frozen = backbone(source, frozen_stages=1, norm_policy="frozen_affine")
        return common | d2_changes(name) | {"model.backbone": frozen}
    if name.startswith("maskrcnn_swin"):
        return common | {"model.backbone": swin(0.2), "pretrained": None}
    if "lr04" in name or name == "maskrcnn_r50_prime_coco.py":
        common["optim_wrapper.optimizer.lr"] = 0.04
    if not name.startswith("upernet"):
        return common | {"model.backbone": backbone(source, frozen_stages=1, norm_policy="eval")}
    batch_norm = {"type": "BN", "requires_grad": True}  # SyncBN upstream; `sync_bn` restores it in distributed runs
    if "swin" in name:
        common |= {"checkpoint_file": ABSENT, "backbone_norm_cfg": ABSENT, "model.backbone": swin(0.3)}
    else:
        common["model.backbone"] = backbone(source, frozen_stages=-1, norm_policy="train")
    return common | {
        "model.pretrained": ABSENT,
        "norm_cfg": batch_norm,
        "model.decode_head.norm_cfg": batch_norm,
        "model.auxiliary_head.norm_cfg": batch_norm,
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
    """The upstream config, its parts put together as `_base_` does where there are several."""
    package, *parts = UPSTREAM[name]
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    home = Path(spec.origin).parent / ".mim" / "configs"
    whole = load(home / parts[0])
    for part in parts[1:]:
        whole.merge_from_dict(load(home / part)._cfg_dict.to_dict())
    return whole


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
    assert source_of(name) in header


def assert_swin_decays_as_upstream(cfg: Any, model: Any) -> None:
    """Norms and bias tables of the backbone are found by the optimiser's keys, whatever our names for them are."""
    from mmengine.optim import build_optim_wrapper
    from torch import nn

    backbone = model.backbone
    wanted = {p for m in backbone.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()}
    wanted |= {p for name, p in backbone.named_parameters() if name.endswith("relative_position_bias_table")}
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    free = {p for group in groups if group["weight_decay"] == 0 for p in group["params"]}
    assert len(wanted) == 2 * (2 * 12 + 1 + 3 + 4) + 12  # blocks, patch embedding, mergings, outputs; tables
    assert free & set(backbone.parameters()) == wanted


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_builds_its_whole_model(name: str) -> None:
    from mmengine.registry import MODELS, init_default_scope

    cfg = load(CONFIGS / name)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    assert type(model.backbone).__name__ == cfg.model.backbone.type
    assert model.backbone.source == cfg.model.backbone.source == source_of(name)
    if "swin" in name:
        assert_swin_decays_as_upstream(cfg, model)
        return
    shapes = {key: tuple(value.shape) for key, value in model.backbone.state_dict().items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7), "the stem of the ImageNet weights, not the V1c one"
    train_stem = any(p.requires_grad for p in model.backbone.conv1.parameters())
    assert train_stem == name.startswith(("upernet", "classify"))


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_names_a_source_of_the_catalogue(name: str) -> None:
    catalog = pytest.importorskip("rtx.sources.catalog.rows")
    arch = "swin_t" if "swin_t" in name else "resnet50"
    assert catalog.find(load(CONFIGS / name).model.backbone.source).arch == arch


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
