"""The command that completes a run is the one that was typed, and can be typed."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from rtx.cli import corrupt_eval
from rtx.errors import BadValue, RunConflict
from rtx.reports.runs.compare import compare
from rtx.reports.runs.groups import group_runs
from rtx.reports.runs.runs import BENCHMARK_CELLS, Run, load_run, load_runs
from rtx.reports.text.banners import banners, missing_text
from rtx.results.cell import Cell
from rtx.results.command import Command, note_command
from rtx.results.conditions import grid
from rtx.results.folder import CellFolder
from rtx.types import CLEAN, SEVERITIES, Condition
from tests.reports.made import make_run

SOME = (CLEAN, *(Condition("fog", level) for level in SEVERITIES))


def parsed(command: str) -> argparse.Namespace:
    """What `rtx corrupt_eval` reads where a shell gives it the command."""
    words = shlex.split(command)
    assert words[:2] == ["rtx", "corrupt_eval"]
    parser = argparse.ArgumentParser(exit_on_error=False)
    corrupt_eval.add_arguments(parser)
    return parser.parse_args(words[2:])


def run_folder(root: Path, **card: Any) -> Run:
    return load_run(make_run(root / "real run; 'x'", "corruption_eval", conditions=SOME, **card))


def typed(run: Run, *words: str, folder: str = "/x", conditions: tuple[Condition, ...] = BENCHMARK_CELLS) -> None:
    """Leave a command in the folder, as `rtx` does."""
    note_command(run.folder, Command(words, folder, conditions))


def test_what_was_typed_is_typed_again(tmp_path: Path) -> None:
    run = run_folder(tmp_path, limit=50)
    words = ["rtx", "corrupt_eval", "my run", "--lim", "50", "--cfg-options", "a.b=1", "--out", "out of it"]
    typed(run, "rtx", "corrupt_eval", "an older one")
    typed(run, *words, folder="a b")
    assert shlex.split(run.remedy()) == ["cd", "a b", "&&", *words]
    args = parsed(run.remedy(whole=True).partition(" && ")[2])
    assert args.limit is None and args.cfg_options == {"a.b": 1}
    assert Path(args.out) == run.folder.with_name("corruption_eval_whole")


def test_what_was_typed_for_a_part_is_asked_for_the_missing_cells(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    typed(run, "rtx", "corrupt_eval", "run", "--corruptions", "fog", conditions=SOME)
    args = parsed(run.remedy().partition(" && ")[2])
    assert set(grid(args.corruptions, args.severities)) == set(BENCHMARK_CELLS) and args.config == "run"


def test_what_a_folder_holds_is_no_command_of_its_own(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    typed(run, "rtx", "corrupt_eval", "a; rm -rf b\x1b]0;\x07\n$(id)", folder="/x\udc80 && y\r")
    assert run.remedy() == "cd '/x && y' && rtx corrupt_eval 'a; rm -rf b]0;$(id)'"


@pytest.mark.parametrize(
    ("card", "words"),
    [({}, None), ({}, ["rtx", "imagenet_c", "x"]), ({"labels": {"run": "f"}}, None)],
    ids=["nothing typed", "another command", "a function"],
)
def test_no_command_is_made_up(tmp_path: Path, card: dict[str, Any], words: list[str] | None) -> None:
    run = run_folder(tmp_path, **card)
    (run.folder / "command.json").unlink()
    if words:
        typed(run, *words, conditions=SOME)
    assert "corrupt_eval" not in run.remedy() and "run again what made it" in run.remedy()


def test_an_undefined_score_is_no_missing_cell(tmp_path: Path) -> None:
    out = make_run(tmp_path, "m")
    folder = CellFolder(out, json.loads((out / "protocol.json").read_text()))
    folder.write(Cell(Condition("fog", 3), {"bbox_mAP": float("nan")}, 5000, folder.card))
    (run,) = load_runs([out])
    assert run.undefined == (Condition("fog", 3),) and "nothing to run" in run.remedy()
    (banner,) = [b for b in banners(group_runs([run])) if b.title.startswith("Incomplete")]
    assert "fog 3 (evaluated, but box AP is undefined there)" in banner.text and "rtx " not in banner.command
    with pytest.raises(RunConflict, match="undefined there"):
        compare(run, load_run(make_run(tmp_path, "other")))
    (out / "cells" / "snow_2.json").unlink()
    (run,) = load_runs([out])
    assert missing_text(run) == "snow 2, fog 3 (evaluated, but box AP is undefined there)"
    assert run.remedy().startswith("cd /made && rtx ") and run.undefined == (Condition("fog", 3),)


def test_a_path_without_evaluation_is_named_with_a_command_that_can_be_typed(tmp_path: Path) -> None:
    log = tmp_path / "a log.txt"
    log.write_text("")
    with pytest.raises(BadValue, match="is a file") as error:
        load_runs([log])
    assert f"--out {shlex.quote(str(log))}" not in str(error.value), "nobody wants to evaluate into that file"
    with pytest.raises(BadValue) as error:
        load_runs([tmp_path / "not there"])
    assert f"--out {shlex.quote(str(tmp_path / 'not there'))}" in str(error.value)
