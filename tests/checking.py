"""What the tables of docs/checks.md are tested with: a sound world, faults for it, and commands that meet them."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from mmengine.config import Config
from PIL import Image

from rtx.cli.main import main
from rtx.errors import DataError
from rtx.evaluation.evaluate import prepare
from rtx.evaluation.hook import CorruptionEvalHook
from rtx.training import missing
from tests.evaluation.stand_in import PixelDetector

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@dataclass
class World:
    """Data or a file with one fault, and what commands are given beside it.

    Attributes:
        root: the data folder.
        out: a folder for results.
        cfg: a config for the sound data, before anything was damaged.
        classes: names that are asked for; None for those of the data.
        file: a checkpoint.
    """

    root: Path
    out: Path
    cfg: Config = field(default_factory=Config)
    classes: tuple[str, ...] | None = None
    file: Path = Path()


@dataclass(frozen=True)
class Checked:
    """One table of the page.

    Attributes:
        make: a sound world in a folder.
        commands: column -> what it does with the world; returns what it says on the terminal, if anything.
        faults: row -> what damages the world, and how the message reads; "" where all is well.
    """

    make: Callable[[Path], World]
    commands: dict[str, Callable[[World], str | None]]
    faults: dict[str, tuple[Callable[[World], Any], str]]


def rows_of(page: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Title -> fault -> command -> what it does, of every table below a second-level title of the page."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    title, head = "", []
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            title, head = line[3:], []
        elif line.startswith("|") and title:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not head:
                head = cells[1:]
            elif not set(cells[0]) <= {"-"}:
                found.setdefault(title, {})[cells[0]] = dict(zip(head, cells[1:], strict=True))
    return found


def train(world: World) -> None:
    """`rtx train`, up to the point where it would start."""
    cfg = asked(world)
    cfg.model.backbone.source = "random"
    if problems := missing(cfg):
        raise DataError("; ".join(problems))


def corrupt_eval(world: World) -> None:
    """`rtx corrupt_eval`, with a model that is there already, up to the first image."""
    prepare(PixelDetector(), asked(world), world.out)


def hook(world: World) -> None:
    """The hook at the beginning of a training with the stock tools."""
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo={}))
    CorruptionEvalHook().before_train(SimpleNamespace(cfg=asked(world), train_dataloader=loader))


def corrupt(world: World) -> str:
    """`rtx corrupt`; what it says beside the log."""
    words = ["corrupt", str(world.root), "--out", str(world.out), "--corruptions", "contrast", "--severities", "1"]
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        status = main(words)
    if status:
        raise DataError(said.getvalue())
    return "".join(line for line in said.getvalue().splitlines(keepends=True) if line.startswith("note:"))


def asked(world: World) -> Config:
    """The config with the classes that are asked for."""
    if world.classes is not None:
        for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
            node = world.cfg[key].dataset
            while "metainfo" not in node:
                node = node.get("dataset") or node["datasets"][0]
            node.metainfo.classes = world.classes
    return world.cfg


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the content of a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def turn(path: Path) -> None:
    """Mark a picture, the sides of which differ, as one to be turned on its side."""
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.copy().save(path, exif=exif)


def copied(sound: Path, into: Path) -> Path:
    """A copy that may be damaged."""
    shutil.copytree(sound, into)
    return into


def save_map(path: Path, labels: np.ndarray) -> None:
    """Write a label map, or an RGB image in its place."""
    Image.fromarray(labels.astype(np.uint8)).save(path)
