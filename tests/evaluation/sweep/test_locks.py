"""One driver in a folder or one for each shard: a second one is refused, and shards write what a single run writes."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rtx.cli.options import shard_of
from rtx.errors import BadValue, OutputError, RunConflict
from rtx.evaluation.sweep import locks
from rtx.evaluation.sweep.locks import alone, driving, guarded
from rtx.evaluation.sweep.share import part
from rtx.results.conditions import grid
from tests.evaluation.sweep.small_sweep import KEYS, Watch, evaluate
from tests.evaluation.worlds import table


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_driver_is_refused_with_what_works_instead_and_disturbs_nothing(
    made_coco: Path, tmp_path: Path, whole: dict[str, object], overwrite: bool
) -> None:
    refused: list[str] = []

    def again(cell: Any, done: int, todo: int) -> None:
        if done == 2:
            with pytest.raises(RunConflict) as caught:
                evaluate(made_coco, tmp_path, overwrite=overwrite)
            refused.append(str(caught.value))

    evaluate(made_coco, tmp_path, on_cell=again)
    for way in (
        "another process is at work there",
        "--run-on ray",
        "torchrun",
        "--launcher pytorch",
        "--shard I/N",
        "another --out",
    ):
        assert way in refused[0]
    assert table(tmp_path) == whole


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [(None, (1, 2), False), ((1, 2), None, False), ((1, 2), (1, 2), False), ((1, 2), (2, 2), True)],
)
def test_shards_run_side_by_side_and_nothing_else_does(tmp_path: Path, first: Any, second: Any, both: bool) -> None:
    with driving(tmp_path, first):
        if both:
            with driving(tmp_path, second):
                assert not alone(tmp_path, first) and not alone(tmp_path, second)
        else:
            with pytest.raises(RunConflict), driving(tmp_path, second):
                pass
        assert alone(tmp_path, first)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="loaders are forks")
def test_a_lock_of_a_process_that_was_killed_is_free_at_once_even_if_a_fork_of_it_lives_on(tmp_path: Path) -> None:
    program = f"""
import os, time
from pathlib import Path
from rtx.evaluation.sweep.locks import driving
with driving(Path({str(tmp_path)!r})):
    if os.fork() == 0:
        print(os.getpid(), flush=True)  # a fork that runs has let go of the lock
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        try:
            with pytest.raises(RunConflict), driving(tmp_path):
                pass
            process.kill()
            process.wait(30)
            with driving(tmp_path):
                assert not list(tmp_path.glob(".folder*"))
        finally:
            os.kill(child, signal.SIGKILL)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="other systems stop no process")
def test_a_driver_that_is_stopped_keeps_its_folder_and_goes_on_later(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from rtx.evaluation.sweep.locks import driving
with driving(Path({str(tmp_path)!r})):
    print(1, flush=True)
    input()
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout and process.stdout.readline() == "1\n"
        process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(RunConflict), driving(tmp_path):
                pass
        finally:
            process.send_signal(signal.SIGCONT)
        process.communicate("\n", timeout=60)
        assert process.returncode == 0
    with driving(tmp_path):
        pass


def test_without_file_locks_it_goes_on_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(locks.FileLock, "acquire", fail)
    with caplog.at_level(logging.WARNING), driving(tmp_path), guarded(tmp_path):
        pass
    assert [record.message.partition(";")[0] for record in caplog.records] == [
        f"{tmp_path}: no file locks there (no locks available)"
    ]


@pytest.mark.parametrize("count", [1, 2, 7, 76, 100])
def test_shards_cover_the_grid_exactly_once(count: int) -> None:
    shards = [part(grid(), (index, count)) for index in range(1, count + 1)]
    assert sorted(c.key for shard in shards for c in shard) == sorted(c.key for c in grid())
    with pytest.raises(BadValue, match="must be 1/"):
        part(grid(), (count + 1, count))


@pytest.mark.parametrize("order", [(1, 2), (4, 2, 3, 1)], ids=str)
def test_the_last_shard_writes_what_a_single_run_writes(
    made_coco: Path, tmp_path: Path, whole: dict[str, object], order: tuple[int, ...]
) -> None:
    begun: list[str] = []
    for index in order:
        watch = Watch()
        summary = evaluate(made_coco, tmp_path, shard=(index, len(order)), on_event=watch)
        begun += watch.started
        assert (tmp_path / "summary.json").is_file() == (set(begun) == set(KEYS))
        assert set(summary["cells"]) == set(begun) and not summary["complete"]
    assert sorted(begun) == sorted(KEYS)
    assert table(tmp_path) == whole


def test_a_shard_does_not_overwrite(made_coco: Path, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="--overwrite with --shard would remove the cells of other shards"):
        evaluate(made_coco, tmp_path, shard=(1, 2), overwrite=True)


def slurm(task: int, least: int = 0, count: int = 4, **more: str) -> dict[str, str]:
    row = {"TASK_ID": str(task), "TASK_MIN": str(least), "TASK_COUNT": str(count), **more}
    return {f"SLURM_ARRAY_{name}": value for name, value in row.items()}


@pytest.mark.parametrize(
    ("shard", "launcher", "environ", "found"),
    [
        (None, "none", {}, None),
        ("2/3", "none", slurm(1), (2, 3)),
        (None, "none", slurm(0), (1, 4)),
        (None, "none", slurm(9, least=6), (4, 4)),
        (None, "none", slurm(8, least=2, TASK_STEP="3"), (3, 4)),
        (None, "pytorch", slurm(1), None),
    ],
)
def test_a_shard_is_what_was_asked_for_else_the_place_in_a_slurm_array(
    shard: str | None, launcher: str, environ: dict[str, str], found: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from argparse import Namespace

    with caplog.at_level(logging.INFO):
        assert shard_of(Namespace(shard=shard, launcher=launcher), environ) == found
    assert ("of a Slurm array" in caplog.text) == (found is not None and shard is None)


@pytest.mark.parametrize(("shard", "environ"), [("0/3", {}), ("4/3", {}), ("2", {}), ("a/b", {}), (None, slurm(7))])
def test_a_shard_that_does_not_exist_is_refused(shard: str | None, environ: dict[str, str]) -> None:
    from argparse import Namespace

    with pytest.raises(BadValue, match=r"I/N"):
        shard_of(Namespace(shard=shard, launcher="none"), environ)


def test_a_disk_that_became_read_only_hides_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(self: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    with pytest.raises(OutputError, match="the cell cannot be written"), driving(tmp_path / "out"):
        monkeypatch.setattr(Path, "unlink", read_only)
        raise OutputError("the cell cannot be written")
