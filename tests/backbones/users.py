"""A user's own network in a file of its own, and how to forget one that was registered."""

from rtx.backbones import BACKBONES
from rtx.backbones.registered import NETS
from rtx.sources.catalog.archs import ARCHS


def forget(name: str) -> None:
    """Take a registered network out of all tables again."""
    for table in (BACKBONES, ARCHS, NETS):
        table.pop(name, None)


USERS_FILE = """
import torch
from torch import nn

import rtx


class Block(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after)

    def forward(self, x):
        return self.norm(self.conv(x)).relu()


class Pocket(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = Block(3, 8, 2)
        self.body = nn.ModuleList(Block(a, b, 2) for a, b in ((8, 8), (8, 16), (16, 32), (32, 64)))
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = self.stem(x)
        for block in self.body:
            x = block(x)
        return self.head(x.mean((2, 3)))


rtx.register_backbone(
    "pocket", Pocket, channels=(8, 16, 32, 64), stages=("stem", "body.0", "body.1", "body.2", "body.3"),
    head_keys=("head.",), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25),
)
"""
