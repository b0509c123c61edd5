"""A torch module with settings in plain attributes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


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
