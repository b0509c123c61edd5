"""Arguments that commands share: the options of an evaluation, and how a config is changed."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from rtx.cli.target_options import target_options
from rtx.errors import BadValue
from rtx.evaluation.protocol import Protocol
from rtx.types import NORM_POLICIES, TransferMode

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from mmengine.config import Config


SHARD_HELP = "evaluate part I of N of the cells, I from 1; a task of a Slurm array takes its own"


def add_protocol_arguments(parser: argparse.ArgumentParser, names: Sequence[str] = (), **defaults: Any) -> None:
    """Declare a flag for each option of an evaluation.

    Args:
        parser: gets them.
        names: which options; all when empty.
        defaults: other defaults than those of `Protocol`.
    """
    for option in fields(Protocol):
        if names and option.name not in names:
            continue
        flag, default = dict(option.metadata["flag"]), defaults.get(option.name, option.default)
        if option.default is False:
            flag["action"] = "store_true"
        parser.add_argument(f"--{option.name.replace('_', '-')}", default=default, help=option.metadata["help"], **flag)


def protocol_of(args: argparse.Namespace) -> Protocol:
    """The protocol that the arguments ask for.

    Raises:
        UnknownName, BadValue: see `Protocol`.
    """
    return Protocol(**{option.name: getattr(args, option.name) for option in fields(Protocol) if option.name in args})


def shard_of(args: argparse.Namespace, environ: Mapping[str, str] | None = None) -> tuple[int, int] | None:
    """The part of the cells that `--shard I/N` asks for, else the task's own in a Slurm array; None for all of them.

    Args:
        args: the arguments; with a launcher, an array is not looked at.
        environ: where Slurm says which task this is; this process's environment when None.

    Raises:
        BadValue: no such shard, or the array's numbers are not evenly spaced.
    """
    environ = os.environ if environ is None else environ
    if args.shard is not None:
        words = args.shard.split("/")
        if len(words) != 2 or not all(word.isdecimal() for word in words) or not 1 <= int(words[0]) <= int(words[1]):
            raise BadValue(f"--shard {args.shard}: must be I/N, from 1/N to N/N, e.g. 1/4")
        return int(words[0]), int(words[1])
    names = ("TASK_ID", "TASK_MIN", "TASK_COUNT")
    if args.launcher != "none" or any(f"SLURM_ARRAY_{name}" not in environ for name in names):
        return None
    task, least, count = (int(environ[f"SLURM_ARRAY_{name}"]) for name in names)
    place, rest = divmod(task - least, int(environ.get("SLURM_ARRAY_TASK_STEP", 1)))
    if rest or not place < count:
        raise BadValue(f"task {task} of a Slurm array of {count} with gaps: give --shard I/N (1/1 for all cells)")
    log.info("task %d of a Slurm array: --shard %d/%d (give --shard 1/1 for all cells)", task, place + 1, count)
    return place + 1, count


def add_launcher_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--cfg-options` and the launcher."""
    from mmengine.config import DictAction

    class Settings(DictAction):
        """KEY=VALUE words as mmengine reads them, or an error that names the word."""

        def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
            for word in values:
                key, equals, _ = word.partition("=")
                if not equals or not all(key.split(".")):
                    raise BadValue(f"--cfg-options {word}: must be KEY=VALUE, e.g. train_dataloader.batch_size=4")
            try:
                super().__call__(parser, namespace, values, option_string)
            except (AssertionError, IndexError, ValueError) as error:
                raise BadValue(f"--cfg-options {' '.join(values)}: a value cannot be read ({error})") from error

    parser.add_argument(
        "--cfg-options", nargs="+", action=Settings, metavar="KEY=VALUE", help="override config settings"
    )
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="job launcher")
    parser.add_argument(
        "--local_rank", "--local-rank", type=int, default=int(os.environ.get("LOCAL_RANK", 0)), help=argparse.SUPPRESS
    )


def add_import_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--import`; the modules are imported before any command begins."""
    parser.add_argument(
        "--import",
        nargs="+",
        dest="imports",
        default=[],
        metavar="MODULE",
        help="modules that register networks of your own",
    )


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--data-root`, `--source`, `--import`, `--transfer`, `--norm`, `--cfg-options` and the launcher."""
    parser.add_argument("--data-root", help="where the data set lies, instead of the config's folder")
    parser.add_argument("--source", metavar="NAME|FILE|random|timm:NAME[@FILE]", help="source weights of the backbone")
    add_import_argument(parser)
    for name, what in (("mean", "mean"), ("std", "standard deviation")):
        parser.add_argument(
            f"--pixel-{name}", nargs=3, type=float, metavar=("R", "G", "B"),
            help=f"{what} of the pixels, 0 to 255, that a --source FILE was trained with",
        )  # fmt: skip
    parser.add_argument(
        "--transfer",
        metavar="MODE",
        help="fixed, full, full_strict, blocks:k or lpft:EPOCHS (the head alone, then as full)",
    )
    parser.add_argument("--norm", choices=NORM_POLICIES, help="what batch normalisation does in the backbone")
    add_launcher_arguments(parser)


def apply_config_arguments(cfg: Config, args: argparse.Namespace) -> Config:
    """The config with `--target`, `--source`, `--transfer`, `--norm`, `--data-root`, then `--cfg-options`, applied.

    `--cfg-options` come last: what a user sets by hand is not overruled by what another flag implies.

    Raises:
        UnknownName, BadValue, DataError: an argument names nothing that exists.
    """
    from rtx import config as configs
    from rtx.datasets.openmmlab.image_loader import with_checked_images
    from rtx.datasets.openmmlab.nodes import add_import
    from rtx.datasets.openmmlab.with_data import with_data
    from rtx.transfer.modes import transfer_name

    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    for module in args.imports:
        add_import(cfg, module)  # so that the config of the run names it
    target = target_options(args)
    if target:
        from rtx.transfer.classify import record_training, with_target

        cfg = with_target(cfg, target)
    mode = TransferMode.parse(args.transfer) if args.transfer else None
    norm = args.norm
    statistics = (args.pixel_mean, args.pixel_std) if args.pixel_mean or args.pixel_std else None
    if statistics and not (args.source and all(statistics) and min(args.pixel_std) > 0):
        raise BadValue("--pixel-mean and --pixel-std: give both with --source FILE, deviations above 0")
    if args.source:
        cfg = configs.with_source(cfg, args.source, statistics)
    if args.norm and not mode:
        # The policy alone was asked for: keep what the config freezes, if that has a name.
        name = transfer_name(cfg.model.backbone, configs.framework_of(cfg))
        if name.startswith("frozen_stages"):
            raise BadValue(
                f"--norm {args.norm}: the config freezes {name}, which is no transfer mode; give --transfer too"
            )
        mode = TransferMode.parse(name)
    if args.source == "random" and not mode:
        # Statistics and a stem that nothing has trained must not be kept: detectors diverge within a few steps.
        mode = TransferMode("full_strict")
        norm = "train"
        log.info("--source random without --transfer or --norm: everything trains, with batch statistics")
    if mode:
        cfg = configs.with_transfer(cfg, mode, norm)
    if args.data_root and not target:
        cfg = with_data(cfg, args.data_root)
    if cfg.get("rtx_target"):
        from rtx.transfer.classify import fit_to_source

        cfg = fit_to_source(cfg)
    cfg = with_checked_images(cfg)
    if args.cfg_options:
        merge_options(cfg, args.cfg_options)
        if target:
            record_training(cfg)
    return cfg


def merge_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Apply `--cfg-options`, with a warning where a key leads to a place that the config does not have.

    Raises:
        BadValue: the options do not fit the config.
    """
    for name, value in options.items():
        _check_place(cfg, name, value)
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError, AssertionError, IndexError, AttributeError) as error:
        words = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise BadValue(f"--cfg-options {words}: do not fit the config ({type(error).__name__}: {error})") from error


def _check_place(cfg: Config, name: str, value: Any) -> None:
    """Refuse an option that leads nowhere or puts a number in the place of a section; warn where it adds something.

    Raises:
        BadValue: see above.
    """
    node: Any = cfg._cfg_dict
    parts = name.split(".")
    for n, part in enumerate(parts):
        place, last = ".".join(parts[:n]) or "the config", n == len(parts) - 1
        if isinstance(node, (list, tuple)):
            if not part.isdecimal() or int(part) >= len(node):
                raise BadValue(
                    f"--cfg-options {name}: {place} is a list of {len(node)}, {part!r} is no place in it; "
                    f"give a number from 0 to {len(node) - 1}"
                )
            node = node[int(part)]
        elif not isinstance(node, dict):
            raise BadValue(
                f"--cfg-options {name}: {place} is {node!r} in the config and has no settings; set it as a whole "
                f"in a config file, or leave the option out"
            )
        elif part not in node:
            near = get_close_matches(part, list(node), 1)
            if near or not last:
                hint = f"; did you mean {near[0]!r}?" if near else ""
                log.warning("--cfg-options %s: the config has no %r there, it is added%s", name, part, hint)
            return
        else:
            node = dict.get(node, part)
    section = isinstance(node, dict) or (isinstance(node, list) and any(isinstance(row, dict) for row in node))
    whole = not isinstance(value, (str, int, float)) or (isinstance(value, str) and "type" not in node)
    if section and node and not whole:
        inside = f"{name}.{next(iter(node)) if isinstance(node, dict) else 0}"
        raise BadValue(f"--cfg-options {name}={value}: {name} is a section; name a setting in it, such as {inside}=...")
