"""Every leaf trains one step and predicts one image on made data."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets.target_worlds import picture
from tests.small_configs import small_config

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
LEAVES = sorted(path.name for path in CONFIGS.glob("*.py"))
# One of each detector family and data layout, in CI also PRIME and Swin; the others
# differ from these in numbers. All of them with -m slow.
QUICK = ("classify_r50.py", "fasterrcnn_r50_d2_voc.py", "maskrcnn_r50_lr04_coco.py", "upernet_r50_ade20k.py")
IN_CI = ("maskrcnn_r50_prime_coco.py", "maskrcnn_swin_t_1x_coco.py", "upernet_swin_t_prime_ade20k.py")


def data_of(name: str, request: pytest.FixtureRequest) -> Path:
    if name.startswith("classify"):
        return split_folders(request.getfixturevalue("tmp_path"))
    kind = next(k for k in ("voc", "coco", "ade") if k in name)
    root: Path = request.getfixturevalue(f"made_{kind}")
    return root


def split_folders(root: Path) -> Path:
    for split in ("train", "test"):
        for n in range(2):
            picture(root / split / f"c{n}" / "0.png", n)
    return root


def marks(name: str) -> list[pytest.MarkDecorator]:
    return [] if name in QUICK else [pytest.mark.slow, *([pytest.mark.ci] if name in IN_CI else [])]


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in LEAVES])
def test_a_leaf_trains_one_step_and_predicts(name: str, request: pytest.FixtureRequest) -> None:
    import torch
    from mmengine.dataset import pseudo_collate
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import DATASETS, MODELS, init_default_scope

    torch.manual_seed(0)
    cfg = small_config(name, data_of(name, request))
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    model.init_weights()
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    losses = model.train().train_step(
        pseudo_collate([dataset[0], dataset[1]]), build_optim_wrapper(model, cfg.optim_wrapper)
    )
    assert losses and all(torch.isfinite(torch.as_tensor(value)).all() for value in losses.values())
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    assert {key for key, value in model.named_parameters() if value.requires_grad} >= moved
    assert any(key.startswith("backbone.") for key in moved), "full transfer trains the backbone"
    tests = DATASETS.build(cfg.test_dataloader.dataset)
    with torch.no_grad():
        found = model.eval().test_step(pseudo_collate([tests[0]]))
    assert len(found) == 1
