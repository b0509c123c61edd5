"""`rtx corrupt_eval --model` end to end: what holds for a run folder holds for a model of another library."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmdet")

from rtx.cli import main as cli  # noqa: E402
from rtx.evaluation.evaluate import evaluate  # noqa: E402
from rtx.evaluation.models.presets import open_model  # noqa: E402
from rtx.results.command import read_commands  # noqa: E402
from tests.cli.sweep_world import environment  # noqa: E402

GRID = ["--corruptions", "contrast", "--severities", "2", "4", "--workers", "0", "--resamples", "20"]
FILE = """
from tests.evaluation.models.plain_functions import by_colour

CLASSES = ["Disc", "block", "band"]

def predict(images):
    return by_colour(images)
"""


@pytest.fixture
def words(made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(FILE)
    return ["--model", "python:mine.py:predict", "--data-root", str(made_coco), "--class-map", "band=stripe", *GRID]


def run(*words: str) -> int:
    return cli.main(["corrupt_eval", *words])


def test_it_is_looked_at_run_kept_and_gone_on_with(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    out = Path("work_dirs/mine.py_predict/corruption_eval")
    assert run(*words, "--dry-run") == 0
    shown = capfd.readouterr()
    assert "3" in shown.out and "3 of the data's 3 are matched by name" in shown.err and "band -> stripe" in shown.err
    assert not out.exists()

    assert run(*words, "--keep-predictions") == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["P"] > 0 and set(summary["cells"]) == {"clean", "contrast_2", "contrast_4"}
    assert summary["intervals"] and summary["protocol"]["labels"]["run"] == "mine.py_predict"
    assert (out / "predictions/contrast_4.npz").is_file()
    assert "mine" in capfd.readouterr().out

    cell = out / "cells/contrast_4.json"
    before = {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}
    content = json.loads(cell.read_text())
    cell.unlink()
    assert cli.main(["status", "work_dirs"]) == 1
    assert "INCOMPLETE: 1 of 3 cells missing" in capfd.readouterr().out
    assert run(*words, "--keep-predictions") == 0
    assert json.loads(cell.read_text())["metrics"] == content["metrics"]
    kept = {path: path.stat().st_mtime_ns for path in before if "contrast_4" not in path.name}
    assert all(before[path] == when for path, when in kept.items())


def test_the_printed_command_goes_on(words: list[str]) -> None:
    line = [sys.executable, "-m", "rtx.cli.main", "corrupt_eval", *words]
    done = subprocess.run(line, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (command,) = read_commands(Path("work_dirs/mine.py_predict/corruption_eval"))
    assert command.folder == os.getcwd() and "--model" in command.words and command.takes_grid
    assert shlex.split(command.line)[-len(words) :] == words


def test_errors_come_before_work(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(*words, "--source", "random") == 2
    assert "change a config of OpenMMLab" in capfd.readouterr().err
    assert run(*words[:4], "--model-classes", "sun", "moon", "star", *GRID) == 2
    assert "no class of the model (sun, moon, star)" in capfd.readouterr().err
    assert run() == 2
    assert "name what is evaluated: CONFIG CHECKPOINT, a run folder, or --model" in capfd.readouterr().err
    assert not Path("work_dirs").exists()


@pytest.mark.slow
@pytest.mark.ci
def test_ray_gets_the_same_scores(two_nodes: Any, words: list[str], made_coco: Path) -> None:
    adapter = open_model("python:mine.py:predict", made_coco, class_map={"band": "stripe"})
    options: dict[str, Any] = dict(corruptions=["contrast"], severities=[2, 4], workers=0, resamples=0)
    one = evaluate(adapter, made_coco, "one", **options)
    other = evaluate(adapter, made_coco, "other", **options, run_on="ray")
    assert {k: c["metrics"] for k, c in one["cells"].items()} == {k: c["metrics"] for k, c in other["cells"].items()}
