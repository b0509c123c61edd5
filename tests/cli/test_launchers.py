"""The command as launchers start it: two ranks of torchrun, one of them killed midway, and two tasks of an array."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtx.cli import main as cli
from tests.cli.sweep_world import PROJECT, environment, write_world
from tests.evaluation.worlds import table

pytestmark = pytest.mark.slow  # a start takes ten seconds

TOOL = [sys.executable, str(PROJECT / "tools" / "corrupt_eval.py")]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", TOOL[1]]
GRID = ("--corruptions", "brightness", "contrast", "fog", "--severities", "1", "3", "5", "--resamples", "20")
CELLS = 10


def words(root: Path, data: Path, out: str) -> list[str]:
    config, checkpoint = write_world(root / "world", data)
    return [str(config), str(checkpoint), "--out", str(root / out), *GRID, "--workers", "0"]


def files(out: Path) -> dict[str, object]:
    """Everything but who asked for it."""
    return {name: content for name, content in table(out).items() if name != "command.json"}


@pytest.fixture(scope="module")
def whole(made_coco: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The files of one process."""
    root = tmp_path_factory.mktemp("one")
    assert cli.main(["corrupt_eval", *words(root, made_coco, "one")]) == 0
    return files(root / "one")


def lines(said: str) -> list[str]:
    """The cells that processes said they had finished."""
    return re.findall(r"cell \d+/\d+  (\w+)", said)


def begin(command: list[str], **environ: str) -> subprocess.Popen[str]:
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return subprocess.Popen(command, env=environment(**environ), text=True, **pipes)


def children(pid: int) -> set[int]:
    return {int(p) for task in Path(f"/proc/{pid}/task").iterdir() for p in (task / "children").read_text().split()}


def test_a_rank_that_is_killed_under_torchrun_costs_its_job_the_cells_in_flight(
    made_coco: Path, tmp_path: Path, whole: dict[str, object]
) -> None:
    command = [*TORCHRUN, *words(tmp_path, made_coco, "two"), "--launcher", "pytorch"]
    out = tmp_path / "two"
    job = begin(command, MADE_MODEL_DELAY="0.5")  # both have begun long before one is through
    deadline = time.monotonic() + 300
    while True:
        ranks = children(job.pid)
        if len(ranks) == 2 and len(list((out / "cells").glob("*.json"))) >= 2:
            break
        assert job.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(max(ranks), signal.SIGKILL)
    _, said = job.communicate(timeout=300)
    assert job.returncode != 0 and not any(Path(f"/proc/{pid}").exists() for pid in ranks), "torchrun ends the others"
    before = {path.name: path.read_bytes() for path in (out / "cells").glob("*.json")}
    assert 2 <= len(before) < CELLS and set(lines(said)) <= {name[:-5] for name in before}

    again = begin(command)
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0, said[-2000:]
    assert files(out) == whole
    assert all((out / "cells" / name).read_bytes() == content for name, content in before.items()), "timing included"
    assert sorted(lines(said)) == sorted(set(json.loads(whole["summary.json"])["cells"]) - {n[:-5] for n in before})
    assert not list(out.glob(".*"))


@pytest.mark.ci
def test_tasks_of_a_slurm_array_are_shards_and_the_last_shows_the_table(
    made_coco: Path, tmp_path: Path, whole: dict[str, object]
) -> None:
    command = [*TOOL, *words(tmp_path, made_coco, "tasks")]
    array = {"SLURM_JOB_ID": "9", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_PROCID": "0"}
    jobs = [begin(command, **array, SLURM_ARRAY_TASK_ID=str(n), MADE_MODEL_DELAY="0.1") for n in (3, 4)]
    ends = [job.communicate(timeout=300) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], ends[0][1][-2000:]
    said = [lines(error) for _, error in ends]
    assert [len(cells) for cells in said] == [5, 5]
    assert sorted(said[0] + said[1]) == sorted(json.loads(whole["summary.json"])["cells"]), "each cell once"
    assert "task 4 of a Slurm array: --shard 2/2 (give --shard 1/1 for all cells)" in ends[1][1]
    assert files(tmp_path / "tasks") == whole
    shown = [text for text, _ in ends]
    assert any("INCOMPLETE grid" in text for text in shown), "whoever is last"
    assert all("INCOMPLETE grid" in text or "of 10 cells are there; the rest is other" in text for text in shown)
