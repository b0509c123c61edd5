#!/usr/bin/env python3
"""How a sweep scales: wall time on 1 and 2 processes here, and a simulation for more ranks from the measured cells.

    python tools/benchmarks/bench_scaling.py [--json FILE] [--images 12] [--cells FOLDER]

The processes are torchrun ranks, shards and Ray workers; each has one thread and no loader process, so that two of them
fit two cores. The simulation deals the measured cells out as ranks do, every n-th to one, and compares the end with a
schedule of whole cells that knows every time in advance (longest first, within 4/3 of the best), and with what no
schedule beats: the longest cell, and the sum over the ranks. `--cells FOLDER` simulates from
the cells of an evaluation that is there, e.g. one made on a GPU.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench_sweep import ROOT, build_config, save_weights  # type: ignore[import-not-found]


def dealt(seconds: Sequence[float], ranks: int) -> float:
    """When the last of `ranks` workers is done, if each has every n-th cell."""
    return max(sum(seconds[rank::ranks]) for rank in range(ranks))


def hand_out(seconds: Sequence[float], ranks: int) -> float:
    """When the last of `ranks` workers is done, if each takes the next cell as soon as it is free."""
    free = [0.0] * ranks
    heapq.heapify(free)
    for cell in seconds:
        heapq.heappush(free, heapq.heappop(free) + cell)
    return max(free)


def simulate(seconds: Sequence[float], ranks: int) -> dict[str, float]:
    """End of the cells as they are dealt, against longest first and against the bound."""
    bound = max(max(seconds), sum(seconds) / ranks)
    end, informed = dealt(seconds, ranks), hand_out(sorted(seconds, reverse=True), ranks)
    best = max(bound, min(end, informed))
    found = {"ranks": ranks, "end_s": end, "best_s": best, "bound_s": bound}
    return found | {"ratio": end / best, "speedup": sum(seconds) / end}


def cell_seconds(folder: Path) -> list[float]:
    """The measured time of every cell, in the order of the grid."""
    from rtx.results.conditions import grid

    files = {condition: folder / "cells" / f"{condition.key}.json" for condition in grid()}
    return [json.loads(path.read_text())["timing"]["seconds"] for path in files.values() if path.is_file()]


def start(config: Path, checkpoint: Path, out: Path, how: str, args: argparse.Namespace) -> float:
    """Wall seconds of one whole evaluation, imports included."""
    command = ["corrupt_eval", str(config), str(checkpoint), "--out", str(out), "--workers", "0", "--device", "cpu"]
    command += ["--corruptions", *args.corruptions, "--severities", *map(str, args.severities)]
    main = ["-m", "rtx.cli.main"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    rendezvous = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    starts = {
        "one": [[*main, *command]],
        "torchrun": [[*rendezvous, *main, *command, "--launcher", "pytorch"]],
        "ray": [[*main, *command, "--run-on", "ray", "--ray-workers", "2", "--per-gpu", "0"]],
        "shards": [[*main, *command, "--shard", f"{index}/2"] for index in (1, 2)],
    }[how]
    started = time.perf_counter()
    running = [
        subprocess.Popen([sys.executable, *line], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for line in starts
    ]
    for process in running:
        _, errors = process.communicate()
        if process.returncode:
            sys.exit(f"{how}: exit {process.returncode}\n{errors.decode()[-2000:]}")
    return time.perf_counter() - started


def measure(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Run every way of starting on the same data and weights."""
    from rtx.demo.scenes_coco import write_scenes

    root = work / "scenes"
    write_scenes(root, {"train": 1, "val": args.images}, size=(480, 640))
    cfg = build_config(args, root, work)
    config, checkpoint = work / "config.py", work / "weights.pth"
    cfg.dump(config)
    save_weights(cfg, checkpoint)
    wall: dict[str, float] = {}
    for turn in range(args.turns):
        for how in ("one", "torchrun", "shards", "ray"):
            took = start(config, checkpoint, work / how if turn == 0 else work / f"{how}{turn}", how, args)
            wall[how] = min(took, wall.get(how, took))
            print(f"{how}: {took:.1f} s", file=sys.stderr, flush=True)
    seconds = cell_seconds(work / "one")
    table = (work / "one" / "summary.json").read_bytes()
    same = all((work / how / "summary.json").read_bytes() == table for how in wall)
    return {
        "wall_s": wall,
        "speedup_2": {how: wall["one"] / wall[how] for how in ("torchrun", "shards", "ray")},
        "equal_summaries": same,
        "images": args.images,
        "cpu_count": os.cpu_count(),
        "cells": len(seconds),
        "cell_s": sum(seconds) / len(seconds),
        "simulated": [simulate(seconds, ranks) for ranks in args.ranks],
    }


def main() -> None:
    """Measure or read, simulate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cells", type=Path, help="simulate from this evaluation's cells; nothing is run")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--turns", type=int, default=1, help="the best of so many is taken")
    parser.add_argument("--corruptions", nargs="+", default=["benchmark"])
    parser.add_argument("--severities", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--ranks", nargs="+", type=int, default=[2, 8, 64])
    args = parser.parse_args()
    args.detector, args.scale, args.workers = "small", [320, 240], 0
    if args.cells:
        seconds = cell_seconds(args.cells)
        found: dict[str, Any] = {"simulated": [simulate(seconds, ranks) for ranks in args.ranks]}
    else:
        with tempfile.TemporaryDirectory() as work:
            found = measure(args, Path(work))
    text = json.dumps(found, indent=1)
    if args.json:
        args.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
