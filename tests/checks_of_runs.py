"""Faults of run folders, see docs/checks.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from rtx.drift.subject import DriftOptions
from rtx.drift.subject import of_run as drift_of
from rtx.evaluation.protocol import Protocol
from rtx.influence.subject import of_run as influence_of
from rtx.visualise.subject import look_at
from tests.checking import Checked, World, copied
from tests.drift.worlds import classifier_run, source_file
from tests.probe.worlds import colours

PLACE = "PLACE_OF_THE_WORLD"


@cache
def sound() -> Path:
    """A classifier's run with its data and source, under a path that a copy can put its own in the place of."""
    root = Path(mkdtemp(prefix="rtx_sound_"))
    run = classifier_run(root / "run", colours(root / "data"), source_file(root))
    for file in (run / "config.py", run / "last_checkpoint"):
        file.write_text(file.read_text().replace(str(root), PLACE))
    return root


def made(folder: Path) -> World:
    root = copied(sound(), folder / "world")
    for file in (root / "run" / "config.py", root / "run" / "last_checkpoint"):
        file.write_text(file.read_text().replace(PLACE, str(root)))
    return World(root, root / "run", file=root / "run" / "epoch_1.pth")


def influence(world: World) -> None:
    influence_of(world.out, data_root=None, tests=None, seed=0, device="cpu", batch_size=12, workers=1)


def drift(world: World) -> None:
    drift_of(world.out, DriftOptions(Protocol(corruptions=("fog",), severities=(1,)), minibatch=16))


def visualise(world: World) -> None:
    look_at(str(world.out), "cpu", 0).layer("features")


def config(old: str, new: str) -> Callable[[World], None]:
    def change(world: World) -> None:
        file = world.out / "config.py"
        text = file.read_text()
        assert old in text, text
        file.write_text(text.replace(old, new))

    return change


def without_a_tensor(world: World) -> None:
    content: dict[str, Any] = torch.load(world.file, weights_only=True)
    content["state_dict"].pop("head.fc.bias")
    torch.save(content, world.file)


def cosines(world: World) -> None:
    """ArcFace's head: cosines of normalised features and weights."""
    file = world.out / "config.py"
    text = file.read_text().replace("type='LinearClsHead'", "type='ArcFaceClsHead'")
    file.write_text(re.sub(r"topk=\(\s*1, \),\s*", "", text))
    content: dict[str, Any] = torch.load(world.file, weights_only=True)
    state = content["state_dict"]
    state["head.norm_product.weight"] = state.pop("head.fc.weight")
    state.pop("head.fc.bias")
    torch.save(content, world.file)


def few_tests(world: World) -> None:
    for n, path in enumerate(sorted((world.root / "data" / "test").rglob("*.png"))):
        if n % 2:
            path.unlink()


RUNS = Checked(
    made,
    {"influence": influence, "drift": drift, "visualise": visualise},
    {
        "no checkpoint is named": (lambda w: (w.out / "last_checkpoint").unlink(), "names no checkpoint"),
        "a tensor of the checkpoint is missing": (without_a_tensor, r"1 missing( keys)? \("),
        "the data are not there": (
            lambda w: (w.root / "data").rename(w.root / "moved"),
            r"(data/test|data'|world/data)",
        ),
        "the source's file is not there": (lambda w: (w.root / "source.pth").unlink(), "source.*--no-source"),
        "a head that does not end in a linear layer": (
            cosines,
            "does not end in a linear layer",
        ),
        "no training set in the config": (
            config("train_dataloader = ", "other = "),
            "names no training or no test set",
        ),
        "fewer than eight test images": (few_tests, "6 images in minibatches of 16"),
    },
)
