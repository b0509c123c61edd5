"""Made tables in the columns of `rtx experiments collect` and `rtx probe`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

NATURAL, ROBUST = "resnet50_in1k_v1", "resnet50_madry_l2_eps3"


def trained(source: str, transfer: str, target: str, seed: int, score: float, **more: Any) -> dict[str, Any]:
    """A row of an experiment; `epochs_scored` is epoch -> score."""
    curve = {f"score.epoch.{epoch}": value for epoch, value in more.pop("epochs_scored", {}).items()}
    row = dict(experiment="e", state="done", source=source, transfer=transfer, target=target, seed=seed)
    return {**row, "recipe": "utrera", **more, "score.P": score, **curve}


def probed(source: str, target: str, images: int, seed: int, score: float, **more: Any) -> dict[str, Any]:
    """A row of a probe."""
    row = dict(source=source, target=target, head="logistic", images=images, seed=seed, accuracy=score)
    return {**row, "mean_per_class": score / 2, "selected_on": "held-out", **more}


def write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, names, restval="")
        table.writeheader()
        table.writerows(rows)
    return path


def subsets(gain: float = 0.05) -> list[dict[str, Any]]:
    """Two sources, two targets, two sizes and three seeds; a seed's luck is shared by both sources."""
    return [
        trained(
            source,
            "blocks:3",
            target,
            seed,
            base + luck + (gain + 0.001 * seed if source == ROBUST else 0),
            images=images,
            epochs_scored={1: 0.1 + luck, 11: 0.3 + luck + (2 * gain if source == ROBUST else 0), 100: base + luck},
        )
        for source in (NATURAL, ROBUST)
        for target in ("cifar10", "svhn")
        for images, base in ((100, 0.4), (400, 0.6))
        for seed, luck in enumerate((-0.1, 0.0, 0.1))
    ]
