"""The command that mends a run is one that can be typed, and asks for the protocol of its card."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from rtx.cli import corrupt_eval
from rtx.errors import BadValue, RunConflict
from rtx.evaluation.card import precision
from rtx.reports.runs.compare import compare
from rtx.reports.runs.groups import group_runs
from rtx.reports.runs.runs import BENCHMARK_CELLS, Run, load_run, load_runs
from rtx.reports.text.banners import banners, missing_text
from rtx.results.cell import Cell, CellFolder
from rtx.results.command import note_command
from rtx.results.conditions import grid
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
    work = root / "real run; 'x'"
    out = make_run(work, "corruption_eval", conditions=SOME, **card)
    (work / "config of it.py").write_text("")
    (work / "epoch_12.pth").write_bytes(b"")
    (work / "last_checkpoint").write_text("elsewhere/epoch_3.pth")
    return load_run(out)


def test_inside_a_run_folder_the_command_is_whole(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    args = parsed(run.remedy())
    config, checkpoint = corrupt_eval.resolve(args.config, args.checkpoint)
    assert Path(config).name == "config of it.py" and checkpoint == run.folder.parent / "epoch_12.pth"
    assert Path(args.out) == run.folder and "PATH/TO" not in run.remedy()


def test_names_alone_are_not_taken_for_paths(tmp_path: Path) -> None:
    run = load_run(make_run(tmp_path, "m", conditions=SOME, labels={"config": "a b; rm c"}))
    args = parsed(run.remedy())
    assert (args.config, args.checkpoint) == ("PATH/TO/a b; rm c.py", "PATH/TO/epoch_12.pth")


def test_the_folder_may_be_given_in_any_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_folder(tmp_path).folder
    for inside, given in ((folder, "."), (folder / "cells", ".."), (folder.parent, "corruption_eval")):
        monkeypatch.chdir(inside)
        args = parsed(load_run(Path(given)).remedy())
        assert corrupt_eval.resolve(args.config, args.checkpoint)[1].resolve() == folder.parent / "epoch_12.pth"
        assert Path(args.out).resolve() == folder


@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("device", ["cpu", "NVIDIA H200"])
def test_precision_is_asked_for(tmp_path: Path, amp: bool, channels_last: bool, device: str) -> None:
    kind = "cpu" if device == "cpu" else "cuda"
    stated = precision(kind, amp=amp, channels_last=channels_last, tf32=kind == "cuda")
    args = parsed(run_folder(tmp_path, precision=stated, device=device).remedy())
    assert (args.amp, args.channels_last, args.device) == (amp, channels_last, "cpu" if device == "cpu" else None)


@pytest.mark.parametrize(
    ("field", "value", "option", "read"),
    [
        ("corruption_seed", 7, "seed", 7),
        ("corruption_engine", "rtx-cifar10c", "engine", "rtx-cifar10c"),
        ("channel_order", "bgr_legacy", "channel_order", "bgr_legacy"),
        ("corruption_at", "network_input", "corruption_at", "network_input"),
        ("corruption_at", "original_resolution", "corruption_at", "original_resolution"),
        ("limit", 50, "limit", 50),
        ("metric_card", {"scorer": "coco", "scorer_version": "pycocotools 2.0.11"}, "scorer", "pycocotools"),
        ("metric_card", {"scorer": "voc", "coco_scorer": "hotcoco 1.3.0"}, "scorer", "hotcoco"),
        ("metric_card", {"scorer": "miou", "scorer_version": "rtx.miou/1"}, "scorer", None),
    ],
)  # fmt: skip
def test_every_setting_of_the_card_is_asked_for(
    tmp_path: Path, field: str, value: object, option: str, read: object
) -> None:
    args = parsed(run_folder(tmp_path, **{field: value}).remedy())
    assert getattr(args, option) == read
    assert set(BENCHMARK_CELLS) == set(grid(args.corruptions, args.severities))


def test_of_a_preview_all_images_are_evaluated_beside_it(tmp_path: Path) -> None:
    run = run_folder(tmp_path, limit=50)
    args = parsed(run.remedy(whole=True))
    assert args.limit is None and Path(args.out) == run.folder.with_name("corruption_eval_whole")


def test_what_was_typed_is_typed_again(tmp_path: Path) -> None:
    run = run_folder(tmp_path, limit=50)
    typed = ["rtx", "corrupt_eval", "my run", "--lim", "50", "--cfg-options", "a.b=1", "--out", "out of it"]
    note_command(run.folder, ["rtx", "corrupt_eval", "an older one"], Path("/x"), BENCHMARK_CELLS)
    note_command(run.folder, typed, tmp_path / "a b", BENCHMARK_CELLS)
    assert shlex.split(run.remedy()) == ["cd", str(tmp_path / "a b"), "&&", *typed]
    args = parsed(run.remedy(whole=True).partition(" && ")[2])
    assert args.limit is None and args.cfg_options == {"a.b": 1}
    assert Path(args.out) == run.folder.with_name("corruption_eval_whole")


def test_what_was_typed_for_a_part_is_widened(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    note_command(run.folder, ["rtx", "corrupt_eval", "run", "--corruptions", "fog"], tmp_path, SOME)
    args = parsed(run.remedy().partition(" && ")[2])
    assert set(grid(args.corruptions, args.severities)) == set(BENCHMARK_CELLS) and args.config == "run"


@pytest.mark.parametrize(
    ("card", "words"),
    [({"corruption_engine": "stored_files"}, None), ({}, ["rtx", "imagenet_c", "x"]), ({"labels": {"run": "f"}}, None)],
    ids=["stored files", "another command", "a function"],
)
def test_no_command_is_made_up(tmp_path: Path, card: dict[str, Any], words: list[str] | None) -> None:
    run = run_folder(tmp_path, **card)
    if words:
        note_command(run.folder, words, tmp_path, SOME)
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
    assert run.remedy().startswith("rtx corrupt_eval ") and run.undefined == (Condition("fog", 3),)


def test_a_path_without_evaluation_is_named_with_a_command_that_can_be_typed(tmp_path: Path) -> None:
    log = tmp_path / "a log.txt"
    log.write_text("")
    with pytest.raises(BadValue, match="is a file") as error:
        load_runs([log])
    assert f"--out {shlex.quote(str(log))}" not in str(error.value), "nobody wants to evaluate into that file"
    with pytest.raises(BadValue) as error:
        load_runs([tmp_path / "not there"])
    assert f"--out {shlex.quote(str(tmp_path / 'not there'))}" in str(error.value)
