"""What rtx tells people to type exists: every command and flag in its messages, and each remedy for weights is run."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
from pathlib import Path

import pytest
import torch

import rtx
from rtx import config as configs
from rtx.backbones.spec import BACKBONES
from rtx.cli.main import COMMANDS
from rtx.errors import RtxError, UnknownName, WeightsMismatch
from rtx.probe.source import load_frozen
from rtx.sources.catalog.spec import parse_spec
from rtx.sources.load import load_source
from tests.sources.made_up import random_state

ROOT = Path(rtx.__file__).parent
OTHERS = {  # flags of other programs that rtx names: docker, pip, torchrun, Slurm, Ray, git
    *("--shm-size", "--ipc", "--standalone", "--nproc-per-node", "--nproc_per_node", "--nnodes", "--force-reinstall"),
    *("--no-deps", "--no-binary", "--no-build-isolation", "--no-cache-dir", "--array", "--head", "--address", "--port"),
    *("--local_rank", "--local-rank", "--gres"),
}


def parser_of(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    importlib.import_module(f"rtx.cli.{command}").add_arguments(parser)
    return parser


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    found: set[str] = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {flag for inner in action.choices.values() for flag in flags_of(inner)} | set(action.choices)
    return found


FLAGS = {command: flags_of(parser_of(command)) for command in COMMANDS}
EVERY = set().union(*FLAGS.values()) | {"--help", "--version"}


def messages() -> list[tuple[str, str]]:
    """Every text of rtx that is no docstring, f-strings with `{}` for their values, and where it stands."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        docs = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        inside = {id(p) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for p in n.values}
        for node in ast.walk(tree):
            if id(node) in docs | inside:
                continue
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
                found.append((place, "".join(map(str, parts))))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append((place, node.value))
    return found


def wrong_words(text: str) -> list[str]:
    """Commands and flags in a text that do not exist."""
    found = []
    text = re.sub(r"--[a-z-]+\{\}[a-z-]*", "", text) if " " in text else ""  # a flag whose name is put together
    for command, rest in re.findall(r"\brtx ([a-z][a-z_-]+)\b([^\n`;)]*)", text):
        name = command.replace("-", "_")
        if name in COMMANDS:
            found += [f"rtx {command} {f}" for f in re.findall(r"(?<![\w-])--[a-z][\w-]+", rest) if f not in EVERY]
    found += [f for f in re.findall(r"(?<![\w-])--[a-z][\w-]*[a-z]\b", text) if f not in EVERY | OTHERS]
    return found


def test_every_flag_that_a_message_names_exists() -> None:
    assert [(place, word) for place, text in messages() for word in wrong_words(text)] == []


def test_the_check_sees() -> None:
    assert wrong_words("give --data-rot FOLDER") == ["--data-rot"]
    assert wrong_words("run `rtx report {} --outt DIR`") == ["rtx report --outt", "--outt"]
    assert wrong_words("rtx weights fetch {}; --source FILE") == []


def remedy_in(message: str) -> str | None:
    """The source that a message tells people to give."""
    found = re.search(r"--source ([\w:./-]+)", message)
    return found[1] if found else None


@pytest.mark.parametrize(
    "arch", ["resnet18", "resnet50", "wide_resnet50_2", pytest.param("resnet152", marks=pytest.mark.slow)]
)
def test_the_remedy_for_a_file_of_another_network_works(tmp_path: Path, arch: str) -> None:
    file = tmp_path / "mine.pth"
    torch.save(random_state(arch, 0), file)
    other = "resnet34" if arch != "resnet34" else "resnet18"
    with pytest.raises(WeightsMismatch) as error:
        load_source(str(file), other)
    source = remedy_in(str(error.value))
    assert source == f"{arch}:{file}"
    parsed = parse_spec(source)
    assert parsed.arch == arch and parsed.path == file and arch in BACKBONES
    assert load_source(source, arch).state_dict


def test_no_remedy_leads_back_to_a_network_that_rtx_has_not(tmp_path: Path) -> None:
    file = tmp_path / "v1c.pth"
    state = {
        k.replace("conv1.weight", "stem.0.weight", 1) if k == "conv1.weight" else k: v
        for k, v in random_state("resnet50", 0).items()
    }
    torch.save(state, file)
    for load in (lambda: load_source(str(file), "resnet50"), lambda: load_frozen(str(file))):
        with pytest.raises(RtxError) as error:
            load()
        assert "deep stem" in str(error.value) and remedy_in(str(error.value)) is None
        assert "rtx weights list" in str(error.value)


def test_an_unknown_architecture_is_called_so(tmp_path: Path) -> None:
    file = tmp_path / "lite.pth"
    torch.save(random_state("resnet18", 0), file)
    with pytest.raises(UnknownName, match=r"architecture 'efficientnet_lite0' is not in .*timm:NAME@FILE"):
        parse_spec(f"efficientnet_lite0:{file}")
    with pytest.raises(UnknownName, match="did you mean 'resnet18'"):
        configs.with_source(configs.load("configs/maskrcnn_r50_coco.py"), f"resnet81:{file}")
