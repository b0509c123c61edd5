"""P, mPC and rPC of a trained model.

rtx corrupt_eval CONFIG CHECKPOINT                  of OpenMMLab; CONFIG may be the folder of a training run
rtx corrupt_eval --model torchvision:fasterrcnn_resnet50_fpn_v2 --weights FILE --data-root DIR
rtx corrupt_eval --model transformers:FOLDER --data-root DIR
rtx corrupt_eval --model libreyolo:FILE --data-root DIR
rtx corrupt_eval --model python:FILE.py:NAME --data-root DIR
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rtx.cli.model_options import add_model_arguments, check_model_arguments, class_map, class_names, model_label
from rtx.cli.options import add_config_arguments, add_protocol_arguments, apply_config_arguments, protocol_of
from rtx.cli.sweeping import Sweep, add_sweep_arguments
from rtx.errors import BadValue
from rtx.evaluation.protocol import Protocol
from rtx.results.folder import (
    CELLS_CSV,
    CONFIDENCE,
    INSIDE_RUN,
    LAST_CHECKPOINT,
    SUMMARY,
    TABLE,
    last_checkpoint,
    run_config,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("config", nargs="?", help="config file, or the folder of a training run")
    parser.add_argument("checkpoint", nargs="?", help="checkpoint file; with a run folder, its last one when left out")
    parser.add_argument(
        "--out", help="output folder; default: corruption_eval/ beside the checkpoint, of a --model in work_dirs/MODEL/"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be evaluated, and how long it may take")
    parser.add_argument(
        "--shift",
        action="append",
        metavar="NAME=DIR",
        help="another test set with the same classes, scored on its clean images beside the corruptions; repeatable",
    )
    add_protocol_arguments(parser)
    add_sweep_arguments(parser)
    add_config_arguments(parser)
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    protocol = protocol_of(args)  # a wrong name fails before anything is loaded
    check_model_arguments(args)
    sweep = Sweep(args, protocol.conditions())
    return sweep.run(lambda: _run(args, protocol, sweep))


def _run(args: argparse.Namespace, protocol: Protocol, sweep: Sweep) -> int:
    model, data, given = of_library(args, sweep) if args.model else of_config(args, sweep)
    given |= {"protocol": protocol}
    if args.dry_run:
        return _forecast(model, data, given, sweep)
    summary = sweep.evaluate(model, data, **given)
    if sweep.is_over(summary):
        assert sweep.out is not None
        show_result(sweep.out, summary, print)
    return 0


def of_config(args: argparse.Namespace, sweep: Sweep, inside: str = INSIDE_RUN) -> tuple[Any, Any, dict[str, Any]]:
    """A model of OpenMMLab, its config, and what else `evaluate` is told; `inside` is the folder beside its weights."""
    path, checkpoint = resolve(args.config, args.checkpoint)
    from rtx import config as configs
    from rtx.evaluation.models.load import load_model

    cfg = apply_config_arguments(configs.load(path), args)
    device = sweep.start(args, cfg)
    sweep.out = Path(args.out) if args.out else checkpoint.parent / inside
    labels = {"run": checkpoint.parent.name, "config": Path(path).stem}
    return load_model(cfg, checkpoint, device), cfg, dict(checkpoint=checkpoint, labels=labels)


def of_library(args: argparse.Namespace, sweep: Sweep, inside: str = INSIDE_RUN) -> tuple[Any, Any, dict[str, Any]]:
    """A model of another library, the data folder, and what else `evaluate` is told."""
    from rtx.evaluation.models.presets import open_model

    device = sweep.start(args)
    name = model_label(args.model, args.weights)
    sweep.out = Path(args.out) if args.out else Path("work_dirs", name, inside)
    options = dict(annotations=args.annotations, weights=args.weights, device=device, task=args.task)
    names = class_names(args.model_classes)
    model = open_model(args.model, args.data_root, classes=names, class_map=class_map(args.class_map), **options)
    checkpoint = Path(args.weights) if args.weights else None
    given = dict(annotations=args.annotations, classes=args.classes, checkpoint=checkpoint, labels={"run": name})
    return model, args.data_root, given


def _forecast(model: Any, data: Any, given: dict[str, Any], sweep: Sweep) -> int:
    """Say what would be evaluated."""
    from rtx.cli.forecast import forecast
    from rtx.evaluation.evaluate import prepare
    from rtx.evaluation.sweep import share
    from rtx.evaluation.sweep.remote import cells_on

    assert sweep.out is not None
    job = prepare(model, data, sweep.out, **given)
    job = replace(job, conditions=share.part(job.conditions, sweep.shard))
    with cells_on(sweep.engine, job, share.default_share()) as (job, _):
        print(forecast(job, overwrite=sweep.overwrite, probe=not sweep.engine.is_ray))
        for name, place in sweep.shifts.items():
            print(f"and the clean images of {place} as shift {name}")
    return 0


def show_result(out: Path, summary: dict[str, Any], say: Callable[[str], None]) -> None:
    """Print the table and where the files are."""
    from rtx.cli.final_table import final_table, look_of

    say(final_table(summary, look_of(sys.stdout)))
    names = [SUMMARY, TABLE, CELLS_CSV, *([CONFIDENCE] if summary.get("intervals") else [])]
    say(f"\n{out}: {', '.join(names)}   a page: rtx report {out} --out DIR")


def resolve(config: str | None, checkpoint: str | None) -> tuple[str, Path]:
    """The config file and the checkpoint that the arguments mean.

    Raises:
        BadValue: a run folder without config or checkpoint, or a config without checkpoint.
    """
    if config is None:
        raise BadValue("name what is evaluated: CONFIG CHECKPOINT, a run folder, or --model LIBRARY:NAME")
    path = Path(config)
    if not path.exists():
        raise BadValue(
            f"config {config!r} does not exist; give a config file or a run folder (configs/ holds rtx's own)"
        )
    if path.is_file() and checkpoint is None:
        raise BadValue("no checkpoint given; write: corrupt_eval CONFIG CHECKPOINT, or give a run folder")
    config = str(run_config(path)) if path.is_dir() else config
    found = Path(checkpoint) if checkpoint else last_checkpoint(path)
    if found is None:
        raise BadValue(f"run folder {str(path)!r} has no {LAST_CHECKPOINT}; name the checkpoint file")
    return config, found
