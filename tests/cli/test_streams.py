"""Closed or full standard output and error end no command; a name that is too long is an error of a line."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from rtx.cli import main as cli
from rtx.cli.streams import Sturdy
from rtx.errors import BadValue

CODE = """
import sys, types
from rtx.cli import main as cli
module = types.ModuleType("status")
module.add_arguments = lambda parser: None
def run(args):
    for n in range(5000):
        print("a line of standard output", n)
        print("a line of standard error", n, file=sys.stderr)
    open("result", "w").write("whole")
module.run = run
cli._import = lambda name: module
cli.entry("status")
"""


@pytest.mark.parametrize(
    ("redirection", "status"),
    [
        ("> /dev/full 2> errors", 2),
        ("> lines 2> /dev/full", 0),
        ("> /dev/full 2> /dev/full", 2),
        (">&- 2>&-", 0),
        ("<&- >&- 2>&-", 0),
        ("2> errors | true", 141),
    ],
)
def test_the_work_is_done_whatever_becomes_of_the_lines(tmp_path: Path, redirection: str, status: int) -> None:
    line = f"{sys.executable} -c '{CODE}' {redirection}; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, timeout=120, check=False)
    assert done.returncode == status
    assert (tmp_path / "result").read_text() == "whole"
    if "errors" in redirection:
        errors = (tmp_path / "errors").read_text()
        assert "Traceback" not in errors
        assert ("standard output cannot be written (No space left on device)" in errors) == (status == 2)


def test_a_terminal_obeys_no_name_on_standard_output() -> None:
    kept = io.StringIO()
    Sturdy(kept, plain=True).write("\x1b[1mbold\x1b[0m a\x1b[2Kb\x1b]0;t\x07 \x9b2J\tc\n")
    assert kept.getvalue() == "\x1b[1mbold\x1b[0m a\\x1b[2Kb\\x1b]0;t\\x07 \\x9b2J\tc\n"


def test_a_terminal_obeys_no_name_in_an_error_or_a_line_of_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(args: object) -> int:
        logging.getLogger("rtx.test").warning("class %s", "a\x1b[2J")
        raise BadValue("class 'b\x1b[2J\r' is odd\n  1. first")

    module = types.ModuleType("status")
    module.add_arguments = lambda parser: None  # type: ignore[attr-defined]
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setattr(cli, "_import", lambda name: module)
    assert cli.main(["status"]) == 2
    error = capsys.readouterr().err
    assert "\x1b" not in error and "\r" not in error
    assert error.endswith("BadValue: class 'b\\x1b[2J\\r' is odd\n  1. first\n") and "class a\\x1b[2J" in error


@pytest.mark.parametrize("words", [["status"], ["compare", "b"], ["report", "--out", "x"], ["corrupt", "--out", "x"]])
def test_a_name_that_is_too_long_is_an_error_of_one_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([words[0], "a" * 300, *words[1:]]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error and len(error) < 400 and "255 bytes at most: give a shorter one" in error
