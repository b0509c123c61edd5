"""`rtx corrupt_eval CONFIG CHECKPOINT`: P, mPC and rPC of a trained model."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rtx.cli.sweeping import Sweep, check_resamples
from rtx.errors import BadValue
from rtx.evaluation.sweep.events import Event
from rtx.types import SEVERITIES

HELP = "score a trained model on clean and corrupted images (P, mPC, rPC)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from rtx.cli.options import add_config_arguments
    from rtx.corruptions import DEFAULT_ENGINE, ENGINES

    parser.add_argument("config", help="config file, or the folder of a training run")
    parser.add_argument("checkpoint", nargs="?", help="checkpoint file; with a run folder, its last one when left out")
    parser.add_argument("--corruptions", nargs="+", default=["benchmark"], metavar="NAME", help="names or groups")
    parser.add_argument("--severities", nargs="+", type=int, default=list(SEVERITIES), metavar="S", help="1 to 5")
    parser.add_argument("--limit", type=int, help="evaluate a seeded subset of this many images (labelled PREVIEW)")
    parser.add_argument("--out", help="output folder; default: corruption_eval/ beside the checkpoint")
    parser.add_argument("--seed", type=int, default=0, help="corruption seed")
    parser.add_argument("--batch-size", type=int, default=1, help="images a forward pass")
    parser.add_argument(
        "--workers", type=int, help="loader processes; default: 2, or 0 on a CPU of fewer than 4 processors"
    )
    parser.add_argument("--engine", choices=sorted(ENGINES), default=DEFAULT_ENGINE, help="what makes the pixels")
    parser.add_argument(
        "--channel-order", choices=("rgb", "bgr_legacy"), default="rgb", help="what corruptions are given"
    )
    parser.add_argument(
        "--corruption-at",
        choices=("original_resolution", "network_input"),
        help="where corruptions act; classifiers: network_input (after resize and crop), others: original_resolution",
    )
    parser.add_argument("--amp", action="store_true", help="autocast the forward pass; named in the protocol card")
    parser.add_argument(
        "--channels-last", action="store_true", help="weights in that memory format; named in the protocol card"
    )
    parser.add_argument("--scoring", help=argparse.SUPPRESS)
    parser.add_argument("--scorer", help="COCO scorer: hotcoco (default), faster-coco-eval or pycocotools")
    parser.add_argument("--keep-predictions", action="store_true", help="write predictions/ too, for `rtx score`")
    parser.add_argument(
        "--resamples", type=int, default=1000, metavar="N", help="resamplings of the images for intervals; 0 for none"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; default: a GPU where there is one")
    parser.add_argument("--dry-run", action="store_true", help="say what would be evaluated, and how long it may take")
    parser.add_argument(
        "--overwrite", action="store_true", help="evaluate again, and replace what another run left in --out"
    )
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    from rtx.results.conditions import grid

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    conditions = grid(args.corruptions, args.severities)  # a wrong name fails before anything is loaded
    check_resamples(args.resamples)
    if args.scoring:
        raise BadValue(f"--scoring {args.scoring}: cells are always scored between the forward passes; leave it away")
    sweep = Sweep(conditions, overwrite=args.overwrite)
    return sweep.run(lambda: _run(args, sweep))


def _run(args: argparse.Namespace, sweep: Sweep) -> int:
    config_path, checkpoint = resolve(args.config, args.checkpoint)
    from mmengine.dist import get_rank

    from rtx import config as configs
    from rtx.cli.live import display
    from rtx.cli.options import apply_config_arguments
    from rtx.datasets.openmmlab.checks import check_data
    from rtx.evaluation.evaluate import evaluate_corruptions, plan_evaluation
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
    options: dict[str, Any] = dict(
        corruptions=args.corruptions,
        severities=args.severities,
        seed=args.seed,
        limit=args.limit,
        batch_size=args.batch_size,
        workers=args.workers,
        amp=args.amp,
        channels_last=args.channels_last,
        engine=args.engine,
        channel_order=args.channel_order,
        corruption_at=args.corruption_at,
        scorer=args.scorer,
        keep_predictions=args.keep_predictions,
        checkpoint=checkpoint,
        labels={"run": checkpoint.parent.name, "config": Path(config_path).stem},
    )
    if args.dry_run:
        from rtx.cli.forecast import forecast

        print(forecast(plan_evaluation(cfg, model, sweep.out, **options), overwrite=args.overwrite))
        return 0
    with display(limit=args.limit, quiet=sweep.rank > 0) as shown:

        def on_event(event: Event) -> None:
            sweep.note(event)
            shown(event)

        options |= {"overwrite": args.overwrite, "resamples": args.resamples}
        summary = evaluate_corruptions(cfg, model, sweep.out, on_event=on_event, **options)
    if sweep.rank == 0:
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
