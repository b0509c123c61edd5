"""One of two processes that train every kind of backbone in every mode: `python two_processes.py RANK STORE`.

Run by test_distributed.py. It prints a line for each pair of backbone and mode that went well.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

PROJECT = Path(__file__).resolve().parents[2]
ARCHS = ("resnet18", "vgg16_bn", "densenet161", "mobilenet_v2", "swin_t")
# (mode, framework): mmseg's default differs from mmdet's in stages and in batch norm.
MODES = (
    ("fixed", "mmdet"),
    ("full", "mmdet"),
    ("full", "mmseg"),
    ("full_strict", "mmdet"),
    ("full_strict", "mmseg"),
    ("blocks:2", "mmdet"),
)
SIDE = 64


def main(rank: int, store: str) -> None:
    sys.path.insert(0, str(PROJECT))
    from mmengine.registry import MODELS

    import rtx.backbones  # noqa: F401  # registers
    from rtx.backbones.spec import spec_of
    from rtx.transfer import FrozenGuardHook
    from rtx.transfer.modes import apply_transfer
    from rtx.types import TransferMode

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    for arch in ARCHS:
        for mode, framework in MODES:
            torch.manual_seed(0)
            config = apply_transfer(spec_of(arch).config, TransferMode.parse(mode), None, framework)
            train(MODELS.build(config), sum(spec_of(arch).channels), rank, FrozenGuardHook())
            print(f"{arch} {mode} {framework}", flush=True)
    dist.destroy_process_group()


def train(backbone: torch.nn.Module, channels: int, rank: int, guard: Any) -> None:
    """Two steps on other data than the other process has; the reducer complains in the second of a missing gradient."""

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = backbone, torch.nn.Linear(channels, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.cat([f.mean(dim=(2, 3)) for f in self.backbone(x)], dim=1)).mean()

    model = Model()
    settle(model)
    wrapped = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=False)
    guard.start(wrapped)
    trained = [p for p in model.parameters() if p.requires_grad]
    before = [p.detach().clone() for p in trained]
    optimizer = torch.optim.SGD(trained, lr=1e-3, momentum=0.9, weight_decay=0.1)
    draw = torch.Generator().manual_seed(rank)
    for _ in range(2):
        optimizer.zero_grad()
        wrapped(torch.randn(2, 3, SIDE, SIDE, generator=draw)).backward()
        assert all(p.grad is not None for p in trained)
        optimizer.step()
    guard.check(wrapped)
    assert any(not torch.equal(a, b) for a, b in zip(before, trained, strict=True))
    for parameter in model.parameters():
        other = parameter.detach().clone()
        dist.broadcast(other, src=0)
        assert torch.equal(other, parameter), "the processes drifted apart"


def settle(model: torch.nn.Module) -> None:
    """Statistics that fit the random weights: 78 dense layers without them overflow."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = None
    with torch.no_grad():
        model(torch.randn(4, 3, SIDE, SIDE))
    for norm in norms:
        norm.momentum = 0.1
    model.train()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
