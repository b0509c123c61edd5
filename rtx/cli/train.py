"""`rtx train CONFIG`: transfer a source backbone to a target, in a run folder that says how it was made."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rtx.errors import BadValue

if TYPE_CHECKING:
    from mmengine.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments, named as OpenMMLab's own training tools name them."""
    from rtx.cli.engine import add_track_argument
    from rtx.cli.hardening import add_hardening_arguments
    from rtx.cli.keeping import add_keeping_arguments
    from rtx.cli.options import add_config_arguments
    from rtx.cli.target_options import add_target_arguments

    parser.add_argument("config", help="config file")
    parser.add_argument(
        "--work-dir", help="run folder; default: work_dirs/<config>[_<target>...][_<source>][_<transfer>]"
    )
    parser.add_argument(
        "--resume", nargs="?", const="auto", metavar="CHECKPOINT", help="go on from the last or a given checkpoint"
    )
    parser.add_argument("--amp", action="store_true", help="automatic mixed precision")
    parser.add_argument(
        "--auto-scale-lr", action="store_true", help="scale the learning rate with the total batch size"
    )
    parser.add_argument("--seed", type=int, help="seed of initialisation and data order")
    parser.add_argument("--deterministic", action="store_true", help="deterministic CUDA kernels (slower)")
    parser.add_argument(
        "--corrupt-eval",
        nargs="?",
        type=int,
        const=0,
        metavar="N",
        help="score under corruption when training ends, and every N epochs (validations in a schedule of steps)",
    )
    parser.add_argument(
        "--view", metavar="VIEW", help="train and test on what it shows of each image: downscale:32, lowpass:keep32 ..."
    )
    add_track_argument(parser)
    parser.add_argument(
        "--adversarial",
        choices=("pgd", "free", "gaussian"),
        help="train on images perturbed against the network itself",
    )
    add_hardening_arguments(parser)
    add_keeping_arguments(parser)
    parser.add_argument("--no-clean-eval", action="store_true", help="do not score the final weights on clean images")
    add_config_arguments(parser)
    add_target_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train, after everything that the run needs was found."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return start(args, prepare(args))


def start(args: argparse.Namespace, cfg: Config) -> int:
    """Train by an expanded config, once everything that the run needs was found; the exit status.

    Raises:
        BadValue: says all that is missing.
    """
    from rtx.evaluation.sweep.interrupt import exit_status, sigterm_raises
    from rtx.results.command import typed_words
    from rtx.training import how_to_go_on, missing, train

    # One process of a job looks; the launcher ends the others when it gives up.
    first = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0
    problems = missing(cfg) if first else []
    if problems:
        lines = "\n".join(f"  {number}. {problem}" for number, problem in enumerate(problems, 1))
        raise BadValue(
            f"{args.config}: {len(problems)} thing{'s are' if len(problems) > 1 else ' is'} missing:\n{lines}"
        )
    try:
        with sigterm_raises():
            train(cfg, clean_score=not args.no_clean_eval)
    except KeyboardInterrupt as error:
        if first:
            print(f"\n{how_to_go_on(cfg, typed_words())}", file=sys.stderr, flush=True)
        return exit_status(error)
    return 0


def prepare(args: argparse.Namespace) -> Config:
    """The expanded config that the arguments ask for.

    Raises:
        BadValue: the config does not exist, or cannot do what a flag asks for.
    """
    from rtx import config as configs
    from rtx.cli.hardening import hardening_of
    from rtx.cli.keeping import keeping_of
    from rtx.cli.options import apply_config_arguments
    from rtx.datasets.openmmlab.nodes import add_import
    from rtx.datasets.openmmlab.view_step import with_view
    from rtx.evaluation.sweep.share import check_launcher, end_with_launcher
    from rtx.transfer.hardening import with_hardening
    from rtx.transfer.keeping import with_keeping

    check_launcher(args.launcher)
    end_with_launcher(args.launcher)
    if not Path(args.config).is_file():
        raise BadValue(f"config {args.config!r} does not exist; configs/ holds rtx's own")
    cfg = apply_config_arguments(configs.load(args.config), args)
    if args.view:
        cfg = with_view(cfg, args.view)
    if args.adversarial:
        cfg = with_hardening(cfg, hardening_of(args, args.adversarial))
    elif args.threat or args.eps:
        raise BadValue("--threat and --eps go with --adversarial pgd, free or gaussian")
    if (keeping := keeping_of(args, cfg)) is not None:
        cfg = with_keeping(cfg, keeping)
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif not cfg.get("work_dir"):
        cfg.work_dir = str(Path("work_dirs") / default_name(args))
    if args.amp:
        cfg.optim_wrapper.type = "AmpOptimWrapper"
        cfg.optim_wrapper.loss_scale = "dynamic"
    if args.auto_scale_lr:
        if not cfg.get("auto_scale_lr", {}).get("base_batch_size"):
            raise BadValue(f"--auto-scale-lr: {args.config} has no auto_scale_lr.base_batch_size; add it to the config")
        cfg.auto_scale_lr.enable = True
    if args.seed is not None or args.deterministic:
        cfg.randomness = dict(cfg.get("randomness") or {}, deterministic=args.deterministic)
        if args.seed is not None:
            cfg.randomness.seed = args.seed
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == "auto" else args.resume
    if not any(hook.get("type") == configs.GUARD for hook in cfg.get("custom_hooks") or []):
        cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), dict(type=configs.GUARD)]
        add_import(cfg, "rtx.transfer")
    if args.corrupt_eval is not None:
        hook = dict(type="CorruptionEvalHook", interval=args.corrupt_eval)
        cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), hook]
        add_import(cfg, "rtx.evaluation.hook")
    if args.track:
        from rtx.evaluation.tracking import with_trackers

        with_trackers(cfg, args.track, Path(cfg.work_dir).name)
        add_import(cfg, "rtx.evaluation.tracking")
    return cfg


_WEIGHTS = {".pth", ".pt", ".ckpt", ".tar", ".safetensors", ".pkl", ".bin"}


def default_name(args: argparse.Namespace) -> str:
    """Run folder name: the config and what was changed about it, so that two transfers do not share a folder.

    Example:
        >>> args = dict(config="configs/a.py", source="weights/x.pth", transfer="blocks:3", norm=None, view=None)
        >>> default_name(argparse.Namespace(**args))
        'a_x_blocks3'
    """
    from rtx.cli.keeping import keeping_words
    from rtx.cli.target_options import folder_words

    parts = [Path(args.config).stem]
    if getattr(args, "target", None):
        parts += [args.target, args.recipe or "salman", f"n{args.images or 'all'}"]
    if args.source:
        parts.append(Path(args.source).stem if Path(args.source).suffix in _WEIGHTS else args.source)
    parts += [part.replace(":", "") for part in (args.transfer, args.norm, args.view) if part]
    if getattr(args, "adversarial", None):
        parts.append(f"{args.adversarial}_{args.threat}_{args.eps}".replace("/", "of"))
    parts += keeping_words(args)
    if getattr(args, "target", None):
        parts += folder_words(args)
        parts += [] if args.seed is None else [f"seed{args.seed}"]  # a subset of its own
    return "_".join(parts)
