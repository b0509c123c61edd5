"""How long a report takes: one run, and twenty, with all 76 cells, intervals, scores by class and example strips.

Command:    python tools/benchmarks/bench_report.py
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from rtx.corruptions import BENCHMARK, CORRUPTIONS
from rtx.results.by_class import FORMAT
from rtx.results.cell import Cell
from rtx.results.confidence import confidence_text, table_bytes
from rtx.results.evaluation import Evaluation
from rtx.results.folder import BY_CLASS, CONFIDENCE, RESAMPLED, CellFolder
from rtx.results.intervals import intervals
from rtx.results.summary import write_summary
from rtx.types import CLEAN, SEVERITIES, Condition

CONDITIONS = (CLEAN, *(Condition(name, level) for name in BENCHMARK for level in SEVERITIES))
RESAMPLES, CLASSES, IMAGES = 1000, 80, 8


def make_run(root: Path, number: int, *, examples: bool = True) -> Path:
    """A generated evaluation folder as a sweep leaves it: cells, intervals, resamples, scores by class, examples."""
    rng = np.random.default_rng(number)
    out = root / f"model_{number}"
    sources = ("resnet50_l2_eps0", "resnet50_l2_eps1", "resnet50_l2_eps3", "resnet50_l2_eps5")
    card = {
        "corruption_engine": "rtx",
        "corruption_engine_version": "made",
        "corruption_seed": 0,
        "channel_order": "rgb",
        "corruption_at": "original_resolution",
        "image_key": "file_stem",
        "limit": None,
        "n_images": 5000,
        "data_sha256": "made",
        "metric": {"scorer": "coco", "n_classes": CLASSES},
        "precision": "fp32",
        "weights_sha256": str(number),
        "source": sources[number % 4],
        "transfer": ("fixed", "full")[number // 4 % 2],
        "labels": {"run": f"model {number}", "method": "Mask R-CNN", "data": "coco_val2017"},
    }
    folder = CellFolder(out, card)
    folder.open()
    harm = {name: rng.uniform(0.2, 0.8) for name in CORRUPTIONS}
    cells, classes = {}, {}
    for condition in CONDITIONS:
        value = (
            rng.uniform(0.3, 0.45)
            if condition == CLEAN
            else 0.38 * (1 - harm[condition.corruption] * condition.severity / 5)
        )
        row = np.clip(value + rng.normal(0, 0.05, CLASSES), 0, 1)
        classes[condition.key] = row.tolist()
        metrics = {"bbox_mAP": float(np.mean(row))}
        metrics |= {
            f"bbox_mAP_{part}": value * scale for part, scale in (("50", 1.5), ("s", 0.5), ("m", 1.0), ("l", 1.3))
        }
        cells[condition] = Cell(condition, metrics, 5000, folder.card, (), {"seconds": 1.0})
        folder.write(cells[condition])
    evaluation = Evaluation(out, folder.card, cells)
    write_summary(evaluation, "bbox_mAP")
    names = [f"class {n}" for n in range(CLASSES)]
    by_class = {"format": FORMAT, "metric": "bbox_mAP", "preview": False, "classes": names, "cells": classes}
    by_class["made_from"] = evaluation.made_from(by_class, cells)
    (out / BY_CLASS).write_text(json.dumps(by_class))
    points = np.array([cell.metrics["bbox_mAP"] for cell in cells.values()])
    values = points * (1 + rng.normal(0, 0.01, (RESAMPLES, len(cells))))
    table = {c: np.concatenate([points[n : n + 1], values[:, n]]) for n, c in enumerate(cells)}
    resampled = table_bytes(table, "bbox_mAP", "made")
    (out / RESAMPLED).write_bytes(resampled)
    known = {"bbox_mAP": intervals(table, "bbox_mAP", 5000)}
    (out / CONFIDENCE).write_text(confidence_text(evaluation, known, {}, resampled))
    if examples:
        write_examples(out, rng)
    return out


def write_examples(out: Path, rng: np.random.Generator) -> None:
    """Example images of 640 x 480 with ten objects each; the same images for every model."""
    (out / "examples").mkdir()
    rows = []
    for number in range(IMAGES):
        fixed = np.random.default_rng(number)
        scene = fixed.integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(scene).resize((640, 480), Image.Resampling.BICUBIC).save(out / "examples" / f"{number}.jpg")
        corners = fixed.integers(0, 400, (10, 2))
        truth = [{"bbox": [*map(int, c), int(c[0]) + 80, int(c[1]) + 60], "label": n} for n, c in enumerate(corners)]
        found = {
            c.key: {"predictions": [{**box, "score": 0.9} for box in truth if rng.uniform() > 0.15 * c.severity]}
            for c in CONDITIONS
        }
        image = {"id": f"i{number}", "original": f"{number}.jpg", "width": 640, "height": 480}
        rows.append({**image, "truth": truth, "conditions": found})
    index = {"format": "rtx.examples/1", "task": "detection", "classes": [f"class {n}" for n in range(CLASSES)]}
    (out / "examples" / "index.json").write_text(json.dumps({**index, "evaluated": 5000, "images": rows}))


def main() -> None:
    """Time the command, imports and all, the best of some runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, nargs="+", default=[1, 20])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--no-examples", action="store_true", help="runs as a sweep without --keep-predictions leaves them: no strips"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        runs = [str(make_run(root, number, examples=not args.no_examples)) for number in range(max(args.models))]
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
        print("| models | cells | wall s | processor s | page MB |")
        print("|---:|---:|---:|---:|---:|")
        for count in args.models:
            walls, costs = [], []
            for _ in range(args.repeats):
                before, started = os.times(), time.perf_counter()
                command = [sys.executable, "-m", "rtx.cli.main", "report", *runs[:count], "--out", str(root / "report")]
                subprocess.run(command, check=True, capture_output=True)
                walls.append(time.perf_counter() - started)
                after = os.times()
                costs.append(
                    after.children_user + after.children_system - before.children_user - before.children_system
                )
            size = (root / "report" / "report.html").stat().st_size / 1e6
            print(f"| {count} | {count * len(CONDITIONS)} | {min(walls):.1f} | {min(costs):.1f} | {size:.2f} |")


if __name__ == "__main__":
    main()
