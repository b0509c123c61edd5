"""Made label maps, counted."""

from __future__ import annotations

import numpy as np

from rtx.metrics import miou


def pixel_world(seed: int, n_images: int = 9) -> list[tuple[str, miou.PixelCounts]]:
    rng = np.random.default_rng(seed)
    rows = []
    for image in range(n_images):
        label = rng.integers(0, 5, (12, 17))
        guess = np.where(rng.random(label.shape) < 0.6, label, rng.integers(0, 5, label.shape))
        label[rng.random(label.shape) < 0.1] = 255
        if image % 3 == 0:
            label[label == 4] = 0
            guess[guess == 4] = 0
        rows.append((f"{image}", miou.count(guess, label, 7)[0]))
    return rows
