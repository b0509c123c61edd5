"""The command as a person meets it: on a terminal, interrupted, resumed, looked at from outside."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rtx.cli import main as cli
from rtx.evaluation.sweep.progress import WHOLE, read_progress
from rtx.results.cell import Cell
from rtx.results.command import Command, note_command, read_commands, typed_words, without_overwrite
from rtx.results.folder import CellFolder
from rtx.types import CLEAN, Condition
from tests.cli.sweep_world import PROJECT, environment, write_world

TOOL = str(PROJECT / "tools" / "corrupt_eval.py")
GRID = ("--corruptions", "brightness", "contrast", "--severities", "1", "2", "3", "--resamples", "30")
CELLS = 7


def arguments(root: Path, made_coco: Path, *more: str, delay: float = 0.0) -> list[str]:
    config, checkpoint = write_world(root, made_coco, delay=delay)
    # A name that a shell would take apart.
    return [str(config), str(checkpoint), "--out", str(root / "out of it"), *GRID, "--workers", "0", *more]


def watch(command: list[str], until: Callable[[str], bool], number: int) -> tuple[str, int]:
    """Run on a terminal of 100 columns, signal once what is shown says so; all that was shown, and the exit status."""
    process_id, leader = pty.fork()
    if not process_id:  # pragma: no cover
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # as a terminal has it; tests in the background ignore it
        os.environ.clear()
        os.environ.update(environment(COLUMNS="100"))
        os.execv(command[0], command)
    shown, sent, deadline = b"", False, time.monotonic() + 120
    while time.monotonic() < deadline:
        if not select.select([leader], [], [], 1.0)[0]:
            continue
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
        if not sent and until(shown.decode("utf-8", "replace")):
            sent = True
            if number == signal.SIGINT:
                os.write(leader, b"\x03")  # as the key does: to every process in the foreground
            else:
                os.kill(process_id, number)
    _, status = os.waitpid(process_id, 0)
    os.close(leader)
    return shown.decode("utf-8", "replace"), os.waitstatus_to_exitcode(status)


def scores(out: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text())["metrics"] for path in (out / "cells").glob("*.json")}


@pytest.mark.parametrize(
    ("number", "status"),
    [
        pytest.param(signal.SIGINT, 130, id="ctrl-c"),
        pytest.param(signal.SIGTERM, 143, id="term", marks=pytest.mark.slow),
    ],
)
def test_stopped_on_a_terminal_it_says_how_to_go_on_and_that_works(
    made_coco: Path, tmp_path: Path, number: int, status: int
) -> None:
    words = arguments(tmp_path, made_coco, "--overwrite", delay=0.2)
    out = tmp_path / "out of it"
    shown, code = watch([sys.executable, TOOL, *words], lambda text: "cell 3/7" in text, number)
    assert code == status, shown[-2000:]
    assert "Traceback" not in shown
    left = scores(out)
    assert 2 <= len(left) < CELLS and not list(out.glob(".*")), "finished cells stay, no lock does"
    live = [part for part in shown.split("\r") if re.search(r"cell \d/7 ", part)]
    assert len(live) > 4 and all(len(part) < 100 for part in live)
    assert re.search(r"img/s  ETA [\d:]+", shown)

    command = shown.replace("\r", "").rpartition("go on with:\n")[2].strip().splitlines()[0]
    assert shlex.split(command) == [sys.executable, TOOL, *[word for word in words if word != "--overwrite"]]
    state = read_progress(out)
    assert len(state.missing) == CELLS - len(left) and not state.damaged and not state.whole_grid
    assert list(state.finishing()[0].words) == shlex.split(command)
    assert cli.main(["status", str(out)]) == 1

    if number == signal.SIGTERM:
        return  # how it goes on is the same
    before = {path.name: path.read_bytes() for path in (out / "cells").glob("*.json")}
    done = subprocess.run(
        command, shell=True, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(scores(out)) == CELLS
    assert all((out / "cells" / name).read_bytes() == content for name, content in before.items())
    assert len(re.findall(r"^cell \d/7  ", done.stderr, re.M)) == CELLS - len(before), "a plain line for each new cell"
    assert "\r" not in done.stderr and "\x1b" not in done.stdout + done.stderr
    assert "INCOMPLETE grid" in done.stdout and re.search(r"  P +\d+\.\d\d  \[\d+\.\d\d, \d+\.\d\d\]", done.stdout)
    assert json.loads((out / "confidence.json").read_text())["resamples"] == 30
    assert cli.main(["status", str(out)]) == 0


def test_an_error_midway_says_how_to_go_on_too(
    made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rtx.errors import OutputError
    from rtx.results.folder import CellFolder as Folder

    write = Folder.write

    def full(folder: Any, cell: Cell) -> None:
        if cell.condition == Condition("contrast", 1):
            raise OutputError("contrast_1.json cannot be written (No space left on device); free some space")
        write(folder, cell)

    monkeypatch.setattr(Folder, "write", full)
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, TOOL, "a b"])
    before = signal.getsignal(signal.SIGTERM)
    assert cli.main(["corrupt_eval", *arguments(tmp_path, made_coco)]) == 2
    assert signal.getsignal(signal.SIGTERM) == before
    said = capsys.readouterr().err
    assert "OutputError: contrast_1.json cannot be written" in said and "Traceback" not in said
    assert f"go on with:\n  {sys.executable} {TOOL} 'a b'" in said
    assert cli.main(["corrupt_eval", str(tmp_path / "absent.py"), "x.pth"]) == 2
    assert "go on with" not in capsys.readouterr().err


def test_dry_run_measures_where_no_cell_tells_the_pace(
    made_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = arguments(tmp_path, made_coco, delay=0.2)
    assert cli.main(["corrupt_eval", *words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "7 of 7 cells to evaluate on 4 images, 0 cached; about" in said
    told = r"about ([\d.]+) min in one process, by a probe .*\((\d+) ms to load and corrupt, (\d+) ms to predict"
    total, loading, passing = re.search(told, said).groups()
    assert int(passing) >= 200, "what the model waits, and what the machine adds"
    assert float(total) == pytest.approx(7 * 4 * (int(loading) + int(passing)) / 60_000, abs=0.06)
    assert "brightness_1" in said
    assert not (tmp_path / "out of it").exists(), "nothing is written"


def test_dry_run_of_ray_goes_by_the_card_of_its_workers(
    made_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def on_gpus(engine: Any, job: Any, share: Any) -> Iterator[Any]:
        job = replace(job, card={**job.card, "precision": "amp_fp16"})
        CellFolder(job.out, job.card).open()
        yield job, None

    monkeypatch.setattr("rtx.evaluation.sweep.remote.cells_on", on_gpus)
    words = ["corrupt_eval", *arguments(tmp_path, made_coco), "--dry-run", "--run-on", "ray"]
    for _ in range(2):
        assert cli.main(words) == 0
        assert "0 cached; no pace is known before the first cell is there:" in capsys.readouterr().out


def test_dry_run_measures_loading_however_long_the_model_takes(
    made_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtx.cli.forecast.PROBE_SECONDS", 0.0)
    monkeypatch.setattr("rtx.evaluation.pixels.corrupt.Corrupt.transform", lambda self, r: (time.sleep(0.02), r)[1])
    assert cli.main(["corrupt_eval", *arguments(tmp_path, made_coco, delay=0.1), "--dry-run"]) == 0
    loading, passing = re.search(r"(\d+) ms to load and corrupt, (\d+) ms to predict", capsys.readouterr().out).groups()
    assert int(loading) >= 20 and int(passing) >= 100


RUN = ["python", "tools/corrupt_eval.py", "c d.py", "--out", "o"]


@pytest.mark.parametrize(
    ("argv", "environ", "words"),
    [
        ([*RUN, "--overwrite"], {}, RUN),
        ([*RUN, "--overw", "--limit", "5"], {}, [*RUN, "--limit", "5"]),
        (
            ["python", "-m", "rtx.cli.main", "corrupt_eval", "c"],
            {},
            ["python", "-m", "rtx.cli.main", "corrupt_eval", "c"],
        ),
        (
            ["python", "-u", *RUN[1:], "--launcher", "pytorch", "--overwrite"],
            {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "4"},
            ["torchrun", "--nproc-per-node", "4", *RUN[1:], "--launcher", "pytorch"],
        ),
    ],
    ids=["tool", "abbreviated", "module", "torchrun"],
)
def test_the_command_that_goes_on(
    argv: list[str], environ: dict[str, str], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtx.results.command._command_of", lambda pid: ["bash"])
    typed = typed_words(argv, environ)
    assert without_overwrite(typed) == tuple(words) and ("--overwrite" in typed) is ("--overwrite" in argv)


def test_under_a_launcher_it_is_the_launchers_own_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    typed = ["/usr/bin/python", "/opt/bin/torchrun", "--nnodes", "2", "--rdzv-endpoint", "h:1", *RUN[1:], "--overwrite"]
    monkeypatch.setattr("rtx.results.command._command_of", lambda pid: typed)
    assert typed_words(["python", "-u", *RUN[1:]], {"TORCHELASTIC_RUN_ID": "x"}) == tuple(typed)
    script = tmp_path / "rtx"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert typed_words(["python", str(script), "corrupt_eval", "c"], {}) == ("rtx", "corrupt_eval", "c")


@pytest.fixture
def folder(tmp_path: Path) -> CellFolder:
    """An evaluation of which three cells are done."""
    found = CellFolder(tmp_path / "run", {"n_images": 50, "limit": 50, "labels": {}})
    found.open()
    for n, condition in enumerate((CLEAN, Condition("fog", 1), Condition("fog", 2))):
        found.write(Cell(condition, {"mIoU": 0.5}, 50, found.card, (), {"seconds": 10.0 * (n + 1)}))
        (found.root / "cells" / f"{condition.key}.npz").write_bytes(b"")
    return found


def test_status_says_what_is_there_and_what_finishes_it(folder: CellFolder, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder.root
    assert read_progress(root).guessed and len(read_progress(root).missing) == len(WHOLE) - 3
    wanted = (CLEAN, *(Condition("fog", s) for s in (1, 2, 3, 4)))
    note_command(root, Command(("rtx", "corrupt_eval", "a b.py"), "/some where", wanted))
    assert cli.main(["status", str(root)]) == 1
    said = capsys.readouterr().out
    state = json.loads((cli.main(["status", "--json", str(root)]), capsys.readouterr().out)[1])[0]
    assert "INCOMPLETE: 2 of 5 cells missing, PREVIEW, part of the benchmark only" in said
    assert "20 s a cell, 2.5 img/s; 40 s left with one process" in said
    assert "finish    cd '/some where' && rtx corrupt_eval 'a b.py'" in said
    assert state["missing"] == ["fog_3", "fog_4"]
    assert state["seconds_left"] == 40 and state["complete"] is False and state["preview"] is True
    for s in (3, 4):
        folder.write(Cell(Condition("fog", s), {"mIoU": 0.5}, 50, folder.card, (), {"seconds": 1.0}))
    assert cli.main(["status", str(root.parent)]) == 0, "a folder of evaluations will do"
    said = capsys.readouterr().out
    assert "run: complete, PREVIEW" in said and "finish" not in said and "none beside fog_3 fog_4" in said


def test_status_names_damaged_cells_and_counts_them_as_missing(
    folder: CellFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    note_command(folder.root, Command(("x",), "/", (CLEAN, Condition("fog", 1), Condition("fog", 2))))
    assert read_progress(folder.root).complete
    path = folder.path(Condition("fog", 1))
    path.write_text(path.read_text()[:-20])
    other = folder.path(Condition("fog", 2))
    other.write_text(other.read_text().replace("0.5", "0.6"))
    assert cli.main(["status", str(folder.root)]) == 1
    said = capsys.readouterr().out
    assert "2 of 3 cells missing" in said
    assert f"damaged   fog_1: {path}: not an rtx cell file" in said
    assert f"damaged   fog_2: {other}: its content does not match" in said
    alien = CellFolder(folder.root.parent / "alien", {**folder.card, "corruption_seed": 1})
    alien.write(Cell(CLEAN, {"mIoU": 0.9}, 50, alien.card))
    folder.path(CLEAN).write_text(alien.path(CLEAN).read_text())
    assert "made under another protocol" in read_progress(folder.root).damaged[CLEAN]
    assert cli.main(["status", str(folder.root / "absent")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_commands_that_share_a_folder_are_all_remembered(tmp_path: Path) -> None:
    note_command(tmp_path, Command(("a",), "/", (CLEAN,)))
    note_command(tmp_path, Command(("b",), "/", (Condition("fog", 1),)))
    note_command(tmp_path, Command(("a",), "/", (CLEAN, Condition("fog", 2))))
    assert [(row.words, len(row.conditions)) for row in read_commands(tmp_path)] == [(("b",), 1), (("a",), 2)]
    (tmp_path / "command.json").write_text("{")
    assert read_commands(tmp_path) == []


def test_status_loads_no_framework() -> None:
    code = (
        "import sys, rtx.cli.status, rtx.evaluation.sweep.progress, rtx.reports.runs.runs; print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert {"torch", "mmengine", "numba", "cv2", "matplotlib"}.isdisjoint(done.stdout.split())
