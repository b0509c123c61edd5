"""Made features and class folders for probes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rtx.probe.run import ProbeOptions


def blobs(n: int, width: int, classes: int, seed: int = 0, apart: float = 1.0) -> tuple[Any, Any]:
    """Features (n, width) float32 around a centre for each class, and labels (n,), every class among them."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes).astype(np.int64)
    centres = np.random.default_rng(99).normal(size=(classes, width)) * apart
    return (centres[labels] + rng.normal(size=(n, width)) + 3).astype(np.float32), labels


def colours(root: Path, train: int = 8, test: int = 4, classes: int = 3) -> Path:
    """Class folders of 40 x 36 noise with a tint for each class; the first image of each class is grey."""
    for split, count in (("train", train), ("test", test)):
        for label in range(classes):
            folder = root / split / f"c{label}"
            folder.mkdir(parents=True)
            for n in range(count):
                pixels = np.random.default_rng((label, n, count)).integers(0, 120, (36, 40, 3), np.uint8)
                pixels[..., label % 3] += 60
                Image.fromarray(pixels).convert("L" if n == 0 else "RGB").save(folder / f"{n}.png")
    return root


def options(tmp: Path, data: Path, **more: Any) -> ProbeOptions:
    """A probe of a random ResNet-18 on small images."""
    given = dict(
        sources=("resnet18:random",), target="folder", data_root=data, images=(6, None), seeds=3, image_size=32,
        decays=(1e-3, 1e-2, 1e-1), cache=tmp / "features", out=tmp / "out",
    )  # fmt: skip
    return ProbeOptions(**(given | more))
