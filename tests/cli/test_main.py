from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtx import __version__
from rtx.cli import main as cli
from rtx.errors import BadValue, UnknownName

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[argparse.Namespace], object]], None]:
    """Installs a command `probe N` whose run() is the given function."""

    def install(run: Callable[[argparse.Namespace], object]) -> None:
        module = types.ModuleType("probe")
        module.add_arguments = lambda parser: parser.add_argument("n", type=int)
        module.run = run
        monkeypatch.setitem(cli.COMMANDS, "probe", "a probe")
        monkeypatch.setattr(cli, "_import", lambda name: module)

    return install


def raises(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        raise error

    return run


def test_every_listed_command_has_its_module_and_its_tool() -> None:
    for name in cli.COMMANDS:
        assert importlib.util.find_spec(f"rtx.cli.{name}"), name
        assert (ROOT / "tools" / f"{name}.py").is_file(), f"tools/{name}.py"


def test_every_tool_is_a_listed_command() -> None:
    tools = {path.stem for path in (ROOT / "tools").glob("*.py")}
    assert tools <= set(cli.COMMANDS)


def test_an_unknown_command_shows_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctr"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("UnknownName: command 'doctr'") and "did you mean 'doctor'" in err
    assert err.count("\n") == 1
    with pytest.raises(UnknownName):
        cli.find("")


def test_aliases_lead_to_the_listed_name() -> None:
    assert cli.find("corrupt-eval") == cli.find("corrupt_eval") == "corrupt_eval"


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in cli.COMMANDS)
    assert cli.main([]) == 2
    capsys.readouterr()
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"rtx {__version__}\n"


def test_a_command_gets_its_arguments_and_gives_its_status(command: Callable[..., None]) -> None:
    command(lambda args: args.n)
    assert cli.main(["probe", "7"]) == 7
    command(lambda args: None)
    assert cli.main(["probe", "7"]) == 0


def test_an_error_of_the_users_making_is_its_message_alone(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command(raises(BadValue("severity 6: must be 1 to 5")))
    monkeypatch.delenv("RTX_DEBUG", raising=False)
    assert cli.main(["probe", "1"]) == 2
    assert capsys.readouterr().err == "BadValue: severity 6: must be 1 to 5\n"
    monkeypatch.setenv("RTX_DEBUG", "1")
    with pytest.raises(BadValue):
        cli.main(["probe", "1"])


def test_our_own_mistakes_keep_their_traceback(command: Callable[..., None]) -> None:
    command(raises(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.main(["probe", "1"])
    command(raises(ModuleNotFoundError("No module named 'rtx.nowhere'", name="rtx.nowhere")))
    with pytest.raises(ModuleNotFoundError):
        cli.main(["probe", "1"])


def test_a_missing_package_sends_to_the_doctor(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(raises(ModuleNotFoundError("No module named 'mmdet'", name="mmdet")))
    assert cli.main(["probe", "1"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("MissingDependency: ") and "'mmdet'" in err and "rtx doctor" in err


def test_ctrl_c_exits_with_130(command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    command(raises(KeyboardInterrupt()))
    assert cli.main(["probe", "1"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_what_rtx_logs_is_shown_while_a_command_runs(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("rtx.probe")

    def run(args: argparse.Namespace) -> None:
        root = logging.StreamHandler()
        logging.getLogger().addHandler(root)
        log.info("transfer=%s", "fixed")
        logging.getLogger().removeHandler(root)

    command(run)
    cli.main(["probe", "1"])
    assert capsys.readouterr().err.count("transfer=fixed") == 1
    assert logging.getLogger("rtx").handlers == []


def test_bad_arguments_exit_with_2(command: Callable[..., None]) -> None:
    command(lambda args: 0)
    with pytest.raises(SystemExit) as stop:
        cli.main(["probe", "seven"])
    assert stop.value.code == 2


def test_a_closed_pipe_is_no_traceback() -> None:
    code = "from rtx.cli import main; main.overview = lambda: 'x' * 10**6; main.sys.argv[1:] = ['-h']; main.entry()"
    # `head -c1` leaves after one byte, long before the million are written.
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" | head -c1', sys.executable, code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "x" and done.stderr == ""


def test_a_locale_of_ascii_finds_names_of_other_letters(tmp_path: Path) -> None:
    (tmp_path / "d\u00f6nn").mkdir()
    code = (
        "import os; from rtx.cli import main\n"
        "def found(): return print(os.path.isdir('d\\u00f6nn'), 'd\\u00f6nn \\u2212 1') or 0\n"
        "main.main = lambda argv: found(); main.entry()"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **plain}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"True d?nn - 1\n", b"")
    # Where the interpreter keeps to ASCII all the same, it does not start again for ever.
    ascii_alone = [sys.executable, "-X", "utf8=0", "-c", code]
    done = subprocess.run(ascii_alone, capture_output=True, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stdout) == (0, b"False d?nn - 1\n")


def test_a_tool_can_be_typed_as_it_is() -> None:
    for path in (ROOT / "tools").glob("*.py"):
        assert path.stat().st_mode & 0o111 and path.read_text().startswith("#!/usr/bin/env python"), path


def test_a_tool_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools/doctor.py", "--help"], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0 and done.stdout.startswith("usage: rtx doctor")


@pytest.mark.parametrize("words", [["7", "--out", ""], ["7", "--out="], [""]])
def test_an_empty_word_is_refused(
    words: list[str], command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(lambda args: 0)
    assert cli.main(["probe", *words]) == 2
    assert "is followed by an empty word" in capsys.readouterr().err


def build(cfg: dict[str, Any]) -> None:
    from mmengine.registry import MODELS

    MODELS.build(cfg)


@pytest.mark.parametrize(
    ("cfg", "said"),
    [
        (dict(type="NoSuchNet"), "registry of model; correct it in the config"),
        (dict(type="StackedLinearClsHead"), "StackedLinearClsHead"),
        (dict(type="Conv2d", in_chanels=3), "unexpected keyword argument 'in_chanels'"),
    ],
)
def test_a_config_that_cannot_be_built_is_its_writers(
    cfg: dict[str, Any], said: str, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    import mmcv.cnn  # noqa: F401  # registers Conv2d

    command(lambda args: build(cfg))
    assert cli.main(["probe", "1"]) == 2
    assert said in capsys.readouterr().err


def test_another_key_error_stays_a_fault_of_our_own(command: Callable[..., None]) -> None:
    command(lambda args: {}["is not in the list"])
    with pytest.raises(KeyError):
        cli.main(["probe", "1"])
