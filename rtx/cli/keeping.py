"""The flags of a training that stays near its source."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from rtx.errors import BadValue

if TYPE_CHECKING:
    from mmengine.config import Config

    from rtx.transfer.keeping import Keeping

_FACTORS = ("layer_decay", "backbone_lr", "ema")


def add_keeping_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `rtx.transfer.keeping.Keeping` holds; `--transfer lpft:EPOCHS` goes with each of them."""
    group = parser.add_argument_group("staying near the source (in a config: rtx_keeping = dict(l2sp=0.01))")
    group.add_argument("--anchor", metavar="l2sp=ALPHA", help="penalty on the backbone's distance from its source")
    group.add_argument("--layer-decay", type=float, metavar="F", help="each block learns at F times the rate behind it")
    group.add_argument("--backbone-lr", type=float, metavar="F", help="the backbone learns at F times the head's rate")
    group.add_argument("--ema", type=float, metavar="M", help="test and save a running average of momentum M")


def keeping_of(args: argparse.Namespace, cfg: Config) -> Keeping | None:
    """What the flags ask for, on top of `rtx_keeping` of the config; None for neither.

    Raises:
        BadValue, UnknownName: see `Keeping`.
    """
    from rtx.transfer.keeping import SETTING, Keeping

    asked = {**(cfg.get(SETTING) or {}), **_given(args)}
    return Keeping.of(asked) if asked else None


def keeping_words(args: argparse.Namespace) -> list[str]:
    """What a run folder's name says of the flags.

    Example:
        >>> keeping_words(argparse.Namespace(anchor="l2sp=0.01", ema=0.001))
        ['l2sp-0.01', 'ema-0.001']
    """
    return [f"{name.replace('_', '-')}-{value:g}" for name, value in _given(args).items()]


def _given(args: argparse.Namespace) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if anchor := getattr(args, "anchor", None):
        kind, _, alpha = anchor.partition("=")
        try:
            given[kind] = float(alpha)
        except ValueError:
            kind = ""
        if kind != "l2sp":
            raise BadValue(f"--anchor {anchor}: must be l2sp=ALPHA with a number, e.g. l2sp=0.01")
    given |= {name: value for name in _FACTORS if (value := getattr(args, name, None)) is not None}
    return given
