"""`rtx attack_eval CONFIG CHECKPOINT --threat linf --eps 2 4 8`: accuracy, AP or mIoU under attacks by gradients.

    rtx attack_eval work_dirs/RUN --threat linf --eps 2 4 8 --steps 20       # eps in 255ths of the pixel range
    rtx attack_eval work_dirs/RUN --threat l2 --eps 0.5 3 --method apgd      # L2: of pixels in [0, 1]
    rtx attack_eval work_dirs/RUN --surrogate work_dirs/OTHER                # a transfer attack
    rtx attack_eval --source resnet50_l2_eps3 --data-root data/imagenet/val  # a source's own classifier
    rtx attack_eval --model python:FILE.py:NAME --data-root DIR              # an adapter around a torch module

Cells by eps, with cards, intervals, `--run-on`, resume and status as those of `rtx corrupt_eval`.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtx.cli.corrupt_eval import of_config, of_library, resolve, show_result
from rtx.cli.model_options import add_model_arguments, check_model_arguments, model_label
from rtx.cli.options import add_config_arguments, add_protocol_arguments, protocol_of
from rtx.cli.sweeping import Sweep, add_sweep_arguments
from rtx.errors import BadValue
from rtx.evaluation.protocol import Protocol
from rtx.results.folder import ATTACKS_INSIDE_RUN
from rtx.types import THREATS

if TYPE_CHECKING:
    from rtx.evaluation.pixels.attacked import Attacked

OPTIONS = tuple("limit seed batch_size workers cache view amp channels_last keep_predictions resamples".split())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("config", nargs="?", help="config file, or the folder of a training run")
    parser.add_argument("checkpoint", nargs="?", help="checkpoint file; with a run folder, its last one when left out")
    parser.add_argument(
        "--out", help=f"output folder; default: {ATTACKS_INSIDE_RUN}/ beside the checkpoint, else in work_dirs/MODEL/"
    )
    add_attack_arguments(parser)
    add_protocol_arguments(parser, OPTIONS)
    add_sweep_arguments(parser)
    add_config_arguments(parser)
    add_model_arguments(parser)


def add_attack_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the threat and how it is searched."""
    units = "; ".join(f"{name}: {unit}" for name, unit in THREATS.items())
    parser.add_argument("--threat", choices=tuple(THREATS), default="linf", help="norm that bounds perturbations")
    parser.add_argument("--eps", nargs="+", default=["2", "4", "8"], metavar="E", help=f"sizes, or N/255; in {units}")
    parser.add_argument(
        "--method",
        choices=("pgd", "apgd", "autoattack"),
        default="pgd",
        help="apgd chooses its own step sizes; autoattack (classifiers) is the standard version of pyautoattack",
    )
    parser.add_argument("--steps", type=int, default=20, help="gradient steps")
    parser.add_argument("--step", type=float, default=2.5, metavar="C", help="step size C * eps / steps (pgd)")
    parser.add_argument("--restarts", type=int, default=1, help="random starts; the worst result of each image counts")
    parser.add_argument("--momentum", type=float, default=0.0, help="of the normalised gradients (pgd)")
    parser.add_argument("--no-random-start", action="store_true", help="start at the clean image")
    parser.add_argument(
        "--keep", choices=("worst", "last"), default="worst", help="which perturbation of a search counts"
    )
    parser.add_argument(
        "--loss",
        nargs="+",
        default=[],
        metavar="NAME",
        help="classifiers: ce (default), dlr; detectors: total (default), classification, localisation; segmenters: "
        "ce, js, masked_ce, balanced_ce (default: the last three); of several the worst result of each image counts",
    )
    # Not `target`, which is the data set of a training to what reads the arguments of configs.
    parser.add_argument(
        "--target", dest="target_class", type=int, metavar="CLASS", help="classifiers: the class to be taken for"
    )
    parser.add_argument(
        "--queries",
        type=int,
        metavar="N",
        default=0,
        help="then N random perturbations without gradients; where they do more harm they count, and the cell is "
        "flagged: gradients are masked. Default: none",
    )
    parser.add_argument(
        "--surrogate", metavar="RUN", help="run folder of the model that is attacked instead (a transfer attack)"
    )


def run(args: argparse.Namespace) -> int:
    """Attack, and print the table."""
    from rtx.evaluation.pixels.attacked import Attacked

    protocol = protocol_of(args)
    check_model_arguments(args)
    if args.surrogate and (args.model or args.config is None):
        raise BadValue(f"--surrogate {args.surrogate}: goes with CONFIG CHECKPOINT or a run folder, which it is one of")
    attack = dict(threat=args.threat, eps=[eps_of(text, args.threat) for text in args.eps], losses=args.loss)
    attack |= {
        name: getattr(args, name) for name in ("method", "steps", "step", "restarts", "momentum", "keep", "queries")
    }
    attack["target"] = args.target_class
    pixels = Attacked(**attack, random_start=not args.no_random_start)  # a wrong number fails before anything is loaded
    sweep = Sweep(args, pixels.conditions(protocol))
    return sweep.run(lambda: _run(args, protocol, pixels, sweep))


def eps_of(text: str, threat: str) -> float:
    """The eps that a word means, in the unit of its threat; `4/255` is a part of the pixel range for both.

    Raises:
        BadValue: it is no number.

    Example:
        >>> eps_of("4", "linf"), eps_of("4/255", "linf"), eps_of("0.5", "l2"), eps_of("3/2", "l2")
        (4.0, 4.0, 0.5, 1.5)
    """
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise BadValue(f"--eps {text}: is no number; e.g. 4 or 4/255 for linf, 0.5 for l2") from error
    return float(value * 255 if threat == "linf" and "/" in text else value)


def _run(args: argparse.Namespace, protocol: Protocol, pixels: Attacked, sweep: Sweep) -> int:
    from dataclasses import replace

    if args.model:
        model, data, given = of_library(args, sweep, ATTACKS_INSIDE_RUN)
    elif args.config is None and args.source:
        model, data, given = _of_source(args, sweep)
    else:
        model, data, given = of_config(args, sweep, ATTACKS_INSIDE_RUN)
        if args.surrogate:
            pixels = replace(pixels, surrogate=_surrogate(args.surrogate, str(next(model.parameters()).device)))
    summary = sweep.evaluate(model, data, protocol, pixels=pixels, **given)
    if sweep.is_over(summary):
        assert sweep.out is not None
        show_result(sweep.out, summary, print)
    return 0


def _of_source(args: argparse.Namespace, sweep: Sweep) -> tuple[Any, Any, dict[str, Any]]:
    """A source's own classifier, its class folders, and what else `evaluate` is told."""
    from rtx.datasets.class_folders import class_folders
    from rtx.evaluation.models.adapter_data import data_folder
    from rtx.evaluation.models.source_classifier import source_classifier

    if args.data_root is None:
        raise BadValue(
            f"--source {args.source} without CONFIG: give --data-root DIR, the class folders of its test set"
        )
    root = data_folder(args.data_root)
    device = sweep.start(args)
    name = model_label(f":{args.source}", None)
    sweep.out = Path(args.out) if args.out else Path("work_dirs", name, ATTACKS_INSIDE_RUN)
    return source_classifier(args.source, class_folders(root), device), root, dict(labels={"run": args.source})


def _surrogate(run: str, device: str) -> Any:
    """The model of another run folder, in evaluation mode."""
    from rtx import config as configs
    from rtx.evaluation.models.load import load_model

    path, checkpoint = resolve(run, None)
    return load_model(configs.load(path), checkpoint, device)
