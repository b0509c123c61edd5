"""docs/adding.md, executed: a corruption, a target, a metric and a backbone are added from outside rtx, and used."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


def blocks() -> str:
    """The Python blocks of the page, in order."""
    return "\n\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs/adding.md").read_text("utf-8"), re.DOTALL))


@pytest.fixture
def world(made_coco: Path, tmp_path: Path) -> Path:
    """A folder with the configs and the two data sets that the page names."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "data/labelled").mkdir(parents=True)
    (tmp_path / "data/coco").symlink_to(made_coco)
    rows = []
    for n, (label, value) in enumerate([("dark", 40), ("dark", 90), ("bright", 170), ("bright", 220)]):
        Image.fromarray(np.full((40, 48, 3), value, np.uint8)).save(tmp_path / f"data/labelled/{n}.png")
        rows.append((f"{n}.png", label))
    with (tmp_path / "data/labelled/labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path


def test_the_page_runs_from_start_to_end(world: Path) -> None:
    pytest.importorskip("mmdet")
    pytest.importorskip("mmpretrain")
    (world / "guide.py").write_text(blocks())
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "guide.py"], cwd=world, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (world / "runs/posterise/summary.json").is_file() and (world / "runs/worst/summary.json").is_file()


def test_the_page_adds_the_four_kinds() -> None:
    text = blocks()
    for registered in ("@corruption(", "@DATASETS.register_module()", "SCORERS[", "register_backbone(", "add_source("):
        assert registered in text
