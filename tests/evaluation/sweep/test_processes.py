"""Two real processes under torchrun write the files of one, byte by byte."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.evaluation.worlds import table

PROGRAM = """
import sys
from pathlib import Path
import torch
from rtx.evaluation.sweep import share
from rtx.evaluation.evaluate import evaluate
from tests.evaluation.stand_in import PixelDetector, coco_config

share.start(sys.argv[1])
root, out = map(Path, sys.argv[2:])
options = dict(corruptions=["frost", "fog"], severities=[1, 2, 3], workers=1, overwrite=None)
model, rank = PixelDetector(), share.default_share().rank
model.norm = torch.nn.BatchNorm1d(1)
model.norm.running_mean += rank  # as after training, where each rank has the statistics of its own images
with share.buffers_of_rank_0(model):
    summary = evaluate(model, coco_config(root), out, **options)
assert model.norm.running_mean.item() == rank
print("DONE", rank, len(summary["cells"]))
"""
PROJECT = Path(__file__).resolve().parents[3]


def start(tmp_path: Path, command: list[str], *arguments: str) -> str:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(program), *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_two_processes_write_the_cells_of_one_and_replace_what_was_there(made_coco: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    two.mkdir()
    (two / "protocol.json").write_text('{"seed": 7}')
    start(tmp_path, [sys.executable], "none", str(made_coco), str(one))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    text = start(tmp_path, torchrun, "pytorch", str(made_coco), str(two))
    assert sorted(line for line in text.splitlines() if line.startswith("DONE")) == ["DONE 0 7", "DONE 1 7"]
    assert len(list((one / "cells").glob("*.json"))) == 7
    assert table(one) == table(two)
