"""The flags of a training on a classification target."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING

from rtx.errors import BadValue

if TYPE_CHECKING:
    from rtx.transfer.classify import TargetOptions

_NAMES = (
    "recipe", "images", "subset_rule", "subset", "caltech_split", "head_init", "normalise", "lr_drops", "image_size",
    "epochs", "lr", "hidden_layers",
)  # fmt: skip


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--target` and what only goes with it; `rtx.transfer.classify.TargetOptions` has the defaults."""
    group = parser.add_argument_group("classification targets")
    group.add_argument("--target", metavar="NAME", help="train on this target (rtx targets list), data in --data-root")
    group.add_argument("--recipe", metavar="NAME", help="salman (default), utrera or yamada")
    group.add_argument("--images", type=int, metavar="N", help="train on N images, chosen by --seed (0 without it)")
    group.add_argument(
        "--subset-rule", metavar="RULE", help="how: stratified (default; every class) or utrera_code (numpy's choice)"
    )
    group.add_argument(
        "--subset", action="store_const", const=True, help="the folder holds a part of the published set"
    )
    group.add_argument("--caltech-split", metavar="RULE", help="first (default; in file order), random or random:SEED")
    group.add_argument("--head-init", metavar="NAME", help="default (PyTorch's) or utrera (N(0, 1), bias 0)")
    group.add_argument("--normalise", metavar="NAME", help="imagenet (default; as the source) or upstream")
    group.add_argument(
        "--lr-drops", metavar="RULE", help="paper (default; at 1/3 and 2/3) or code (a third, at the end)"
    )
    group.add_argument("--image-size", type=int, metavar="PIXELS", help="side of the network's input; default 224")
    group.add_argument("--epochs", type=int, metavar="N", help="instead of the recipe's")
    group.add_argument("--hidden-layers", type=int, metavar="N", help="in front of the head's last layer; default 0")
    group.add_argument("--lr", type=float, metavar="LR", help="learning rate instead of the recipe's")


def folder_words(args: argparse.Namespace) -> list[str]:
    """What a run folder's name says of the flags that differ from their defaults, recipe and images aside.

    Example:
        >>> folder_words(argparse.Namespace(lr=0.05, image_size=224, subset=True, head_init="utrera"))
        ['subset', 'head-init-utrera', 'lr-0.05']
    """
    from rtx.transfer.classify import TargetOptions

    usual = {field.name: field.default for field in fields(TargetOptions)}
    words = []
    for name in _NAMES:
        value = getattr(args, name, None)
        if name not in ("recipe", "images") and value not in (None, usual[name]):
            words.append(name.replace("_", "-") + ("" if value is True else f"-{value}".replace(":", "")))
    return words


def target_options(args: argparse.Namespace) -> TargetOptions | None:
    """What the flags ask for; None without `--target`.

    Raises:
        BadValue: a flag that only goes with `--target` without it.
    """
    given = {name: getattr(args, name) for name in _NAMES if getattr(args, name, None) is not None}
    if not getattr(args, "target", None):
        if given:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise BadValue(f"{flags}: only with --target NAME; other settings of a config: --cfg-options KEY=VALUE")
        return None
    from rtx.transfer.classify import TargetOptions

    assert {field.name for field in fields(TargetOptions)} >= set(_NAMES)
    return TargetOptions(args.target, data_root=args.data_root, seed=args.seed or 0, **given)
