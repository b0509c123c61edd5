#!/usr/bin/env python3
"""The start of `corrupt_eval`: from the command to the first image in front of the network.

    python tools/benchmarks/bench_start.py [--other DIR] [--rounds N] [--config FILE] [--data-root DIR] [--images N]

Each start is a process of its own that ends where the model is given its first batch, which a preprocessor does that
the config imports. With `--other`, another checkout takes turns. Given are medians of wall seconds, of processor
seconds (user and system, threads included), and their ratios; compare ratios, and processor time on a busy machine.
Files are warm after the first round, which does not count. Nothing is kept: each start has an output folder of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STOP = """
import os, sys
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS

@MODELS.register_module()
class StopAtFirstImage(BaseDataPreprocessor):
    def __init__(self, **options):
        super().__init__()

    def forward(self, data, training=False):
        sys.stdout.flush()
        os._exit(77)
"""


def write_world(work: Path, config: Path, data_root: Path | None, images: int) -> tuple[Path, Path]:
    """A config that stops at its first image, and a checkpoint that fits it."""
    import torch
    from mmengine.registry import MODELS, init_default_scope

    from rtx import config as configs
    from rtx.datasets.openmmlab.with_data import with_data
    from rtx.demo.scenes_coco import write_scenes

    if data_root is None:
        data_root = work / "scenes"
        write_scenes(data_root, {"train": 1, "val": images}, size=(480, 640))
    cfg = with_data(configs.with_source(configs.load(config), "random"), data_root)
    init_default_scope(cfg.get("default_scope", "mmdet"))
    torch.save({"state_dict": MODELS.build(cfg.model).state_dict()}, work / "weights.pth")
    (work / "stop_at_first_image.py").write_text(STOP)
    cfg.custom_imports = dict(imports=[*cfg.custom_imports.imports, "stop_at_first_image"], allow_failed_imports=False)
    cfg.model.data_preprocessor.type = "mmengine.StopAtFirstImage"
    cfg.dump(work / "start.py")
    return work / "start.py", work / "weights.pth"


def start(root: Path, config: Path, checkpoint: Path) -> tuple[float, float]:
    """Wall and processor seconds of one start."""
    out = tempfile.mkdtemp(dir=config.parent)
    command = [sys.executable, str(root / "tools/corrupt_eval.py"), str(config), str(checkpoint), "--out", out]
    environ = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{config.parent}"}
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environ, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read() if process.stderr else b""
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status) != 77:
        raise SystemExit(f"{' '.join(command)} did not reach its first image:\n{errors.decode()}")
    return wall, used.ru_utime + used.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, help="another checkout, to take turns with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--config", type=Path, default=ROOT / "configs/maskrcnn_r50_coco.py")
    parser.add_argument("--data-root", type=Path, help="in the config's layout; rendered COCO scenes when left out")
    parser.add_argument("--images", type=int, default=12, help="rendered scenes")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    roots = {"here": ROOT, **({"other": args.other.resolve()} if args.other else {})}
    found: dict[str, Any] = {name: {"wall": [], "processor": []} for name in roots}
    with tempfile.TemporaryDirectory() as work:
        config, checkpoint = write_world(Path(work), args.config, args.data_root, args.images)
        for number in range(args.rounds + 1):
            for name, root in roots.items():
                wall, processor = start(root, config, checkpoint)
                print(f"{name}: wall {wall:.2f} s, processor {processor:.2f} s", file=sys.stderr)
                if number:
                    found[name]["wall"].append(wall)
                    found[name]["processor"].append(processor)
    medians = {name: {what: statistics.median(row) for what, row in rows.items()} for name, rows in found.items()}
    print("| checkout | wall s | processor s | least wall s |\n|---|---:|---:|---:|")
    for name, row in medians.items():
        print(f"| {name} | {row['wall']:.2f} | {row['processor']:.2f} | {min(found[name]['wall']):.2f} |")
    if args.other:
        wall, processor = (medians["here"][what] / medians["other"][what] for what in ("wall", "processor"))
        print(f"here / other: wall {wall:.2f}, processor {processor:.2f}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
