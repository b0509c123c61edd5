"""Faults of checkpoints, weights files and launchers, see docs/checks.md."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from rtx.cli import corrupt_eval, imagenet_c, train
from rtx.errors import WeightsError
from rtx.evaluation.evaluate import prepare
from rtx.evaluation.models.load import load_model
from rtx.evaluation.pixels.stored import Stored
from rtx.evaluation.pixels.stored_files import find_stored
from rtx.sources.convert import convert
from rtx.sources.describe import describe
from rtx.sources.load import load_source
from rtx.training import check_checkpoint, check_started
from tests.checking import CONFIGS, Checked, World
from tests.evaluation.class_folders import NAMES, class_config, make_folders
from tests.sources.made_up import random_state

Content = dict[str, Any]
ARCH = "shufflenet_v2_x1_0"  # the smallest file


@cache
def sound() -> tuple[Path, nn.Module, Content, Content]:
    """Class folders, a small classifier of them with its checkpoint, and an ImageNet classifier's weights."""
    root = Path(mkdtemp(prefix="rtx_sound_"))
    for place in ("val", "stored/fog/3"):
        make_folders(root / place)
    cfg = class_config(root / "val")
    init_default_scope("mmpretrain")
    model = MODELS.build({"data_preprocessor": cfg.data_preprocessor, **cfg.model})
    state = model.state_dict()
    trained = {"state_dict": state, "meta": {"epoch": 1, "iter": 3, "dataset_meta": {"classes": NAMES}}}
    weights = {"state_dict": random_state(ARCH, 0)}
    torch.save(trained, root / "epoch_1.pth")
    torch.save(weights, root / "weights.pth")
    return root, model, trained, weights


def files(folder: Path) -> World:
    root = sound()[0]
    for name in ("epoch_1.pth", "weights.pth"):
        (folder / name).symlink_to(root / name)
    return World(root, folder, class_config(root / "val"), file=folder / "epoch_1.pth")


def resume(world: World) -> None:
    """`rtx train --resume`: before the model is built, and afterwards."""
    from rtx.evaluation.models.load import check_one_view

    check_one_view(world.cfg)
    state = check_checkpoint(Config(dict(resume=True, load_from=str(world.file), work_dir=str(world.out))))
    assert state is not None
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo={"classes": NAMES}))
    check_started(SimpleNamespace(model=sound()[1], train_dataloader=loader), state, resumed=True)  # type: ignore[arg-type]


def evaluated(world: World) -> None:
    prepare(load_model(world.cfg, world.file), world.cfg, world.out / "out", checkpoint=world.file)


def stored(world: World) -> None:
    pixels = Stored(find_stored(world.root / "stored"))
    model = load_model(world.cfg, world.file)
    prepare(model, world.cfg, world.out / "out", checkpoint=world.file, pixels=pixels, corruptions=["fog"])


def inspect(world: World) -> None:
    if problems := describe(world.out / "weights.pth")["problems"]:
        raise WeightsError("; ".join(problems))


def both(change: Callable[[Content], Any]) -> Callable[[World], None]:
    """Damages both files."""

    def damage(world: World) -> None:
        for path, content in ((world.file, sound()[2]), (world.out / "weights.pth", sound()[3])):
            new = {**content, "state_dict": dict(content["state_dict"])}
            path.unlink()
            torch.save(change(new) or new, path)

    return damage


def renamed(front: str) -> Callable[[World], None]:
    return both(lambda content: {**content, "state_dict": {front + k: v for k, v in content["state_dict"].items()}})


def trained_on(names: tuple[str, ...]) -> Callable[[World], None]:
    return both(lambda content: {**content, "meta": {"epoch": 1, "iter": 3, "dataset_meta": {"classes": names}}})


def averaging(world: World) -> None:
    world.cfg.model = dict(type="AverageClsScoreTTA", module=world.cfg.model)
    world.cfg.test_dataloader.dataset.pipeline.append(dict(type="TestTimeAug", transforms=[]))


CHECKPOINTS = Checked(
    files,
    {
        "resume": resume,
        "corrupt_eval": evaluated,
        "imagenet_c": stored,
        "weights inspect": inspect,
        "weights convert": lambda w: convert(w.out / "weights.pth", "mmdet", w.out / "converted.pth") and None,
        "source": lambda w: load_source(f"{ARCH}:{w.out / 'weights.pth'}", ARCH) and None,
    },
    {
        "trained on more classes than the data have": (
            trained_on((*NAMES, "n07")),
            "was trained on 7 classes .*but 6 are evaluated",
        ),
        "trained on the classes in another order": (
            trained_on((NAMES[1], NAMES[0], *NAMES[2:])),
            "was trained with label 0 as 'n02', but in the evaluated data it is 'n01'",
        ),
        "names of torch.compile (`_orig_mod.`)": (renamed("_orig_mod."), r"unexpected keys \(_orig_mod\."),
        "names of DataParallel twice (`module.module.`)": (renamed("module.module."), r"unexpected keys \(module\."),
        "the network is an attribute (`net.`)": (renamed("net."), r"unexpected keys \(net\."),
        "a tensor is missing": (
            both(lambda content: content["state_dict"].pop(next(iter(content["state_dict"]))) is None),
            r"1 missing( keys)? \(",
        ),
        "a whole pickled model": (
            both(lambda content: nn.Sequential(nn.Conv2d(3, 4, 3))),
            "(such as a whole model.*save model.state_dict|cannot be read without running code)",
        ),
        "no training state": (
            both(lambda content: content.pop("meta", None) and None),
            "holds weights and no training",
        ),
        "a config of test-time augmentation": (averaging, "averages several views of each image"),
    },
)


def from_words(module: Any, *words: str) -> Callable[[World], None]:
    """A command with the launcher of the world."""

    def run(world: World) -> None:
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        args = parser.parse_args([*words, "--launcher", "pytorch"])
        (train.prepare if module is train else module.run)(args)

    return run


def alone(world: World) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        os.environ.pop(name, None)


LEAF = str(CONFIGS / "fasterrcnn_r50_coco.py")
LAUNCHERS = Checked(
    files,
    {
        "train": from_words(train, LEAF),
        "corrupt_eval": from_words(corrupt_eval, LEAF, "absent.pth"),
        "imagenet_c": lambda world: from_words(
            imagenet_c,
            *(
                str(sound()[0] / "stored"),
                "--config",
                LEAF,
                "--checkpoint",
                "absent.pth",
                "--out",
                str(world.out / "o"),
            ),
        )(world),
    },
    {
        "the launcher's variables are not set": (
            alone,
            "--launcher pytorch: RANK, WORLD_SIZE.* not set; start with torchrun",
        )
    },
)
