"""A paper's runs become trainings and evaluations in an order that respects what needs what."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from rtx.cli.main import main
from rtx.cli.status import grid_state
from rtx.errors import BadValue, DeviceError
from rtx.experiments.command import CommandFailed, work
from rtx.experiments.plan import units_of
from rtx.experiments.read import read, read_any
from rtx.experiments.run import run_units
from rtx.experiments.store import write_plan

NAME = "yamada2022_prime"


def test_train_then_evaluate() -> None:
    units = units_of(read_any(NAME), limit=2)
    assert [u.name.rpartition("/")[2] for u in units] == ["train", "evaluate"] * 2
    assert units[1].needs == (units[0].name,) and units[0].settings["gpus"] == 8
    assert units[0].gpu_hours == 64, "8 GPUs for about 8 h, by the leaf's header"


def test_evaluations_are_found_wherever_the_folder_is_seen_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "elsewhere" / NAME
    write_plan(root, NAME, units_of(read_any(NAME), limit=1))
    (words,) = [u.settings["words"] for u in units_of(read_any(NAME), limit=1) if u.needs]
    place = root / Path(words[-1]).relative_to(f"work_dirs/{NAME}") / "corruption_eval"
    assert grid_state(root)["evaluations"] == [str(place)]


def test_plan_of_a_paper(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["experiments", "run", NAME, "--plan", "--work-dirs", str(tmp_path)]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["left"]["units"] == len(plan["units"]) == 2 * read(NAME).n_models
    assert plan["left"]["disk_bytes"]["sum"] > 0
    assert not list(tmp_path.iterdir())


def test_fewer_gpus_than_a_training_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rtx.cli.run_experiment import _check_gpus
    from rtx.engines import Engine

    units = units_of(read_any(NAME), limit=1)
    with pytest.raises(DeviceError, match="8 GPUs, and a Ray worker has 1: give --per-gpu 8"):
        _check_gpus(units, Engine("ray"))
    _check_gpus(units, Engine("ray", per_gpu=8))
    with pytest.raises(BadValue, match="needs coco_lr01/seed0/train, which is not done"):
        run_units(tmp_path, NAME, units, Engine(), only="evaluate")


def test_a_command_that_fails_keeps_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"^exit status 3: last words\nsh -c .*\nlast words"):
        work({"words": ["sh", "-c", "echo last words; exit 3"]}, "cpu")
    (tmp_path / "last_checkpoint").touch()
    settings = {"words": ["sh", "-c", 'test "$0" = --resume'], "resume": str(tmp_path / "last_checkpoint")}
    assert work(settings, "cpu") == {}


def test_a_command_runs_in_this_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # no environment is active
    code = "import json, os, sys; json.dump({'P': float(os.environ['PYTHON'] == sys.executable == sys.argv[1])}, open"
    summary = tmp_path / "summary.json"
    words = ["python", "-c", f"{code}({str(summary)!r}, 'w'))", sys.executable]
    assert work({"words": words, "summary": str(summary)}, "cpu") == {"P": 1.0}
