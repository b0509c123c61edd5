"""What a sweep survives: a full disk, damaged files, killed loaders, too little memory, stops."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rtx import files
from rtx.errors import DataError, DeviceError, OutputError
from rtx.evaluation.evaluate import prepare
from rtx.evaluation.sweep.events import CellDone, Planned, Progress
from rtx.evaluation.sweep.interrupt import Terminated, exit_status, sigterm_raises
from rtx.results.evaluation import sound_cells
from rtx.results.folder import CellFolder
from tests.evaluation.stand_in import PixelDetector, coco_config
from tests.evaluation.sweep.small_sweep import FEW, KEYS, Watch, evaluate
from tests.evaluation.worlds import table

# A full disk


@pytest.mark.parametrize(
    ("place", "call"),
    [
        ("protocol.json", "fsync"),
        ("fog_2.npz", "fsync"),
        ("fog_2.json", "fsync"),
        ("fog_2.json", "replace"),
        ("confidence.json", "fsync"),
        ("resamples.npz", "replace"),
        ("summary.json", "fsync"),
        ("table.md", "fsync"),
        ("cells.csv", "fsync"),
    ],
)
def test_a_full_disk_is_named_leaves_nothing_half_written_and_the_rest_goes_on_later(
    made_coco: Path, tmp_path: Path, whole: dict[str, object], monkeypatch: pytest.MonkeyPatch, place: str, call: str
) -> None:
    real = getattr(os, call)

    def full(first: Any, *more: Any) -> Any:
        name = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else str(first)
        if Path(name).name.startswith(f".{place}."):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(first, *more)

    monkeypatch.setattr(files.os, call, full)
    with pytest.raises(OutputError, match=rf"{place} cannot be written to .*{tmp_path.name}.*No space left.*again"):
        evaluate(made_coco, tmp_path)
    left = table(tmp_path)
    assert place not in left
    assert left.items() <= whole.items()
    monkeypatch.undo()
    evaluate(made_coco, tmp_path)
    assert table(tmp_path) == whole


def test_a_disk_that_is_really_full(made_coco: Path, tmp_path: Path, whole: dict[str, object]) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(small)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    try:
        out, ballast = small / "out", small / "ballast"
        ballast.write_bytes(bytes(216 * 1024))
        with pytest.raises(OutputError, match=r"No space left on device.*run the same command again"):
            evaluate(made_coco, out)
        assert not [p for p in out.rglob("*") if p.is_file() and p.name.startswith(".")]
        assert table(out).items() <= whole.items()
        ballast.unlink()
        evaluate(made_coco, out)
        assert table(out) == whole
    finally:
        subprocess.run(["umount", str(small)], check=True)


# Damaged files


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def edit(path: Path) -> None:
    row = json.loads(path.read_text())
    row["metrics"]["bbox_mAP"] = 0.9
    path.write_text(json.dumps(row, indent=1, sort_keys=True) + "\n")


def edit_and_drop_the_checksum(path: Path) -> None:
    edit(path)
    row = json.loads(path.read_text())
    del row["checksum"]
    path.write_text(json.dumps(row, indent=1, sort_keys=True) + "\n")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("fog_2.json", cut_short),
        ("fog_2.json", edit),
        ("fog_2.json", edit_and_drop_the_checksum),
        ("fog_2.json", lambda path: path.write_bytes(b"\xff\xfe\x00")),
        ("fog_2.npz", cut_short),
        ("fog_2.npz", Path.unlink),
    ],
    ids=["cell cut", "cell edited", "edited without checksum", "cell of noise", "evidence cut", "evidence gone"],
)
def test_a_damaged_cell_is_moved_aside_and_evaluated_again(
    made_coco: Path,
    tmp_path: Path,
    whole: dict[str, object],
    caplog: pytest.LogCaptureFixture,
    name: str,
    damage: Callable[[Path], None],
) -> None:
    evaluate(made_coco, tmp_path)
    damage(tmp_path / "cells" / name)
    job = prepare(PixelDetector(), coco_config(made_coco), tmp_path, **FEW)
    assert [c.key for c in sound_cells(CellFolder(job.out, job.card), job.conditions, aside=False)] == [
        "clean",
        "gaussian_noise_2",
    ]
    watch = Watch()
    with caplog.at_level(logging.WARNING):
        evaluate(made_coco, tmp_path, on_event=watch)
    assert watch.started == ["fog_2"]
    assert "moved aside" in caplog.text
    assert name in caplog.text
    found = table(tmp_path)
    aside = {key for key in found if key.endswith(".damaged")}
    assert "cells/fog_2.json.damaged" in aside
    assert {key: value for key, value in found.items() if key not in aside} == whole


# Data


def test_an_image_that_disappears_midway_is_named_and_what_is_finished_stays(
    made_coco: Path, tmp_path: Path, whole: dict[str, object]
) -> None:
    root, out = tmp_path / "coco", tmp_path / "out"
    shutil.copytree(made_coco, root)
    victim = sorted((root / "val2017").iterdir())[2]
    content = victim.read_bytes()

    def remove(cell: Any, done: int, todo: int) -> None:
        victim.unlink(missing_ok=True)

    with pytest.raises(DataError, match=victim.name):
        evaluate(root, out, on_cell=remove)
    assert [path.stem for path in (out / "cells").glob("*.json")] == ["clean"]
    assert not list(out.glob(".*"))
    victim.write_bytes(content)
    evaluate(root, out)
    assert table(out).keys() == whole.keys()


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_is_written_into_the_data_folder(made_coco: Path, tmp_path: Path, workers: int) -> None:
    root = tmp_path / "coco"
    shutil.copytree(made_coco, root)

    def listing() -> dict[str, tuple[int, int]]:
        return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in [root, *sorted(root.rglob("*"))]}

    before = listing()
    for path in [root, *root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    evaluate(root, tmp_path / "out", workers=workers, keep_predictions=True)
    assert listing() == before
    for path in [root, *root.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


# Memory and loaders


class Hungry(PixelDetector):
    """Runs out of memory where a batch holds more than `room` images."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.counts: list[int] = []

    def test_step(self, batch: dict[str, Any]) -> Any:
        self.counts.append(len(batch["inputs"]))
        if len(batch["inputs"]) > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return super().test_step(batch)


def test_when_memory_runs_out_the_batch_is_halved_for_that_cell_and_the_score_stays(
    equal_sizes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    evaluate(equal_sizes, tmp_path / "a")
    model = Hungry(room=1)
    with caplog.at_level(logging.WARNING):
        evaluate(equal_sizes, tmp_path / "b", model, batch_size=4)
    assert table(tmp_path / "a") == table(tmp_path / "b")
    assert model.counts == [4, 2, 1, 1, 1, 1] * 3, "every cell starts with whole batches again"
    assert "fog_2: out of memory" in caplog.text
    assert "goes on with 2" in caplog.text
    cell = json.loads((tmp_path / "b/cells/fog_2.json").read_text())
    assert cell["timing"]["batch_size_after_out_of_memory"] == 1


def test_one_image_that_does_not_fit_is_an_error_with_a_remedy(made_coco: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"clean: the memory of cpu does not hold one image; use --amp"):
        evaluate(made_coco, tmp_path, Hungry(room=0))


def _children(pid: int) -> list[int]:
    return [int(p) for task in Path(f"/proc/{pid}/task").iterdir() for p in (task / "children").read_text().split()]


def _is_loader(pid: int) -> bool:
    # Loaders are forks and keep the command line.
    return Path(f"/proc/{pid}/cmdline").read_bytes() == Path("/proc/self/cmdline").read_bytes()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_a_loader_that_the_system_kills_costs_its_cell_a_new_start(
    made_coco: Path, tmp_path: Path, whole: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    killed: list[int] = []
    others = set(_children(os.getpid()))  # left by an earlier test in this process, until its loader is collected

    class Victim(PixelDetector):
        def test_step(self, batch: dict[str, Any]) -> Any:
            if not killed:
                killed.extend(filter(_is_loader, set(_children(os.getpid())) - others))
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)
            return super().test_step(batch)

    with caplog.at_level(logging.WARNING):
        evaluate(made_coco, tmp_path, Victim(), workers=1)
    assert len(killed) == 1
    assert "a loader process was killed" in caplog.text
    assert table(tmp_path) == whole


def test_a_loader_that_is_killed_again_and_again_ends_the_sweep(
    made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Iterator[Any]:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
        yield

    monkeypatch.setattr("rtx.evaluation.sweep.forward.stream", fail)
    with pytest.raises(DataError, match=r"clean: loader processes were killed 4 times.*fewer --workers"):
        evaluate(made_coco, tmp_path)
    assert not list(tmp_path.glob(".*"))


# Stops


def test_sigterm_is_an_exception_that_leaves_no_lock(made_coco: Path, tmp_path: Path, whole: dict[str, object]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated) as caught, sigterm_raises():
        evaluate(made_coco, tmp_path, on_cell=lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert exit_status(caught.value) == 143
    assert exit_status(KeyboardInterrupt()) == 130
    assert signal.getsignal(signal.SIGTERM) is before
    assert not list(tmp_path.glob(".*"))
    assert [path.stem for path in (tmp_path / "cells").glob("*.json")] == ["clean"]
    evaluate(made_coco, tmp_path)
    assert table(tmp_path) == whole


@pytest.fixture
def _ctrl_c_raises() -> Iterator[None]:
    """As in a terminal; processes in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_raises")
def test_sigterm_is_told_from_ctrl_c_whatever_a_library_makes_of_it() -> None:
    for kind, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        with pytest.raises(KeyboardInterrupt) as caught, sigterm_raises():
            try:
                os.kill(os.getpid(), kind)
                time.sleep(5)
            except KeyboardInterrupt:
                raise KeyboardInterrupt from None
        assert exit_status(caught.value) == status


def test_a_stop_that_ended_the_loaders_too_is_no_fault_of_theirs(
    made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM to a whole group: PyTorch's error about its workers takes the place of the stop."""
    begun: list[int] = []

    def stopped(*_: Any, **__: Any) -> Any:
        begun.append(1)
        with contextlib.suppress(Terminated):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated.")
        yield

    monkeypatch.setattr("rtx.evaluation.sweep.forward.stream", stopped)
    with pytest.raises(Terminated), sigterm_raises():
        evaluate(made_coco, tmp_path)
    assert len(begun) == 1, "nothing is started again"
    with pytest.raises(DataError, match="killed 4 times"):  # the stop is over: now it is the loaders' own
        monkeypatch.setattr("rtx.evaluation.sweep.forward.stream", killed)
        evaluate(made_coco, tmp_path)


def killed(*_: Any, **__: Any) -> Any:
    raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
    yield


def test_pools_whose_workers_are_ended_at_any_moment_end_without_a_word(tmp_path: Path) -> None:
    """In a process of its own, because a worker that missed the signal would keep its pool waiting for ever."""
    (tmp_path / "pools.py").write_text(
        "from multiprocessing import get_context\n"
        "from rtx.evaluation.sweep.interrupt import sigterm_raises\n"
        "with sigterm_raises():\n"
        "    for _ in range(100):\n"
        "        with get_context('fork').Pool(4) as pool:\n"
        "            pool.map(abs, range(8))\n"
    )
    done = subprocess.run([sys.executable, tmp_path / "pools.py"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# What is told


def test_events_tell_the_whole_story(made_coco: Path, tmp_path: Path) -> None:
    evaluate(made_coco, tmp_path, corruptions=["fog"])
    watch = Watch()
    begin = time.monotonic()
    evaluate(made_coco, tmp_path, on_event=watch)
    spent = time.monotonic() - begin
    assert watch.events[0] == Planned(todo=1, cached=2, total=3, n_images=4)
    assert watch.started == ["gaussian_noise_2"]
    progress = [event for event in watch.events if isinstance(event, Progress)]
    assert progress[-1].images_done == progress[-1].n_images == 4
    assert all(event.images_per_second > 0 for event in progress)
    assert len(progress) <= 5 * spent + 2
    (done,) = [event for event in watch.events if isinstance(event, CellDone)]
    assert (done.cell.condition.key, done.done, done.todo, done.elsewhere) == ("gaussian_noise_2", 1, 1, 0)
    assert (done.headline, done.ends) == ("bbox_mAP", None)


def test_each_cell_of_a_preview_is_told_with_the_interval_that_it_ends_with(made_coco: Path, tmp_path: Path) -> None:
    watch = Watch()
    summary = evaluate(made_coco, tmp_path, limit=3, resamples=1000, on_event=watch)
    told = {e.cell.condition.key: list(e.ends) for e in watch.events if isinstance(e, CellDone) and e.ends}
    assert told == summary["intervals"]["cells"] and set(told) == set(KEYS)
