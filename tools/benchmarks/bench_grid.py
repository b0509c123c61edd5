#!/usr/bin/env python3
"""A grid of real small trainings on Ray: stopped twice, gone on with, collected; and beside one process for each run.

    python tools/benchmarks/bench_grid.py MNIST_FOLDER [--workers 2] [--json FILE]

MNIST_FOLDER holds `train-images-idx3-ubyte.gz` and so on (MNIST, Fashion-MNIST, KMNIST). 240 linear heads on pixels: 5
sizes of training set, 4 weight decays, 12 seeds.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
GRID = """
experiment = dict(title="linear heads on pixels", kind="rtx.probe.unit:train",
                  settings=dict(features={features!r}, steps=30))
runs = [dict(name=f"n{{n}}_wd{{d}}", settings=dict(n_images=n, weight_decay=10.0**-d), seeds=range(12), images=30 * n)
        for n in (100, 200, 400, 800, 1600) for d in (1, 2, 3, 4)]
"""


def read_idx(path: Path) -> Any:
    """An array of MNIST's format."""
    raw = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(raw, ">i4", raw[3], 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def write_features(folder: Path, to: Path) -> None:
    """Pixels in [0, 1] as features."""
    found: dict[str, Any] = {}
    for ours, theirs in (("train", "train"), ("test", "t10k")):
        images = read_idx(next(folder.glob(f"{theirs}-images*.gz")))
        found[f"{ours}_x"] = images.reshape(len(images), -1).astype(np.float32) / 255
        found[f"{ours}_y"] = read_idx(next(folder.glob(f"{theirs}-labels*.gz"))).astype(np.int64)
    np.savez(to, **found)


def rtx(*words: str) -> list[str]:
    """The words of a command."""
    return [sys.executable, "-m", "rtx.cli.main", *words]


def results(root: Path) -> dict[str, int]:
    """Finished runs, and when each was written."""
    files = (p for p in root.rglob("seed*.json") if not p.name.endswith(".error.json"))
    return {str(p.relative_to(root)): p.stat().st_mtime_ns for p in files}


def stopped_twice(command: Sequence[str], root: Path, stops: Sequence[int], env: dict[str, str]) -> dict[str, Any]:
    """Stop the command by SIGTERM, then by SIGKILL, once so many runs are there; then let it end."""
    seen: list[dict[str, int]] = []
    for number, kind in zip(stops, (signal.SIGTERM, signal.SIGKILL), strict=True):
        job = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while job.poll() is None and len(results(root)) < number:
            time.sleep(0.05)
        job.send_signal(kind)
        status = job.wait(timeout=120)
        seen.append(results(root))
        print(f"stopped by {kind.name} (exit status {status}) with {len(seen[-1])} runs", flush=True)
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    end = results(root)
    again = sum(end[name] != stamp for before in seen for name, stamp in before.items())
    return {"stops": [len(s) for s in seen], "runs": len(end), "computed_twice": again}


def pace(command: Sequence[str], root: Path, env: dict[str, str]) -> dict[str, float]:
    """Runs a minute; and for each run the time since its worker's last one that it did not take itself.

    A worker's first run imports PyTorch and reads the data, and is left out of the means.
    """
    started = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    whole = time.perf_counter() - started
    written = [(stamp / 1e9, json.loads((root / name).read_text())) for name, stamp in results(root).items()]
    written.sort(key=lambda row: row[0])
    last: dict[str, float] = {}
    spent, gaps = [], []
    for stamp, record in written:
        if record["worker"] in last:
            spent.append(record["seconds"])
            gaps.append(stamp - last[record["worker"]] - record["seconds"])
        last[record["worker"]] = stamp
    between = written[-1][0] - written[0][0]
    return {
        "runs": len(written),
        "whole_s": whole,
        "between_first_and_last_s": between,
        "runs_per_minute": 60 * (len(written) - 1) / between,
        "runs_per_minute_with_start": 60 * len(written) / whole,
        "unit_ms": 1000 * statistics.mean(spent),
        "overhead_ms": 1000 * statistics.mean(gaps),
        "median_overhead_ms": 1000 * statistics.median(gaps),
    }


def one_process_each(features: str, count: int, env: dict[str, str], workers: int) -> dict[str, float]:
    """Runs a minute where each is a process of its own, as many at once as there were workers."""
    code = "import json, sys; from rtx.probe.unit import train; print(train(json.loads(sys.argv[1]), 'cpu'))"
    sizes = (100, 200, 400, 800, 1600)
    started = time.perf_counter()
    for first in range(0, count, workers):
        jobs = []
        for n in range(first, min(first + workers, count)):
            settings = dict(
                features=features, steps=30, n_images=sizes[n % 5], weight_decay=10.0 ** -(1 + n % 4), seed=n
            )
            words = [sys.executable, "-c", code, json.dumps(settings)]
            jobs.append(subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL))
        if any(job.wait() for job in jobs):
            raise SystemExit("a process failed")
    seconds = time.perf_counter() - started
    return {"runs": count, "runs_per_minute": 60 * count / seconds, "process_ms": 1000 * workers * seconds / count}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as made:
        features, grid = Path(made) / "features.npz", Path(made) / "heads.py"
        write_features(args.folder, features)
        grid.write_text(GRID.format(features=str(features)))

        def run(to: str, *more: str) -> tuple[list[str], Path]:
            work = ["--work-dirs", str(Path(made) / to)]
            return rtx("experiments", "run", str(grid), *work, *more), Path(made) / to / "heads"

        ray = ("--run-on", "ray", "--ray-workers", str(args.workers), "--per-gpu", "0")
        found: dict[str, Any] = {"stopped": stopped_twice(*run("a", *ray), (60, 130), env)}
        print(found["stopped"], flush=True)
        collected = subprocess.run(
            rtx("experiments", "collect", str(grid), "--work-dirs", str(Path(made) / "a")),
            env=env, capture_output=True, text=True,
        )  # fmt: skip
        found["collect"] = {"exit_status": collected.returncode, "said": collected.stdout.strip()[-200:]}
        print(found["collect"], flush=True)
        found["turns"] = []
        for turn in range(2):
            turns = {
                "ray": pace(*run(f"ray{turn}", *ray), env),
                "process_each": one_process_each(str(features), 20, env, args.workers),
                "serial": pace(*run(f"serial{turn}"), env),
            }
            found["turns"].append(turns)
            print(json.dumps(turns), flush=True)
    text = json.dumps(found, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
