#!/usr/bin/env python3
"""Simulation of many Ray workers from measured unit costs: 76 cells of 20 models, and 12,576 small trainings.

    python tools/benchmarks/bench_queue.py --cells FOLDER --runs FOLDER [--start 20] [--overhead 0.003] [--json FILE]

A free worker takes the next unit. Each unit costs the driver `--driver` seconds, one after the other, and its worker
`--overhead`; each worker needs `--start` seconds before its first unit (of each model, in the sweep). Costs are drawn
with replacement from the cells of an evaluation and from the runs of a grid. The best schedule is bounded from below by
the longest unit and by the sum over the workers, starts not counted.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
from collections.abc import Sequence
from pathlib import Path


def hand_out(seconds: Sequence[float], workers: int, *, start: float, overhead: float, driver: float) -> float:
    """When the last unit ends."""
    free = [start] * workers
    said = 0.0
    for unit in seconds:
        said = max(said, free[0]) + driver
        heapq.heapreplace(free, said + overhead + unit)
    return max(free)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--start", type=float, default=20.0)
    parser.add_argument("--overhead", type=float, default=0.003)
    parser.add_argument("--driver", type=float, default=0.001)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the cells: a real test set is larger")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    draw = random.Random(0)
    cells = [args.scale * json.loads(p.read_text())["timing"]["seconds"] for p in (args.cells / "cells").glob("*.json")]
    runs = [json.loads(p.read_text())["seconds"] for p in args.runs.rglob("seed*.json")]
    work = {
        "sweep, 20 models, one after the other": [[draw.choice(cells) for _ in range(76)] for _ in range(20)],
        "sweep, 20 models, one cluster each": [draw.choice(cells) for _ in range(76)],
        "12576 trainings": [draw.choice(runs) for _ in range(12576)],
    }
    rows = []
    for name, units in work.items():
        groups = units if isinstance(units[0], list) else [units]
        for workers in (8, 64, 512):
            costs = dict(overhead=args.overhead, driver=args.driver)
            end = sum(hand_out(g, workers, start=args.start, **costs) for g in groups)
            warm = sum(hand_out(g, workers, start=0.0, **costs) for g in groups)
            best = sum(max(max(g), sum(g) / workers) for g in groups)
            rows.append(
                dict(work=name, workers=workers, end_s=end, best_s=best, efficiency=best / end, warm=best / warm)
            )
            print(
                f"{name:40} {workers:4} workers: {end:10.1f} s, {best / end:6.1%} of the best ({best / warm:.1%} warm)"
            )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
