"""The demo's source: ImageNet weights from an installed package, or a classifier trained on the spot.

The package is that of the extra `lite0`. Without it a classifier of single rendered objects plays the part of an
ImageNet model, and is saved as torchvision would save it. It knows more kinds of objects than the scenes hold and
never sees a scene.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rtx.demo.scenes import SOURCE_CLASSES, render_crop
from rtx.files import write_whole
from rtx.sources.catalog.record import IMAGENET_MEAN, IMAGENET_STD
from rtx.sources.catalog.rows import find
from rtx.sources.load import in_package

IMAGENET = "efficientnet_lite0_in1k"
ARCH = "timm:tf_efficientnet_lite0"
DEPTH = 18
BATCH = 32
PEAK_LR = 0.05


def has_imagenet() -> bool:
    """Whether the weights and timm, which has their network, are installed."""
    return importlib.util.find_spec("timm") is not None and in_package(find(IMAGENET)) is not None


def train_source(
    path: Path,
    *,
    seed: int = 0,
    crops: int = 3072,
    epochs: int = 4,
    held_out: int = 320,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Train the source classifier and save its weights.

    Args:
        path: where the state dict goes, e.g. `source_r18.pth`; torchvision's keys, `fc` included.
        seed: decides the crops, the initial weights and the order.
        crops: how many crops to train on.
        epochs: how often each is seen.
        held_out: how many further crops measure the accuracy.
        progress: called with (steps done, steps in all).

    Returns:
        The share of held-out crops that it names correctly.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _build()
        order = torch.Generator().manual_seed(seed)
        images, labels = _render(seed, 0, crops)
        steps_an_epoch = max(1, len(labels) // BATCH)
        steps = epochs * steps_an_epoch
        optimizer = torch.optim.SGD(model.parameters(), lr=PEAK_LR, momentum=0.9, weight_decay=5e-4, nesterov=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LR, total_steps=steps + 1, pct_start=0.2)
        model.train()
        for step in range(steps):
            if step % steps_an_epoch == 0:
                batches = torch.randperm(len(labels), generator=order).split(BATCH)
            chosen = batches[step % steps_an_epoch]
            batch = _turn(images[chosen], int(torch.randint(8, (1,), generator=order)))
            loss = functional.cross_entropy(_logits(model, batch), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if progress is not None:
                progress(step + 1, steps)
    _save(model, path)
    return _accuracy(model, *_render(seed, crops, crops + held_out))


def _build() -> nn.Module:
    from rtx.backbones import SourceResNet

    backbone = SourceResNet(depth=DEPTH, source="random", out_indices=(3,), norm_policy="train")
    return nn.ModuleDict({"backbone": backbone, "fc": nn.Linear(512, len(SOURCE_CLASSES))})


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    # What every config of rtx gives a model without a catalogue entry.
    mean, std = (torch.tensor([255 * v for v in values]).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    (features,) = model["backbone"]((images.float() - mean) / std)  # type: ignore[index]
    logits: Tensor = model["fc"](features.mean(dim=(2, 3)))  # type: ignore[index]
    return logits


def _render(seed: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
    drawn = [render_crop(seed, index) for index in range(start, stop)]
    pixels = np.stack([image for image, _ in drawn])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.tensor([label for _, label in drawn])


def _turn(images: Tensor, which: int) -> Tensor:
    """One of the eight turns and mirror images of a square; none of them changes a class."""
    images = torch.rot90(images, which % 4, (2, 3))
    return images.flip(3) if which >= 4 else images


@torch.no_grad()
def _accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    right = [_logits(model, images[i : i + 64]).argmax(1) == labels[i : i + 64] for i in range(0, len(labels), 64)]
    return float(torch.cat(right).float().mean())


def _save(model: nn.Module, path: Path) -> None:
    backbone, fc = model["backbone"], model["fc"]  # type: ignore[index]
    content = io.BytesIO()
    torch.save({**backbone.state_dict(), "fc.weight": fc.weight.detach(), "fc.bias": fc.bias.detach()}, content)
    write_whole(path, content.getvalue())
