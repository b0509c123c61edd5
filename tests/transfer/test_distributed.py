"""Every transfer mode runs under DDP with the search for unused parameters off."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from rtx.backbones import SourceConvNet, SourceResNet, SourceSwin
from rtx.errors import FrozenChanged
from rtx.transfer import FrozenGuardHook
from rtx.transfer.guard import freeze_map
from tests.transfer.two_processes import ARCHS, MODES

BACKBONES = {
    "resnet_blocks": lambda: SourceResNet(18, trainable_blocks=3),
    "resnet_full": lambda: SourceResNet(18, frozen_stages=1, norm_policy="train"),
    "resnet_two_outputs": lambda: SourceResNet(18, out_indices=(0, 1)),
    "resnet_recomputed": lambda: SourceResNet(18, frozen_stages=2, with_cp=True),
    "mobilenet_three_outputs": lambda: SourceConvNet("mobilenet_v2", out_indices=(0, 1, 2), trainable_blocks=4),
    "swin_fixed": lambda: SourceSwin("swin_t", frozen_stages=4),
    "swin_two_outputs": lambda: SourceSwin("swin_t", out_indices=(0, 1), trainable_blocks=1),
}


@pytest.fixture
def one_process(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("name", BACKBONES)
def test_two_steps_find_no_parameter_without_a_gradient(one_process, name):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = BACKBONES[name]()
            self.head = torch.nn.LazyLinear(1)

        def forward(self, x):
            return self.head(torch.cat([f.mean(dim=(2, 3)) for f in self.backbone(x)], dim=1)).sum()

    torch.manual_seed(0)
    model = Model()
    x = torch.randn(2, 3, 64, 64)
    model(x)
    wrapped = DistributedDataParallel(model, find_unused_parameters=False)
    guard = FrozenGuardHook()
    guard.start(wrapped)
    assert guard.before and all(not key.startswith("module.") for key in guard.before)
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.1, weight_decay=0.1)
    for _ in range(2):  # the reducer complains in the step after the one in which a gradient stayed out
        optimizer.zero_grad()
        wrapped(x).backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
        optimizer.step()
    guard.check(wrapped)
    assert freeze_map(wrapped) == freeze_map(model)
    with torch.no_grad():
        next(p for p in model.backbone.parameters() if not p.requires_grad).add_(1)
    with pytest.raises(FrozenChanged):
        guard.check(wrapped)


@pytest.mark.slow
def test_two_processes_train_every_kind_of_backbone_in_every_mode(tmp_path):
    script = Path(__file__).with_name("two_processes.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    try:
        ends = [process.communicate(timeout=500) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (out, error) in zip(processes, ends, strict=True):
        assert process.returncode == 0, out + error[-2000:]
        assert out.splitlines() == [f"{arch} {mode} {framework}" for arch in ARCHS for mode, framework in MODES]
