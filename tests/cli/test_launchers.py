"""The command as launchers start it: two processes under torchrun and Slurm, and one of them killed midway."""

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
from rtx.evaluation.sweep.claims import holders
from tests.cli.sweep_world import PROJECT, environment, write_world
from tests.evaluation.worlds import table

pytestmark = [pytest.mark.slow, pytest.mark.ci]  # a start takes ten seconds

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


def test_a_rank_that_is_killed_under_torchrun_costs_its_job_the_cells_in_flight(
    made_coco: Path, tmp_path: Path, whole: dict[str, object]
) -> None:
    command = [*TORCHRUN, *words(tmp_path, made_coco, "two"), "--launcher", "pytorch"]
    out = tmp_path / "two"
    job = begin(command, MADE_MODEL_DELAY="0.5")  # both have begun long before one is through
    deadline = time.monotonic() + 300
    while True:
        ranks = {holder.pid for holder in holders(out).values()}
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
    assert not (out / "claims").exists()


@pytest.mark.parametrize(
    "tasks",
    [
        [{"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(n), "SLURM_PROCID": "0"} for n in range(2)],
        [{"SLURM_STEP_ID": "0", "SLURM_PROCID": str(n), "SLURM_LOCALID": str(n)} for n in range(2)],
    ],
    ids=["array", "srun"],
)
def test_tasks_of_slurm_share_the_folder_without_a_launcher(
    made_coco: Path, tmp_path: Path, whole: dict[str, object], tasks: list[dict[str, str]]
) -> None:
    command = [*TOOL, *words(tmp_path, made_coco, "tasks")]
    more = {"SLURM_JOB_ID": "9", "SLURM_NTASKS": "2", "SLURM_NODELIST": "node[1-2]"}
    jobs = [begin(command, **task, **more, MADE_MODEL_DELAY="0.1") for task in tasks]
    ends = [job.communicate(timeout=300) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], ends[0][1][-2000:]
    said = [lines(error) for _, error in ends]
    assert sorted(said[0] + said[1]) == sorted(json.loads(whole["summary.json"])["cells"]), "each cell once"
    assert files(tmp_path / "tasks") == whole
    assert all("INCOMPLETE grid" in shown for shown, _ in ends), "each shows the table"
