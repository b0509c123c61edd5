"""`rtx corrupt_eval CONFIG CHECKPOINT`: P, mPC and rPC of a trained model."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rtx.cli.sweeping import Sweep
from rtx.errors import BadValue
from rtx.evaluation.protocol import Protocol


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from rtx.cli.options import SHARD_HELP, add_config_arguments, add_protocol_arguments

    parser.add_argument("config", help="config file, or the folder of a training run")
    parser.add_argument("checkpoint", nargs="?", help="checkpoint file; with a run folder, its last one when left out")
    parser.add_argument("--out", help="output folder; default: corruption_eval/ beside the checkpoint")
    add_protocol_arguments(parser)
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; default: a GPU where there is one")
    parser.add_argument("--dry-run", action="store_true", help="say what would be evaluated, and how long it may take")
    parser.add_argument(
        "--overwrite", action="store_true", help="evaluate again, and replace what another run left in --out"
    )
    parser.add_argument("--shard", metavar="I/N", help=SHARD_HELP)
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    from rtx.cli.options import protocol_of, shard_of

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    protocol = protocol_of(args)  # a wrong name fails before anything is loaded
    sweep = Sweep(protocol.conditions(), overwrite=args.overwrite, shard=shard_of(args))
    return sweep.run(lambda: _run(args, protocol, sweep))


def _run(args: argparse.Namespace, protocol: Protocol, sweep: Sweep) -> int:
    config_path, checkpoint = resolve(args.config, args.checkpoint)
    from mmengine.dist import get_rank

    from rtx import config as configs
    from rtx.cli.options import apply_config_arguments
    from rtx.datasets.openmmlab.checks import check_data
    from rtx.evaluation.models.load import check_device, load_model
    from rtx.evaluation.sweep import share

    device = args.device or share.default_device(args.local_rank)
    check_device(device)
    cfg = apply_config_arguments(configs.load(config_path), args)
    share.start(args.launcher, cfg.get("env_cfg", {}).get("dist_cfg"))
    sweep.rank = get_rank()
    if sweep.rank == 0:
        check_data(cfg, splits=("val",))
    model = load_model(cfg, checkpoint, device)
    sweep.out = Path(args.out) if args.out else checkpoint.parent / "corruption_eval"
    labels = {"run": checkpoint.parent.name, "config": Path(config_path).stem}
    if args.dry_run:
        from rtx.cli.forecast import forecast
        from rtx.evaluation.evaluate import prepare

        job = prepare(model, cfg, sweep.out, protocol, checkpoint=checkpoint, labels=labels)
        job = replace(job, conditions=share.part(job.conditions, sweep.shard))
        print(forecast(job, overwrite=args.overwrite))
        return 0
    summary = sweep.evaluate(model, cfg, protocol, checkpoint=checkpoint, labels=labels)
    if sweep.rank == 0 and sweep.is_over(summary):
        show_result(sweep.out, summary, print)
    return 0


def show_result(out: Path, summary: dict[str, Any], say: Callable[[str], None]) -> None:
    """Print the table and where the files are."""
    from rtx.cli.final_table import final_table, look_of

    say(final_table(summary, look_of(sys.stdout)))
    names = ["summary.json", "table.md", "cells.csv", *(["confidence.json"] if summary.get("intervals") else [])]
    say(f"\n{out}: {', '.join(names)}   a page: rtx report {out} --out DIR")


def resolve(config: str, checkpoint: str | None) -> tuple[str, Path]:
    """The config file and the checkpoint that the arguments mean.

    Raises:
        BadValue: a run folder without config or checkpoint, or a config without checkpoint.
    """
    path = Path(config)
    if not path.exists():
        raise BadValue(
            f"config {config!r} does not exist; give a config file or a run folder (configs/ holds rtx's own)"
        )
    if path.is_file():
        if checkpoint is None:
            raise BadValue("no checkpoint given; write: corrupt_eval CONFIG CHECKPOINT, or give a run folder")
        return config, Path(checkpoint)
    found = sorted(path.glob("*.py"))
    if len(found) != 1:
        raise BadValue(
            f"run folder {config!r} holds {len(found)} config files, one is needed; name the config file itself"
        )
    if checkpoint is not None:
        return str(found[0]), Path(checkpoint)
    pointer = path / "last_checkpoint"
    if not pointer.is_file():
        raise BadValue(f"run folder {config!r} has no last_checkpoint; name the checkpoint file")
    named = Path(pointer.read_text().strip())
    # The pointer holds the path at training time: in a folder that was copied it still names the original's file.
    beside = path / named.name
    return str(found[0]), beside if beside.is_file() or not named.is_file() else named
