from __future__ import annotations

import json
from pathlib import Path

import pytest

from rtx.cli.main import main
from tests.reports.made import make_run


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    better = make_run(tmp_path, "better", robust=0.3, resamples=50)
    worse = make_run(tmp_path, "worse", robust=0.1, resamples=50)
    return str(better), str(worse)


def test_exit_codes(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    better, worse = pair
    assert main(["compare", better, worse]) == 0
    assert main(["compare", worse, better, "--fail-if-mpc-drops", "0"]) == 0
    assert main(["compare", better, worse, "--fail-if-mpc-drops", "0.5"]) == 1
    assert main(["compare", better, worse, "--fail-if-mpc-drops", "50"]) == 0
    assert main(["compare", better, worse, "--fail-if-clean-drops", "0.1", "--fail-if-rpc-drops", "0.1"]) == 1
    assert "FAIL: mPC changes by -" in capsys.readouterr().err
    assert main(["compare", better, better + "x"]) == 2


def test_only_if_sure_asks_the_interval(tmp_path: Path) -> None:
    a = make_run(tmp_path, "aa", robust=0.2, resamples=200)
    b = make_run(tmp_path, "bbbbb", robust=0.1999, resamples=200)
    assert main(["compare", str(a), str(b), "--fail-if-mpc-drops", "0"]) == 1
    assert main(["compare", str(a), str(b), "--fail-if-mpc-drops", "0", "--only-if-sure"]) == 0


def test_unlike_runs_are_refused_with_every_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = make_run(tmp_path, "a")
    b = make_run(tmp_path, "b", precision="amp_fp16", corruption_seed=2)
    (b / "cells" / "fog_3.json").unlink()
    assert main(["compare", str(a), str(b)]) == 2
    text = capsys.readouterr().err
    assert "precision" in text and "corruption seed" in text and "fog 3" in text and "rtx corrupt_eval" in text


def test_written_numbers(pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, numbers = tmp_path / "c.md", tmp_path / "c.json"
    assert main(["compare", *pair, "--markdown", str(report), "--json", str(numbers)]) == 0
    found = json.loads(numbers.read_text())
    line = found["overall"]["mPC"]
    assert (
        line["difference"] == line["b"] - line["a"] < 0
        and line["interval"][0] <= line["difference"] <= line["interval"][1]
    )
    assert len(found["corruptions"]) == 15 and len(found["families"]) == 4
    assert "| mPC |" in report.read_text() and f"{100 * line['b']:.2f}" in capsys.readouterr().out


def test_no_interval_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", str(make_run(tmp_path, "a")), str(make_run(tmp_path, "b", robust=0.4))])
    assert "no paired interval" in capsys.readouterr().out
