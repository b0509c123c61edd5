"""Stored corrupted images, and a classifier that reads their shade."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from rtx.corruptions import BENCHMARK
from rtx.evaluation.models.adapters import Classifier
from rtx.types import SEVERITIES
from tests.evaluation.class_folders import NAMES

GROUPS = {"noise": BENCHMARK[:3], "blur": BENCHMARK[3:7], "weather": BENCHMARK[7:11], "digital": BENCHMARK[11:]}


def make_stored(root: Path, names: tuple[str, ...] = BENCHMARK, *, nested: bool = False, per_class: int = 2) -> Path:
    """64 x 64 files whose class shows less the higher severity and number of the corruption are."""
    for corruption in names:
        group = next(g for g, members in GROUPS.items() if corruption in members)
        for severity in SEVERITIES:
            for label, name in enumerate(NAMES):
                folder = root / (group if nested else "") / corruption / str(severity) / name
                folder.mkdir(parents=True)
                for n in range(per_class):
                    rng = np.random.default_rng([BENCHMARK.index(corruption), severity, label, n])
                    shade = label if rng.random() > severity / 7 else int(rng.integers(len(NAMES)))
                    pixels = np.full((64, 64, 3), 20 + 35 * shade, np.uint8)
                    Image.fromarray(pixels).save(folder / f"{n:03d}.PNG")
    return root


def by_shade(images: list[np.ndarray]) -> np.ndarray:
    assert all(image.shape == (64, 64, 3) for image in images)
    levels = np.array([image.mean() for image in images])
    return -np.abs(levels[:, None] - (20 + 35 * np.arange(len(NAMES))))


def shade_model(name: str = "by shade") -> Classifier:
    return Classifier(by_shade, NAMES, name=name, resize=72, crop=64)
