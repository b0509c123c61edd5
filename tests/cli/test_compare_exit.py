"""The exit code of `rtx compare` means what its help says, whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtx.cli.main import main
from rtx.reports.runs.compare import Difference, drops_more
from tests.reports.made import make_run

ROOT = Path(__file__).parents[2]


def _process(*words: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, str(ROOT / "tools" / "compare.py"), *words]
    return subprocess.run(command, capture_output=True, env={**os.environ, **environ}, check=False)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_few_letters_shows_the_same_numbers(tmp_path: Path, encoding: str) -> None:
    a, b = (make_run(tmp_path, n, robust=r) for n, r in (("a–b ü", 0.4), ("worse", 0.1)))  # noqa: RUF001
    done = _process(str(a), str(b), PYTHONIOENCODING=encoding)
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    text = done.stdout.decode(encoding)
    numbers = tmp_path / "numbers.json"
    assert main(["compare", str(a), str(b), "--json", str(numbers)]) == 0
    change = 100 * json.loads(numbers.read_text())["overall"]["mPC"]["difference"]
    assert change < 0 and f"mPC {change:.1f} points" in text and "a-b" in text and "->" in text


def test_a_fault_is_no_exceeded_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rtx.cli import main as cli

    def broken(argv: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "main", broken)
    with pytest.raises(SystemExit) as stop:
        cli.entry("compare")
    assert stop.value.code == cli.CRASHED not in (0, 1, 2)


@pytest.mark.parametrize("field", ["labels", "metric", "versions", "freeze_map"])
def test_a_card_of_another_form_is_named(tmp_path: Path, field: str, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = make_run(tmp_path, "a"), make_run(tmp_path, "b")
    path = b / "protocol.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: ["x"]}))
    assert main(["compare", str(a), str(b), "--fail-if-mpc-drops", "50"]) == 2
    said = capsys.readouterr().err
    assert "b/protocol.json" in said and field in said


def test_an_undefined_ratio_is_not_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zero, good = make_run(tmp_path, "zero", clean=0.0), make_run(tmp_path, "good")
    assert main(["compare", str(zero), str(good), "--fail-if-rpc-drops", "0.5"]) == 2
    said = capsys.readouterr().err
    assert "FAIL" not in said and "nan" not in said and "rPC of" in said and "zero" in said and "P is 0" in said
    assert main(["compare", str(zero), str(good), "--fail-if-mpc-drops", "0.5"]) == 0
    assert main(["compare", str(good), str(zero), "--fail-if-mpc-drops", "0.5", "--fail-if-rpc-drops", "0.5"]) == 2
    assert "FAIL: mPC" in capsys.readouterr().err, "what can be judged is said, too"


def test_without_interval_the_difference_decides_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = make_run(tmp_path, "a", robust=0.4), make_run(tmp_path, "b", robust=0.1)
    for points, code in (("0.5", 1), ("90", 0)):
        assert main(["compare", str(a), str(b), "--fail-if-mpc-drops", points, "--only-if-sure"]) == code
        said = capsys.readouterr().err
        assert "no paired interval" in said and ("FAIL" in said) == bool(code)
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    help_text = " ".join(capsys.readouterr().out.split())
    assert "where there is none, the difference itself decides" in help_text


@pytest.mark.parametrize("start", [0.305, 0.415, 0.7, 0.1005, 0.9999])
def test_a_fall_of_just_the_limit_passes(start: float) -> None:
    assert not drops_more(Difference("mPC", start, start - 0.005, None), 0.5)
    assert drops_more(Difference("mPC", start, start - 0.005 - 1e-6, None), 0.5), "a hundredth of what is printed"
    assert drops_more(Difference("mPC", start, float("nan"), None), 0.5)


@pytest.mark.parametrize("points", ["x", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number_of_points_is_said(points: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["compare", "a", "b", f"--fail-if-mpc-drops={points}"])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "points" in said and "_points" not in said
