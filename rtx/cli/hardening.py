"""The flags of a training under attack, of `rtx train` and `rtx train_source`."""

from __future__ import annotations

import argparse
from typing import Any

from rtx.cli.attack_eval import eps_of
from rtx.types import THREATS


def add_hardening_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the threat of a training."""
    parser.add_argument("--threat", choices=tuple(THREATS), help="norm that bounds perturbations while training")
    parser.add_argument(
        "--eps", metavar="E", help=f"its size, or N/255; in {'; '.join(map(': '.join, THREATS.items()))}"
    )
    parser.add_argument("--attack-steps", type=int, metavar="K", default=3, help="steps of pgd; default 3")
    parser.add_argument(
        "--attack-step",
        type=float,
        metavar="C",
        default=2.0,
        help="step size C * eps / K; default 2 (2/3 eps of 3 steps)",
    )
    parser.add_argument("--random-start", action="store_true", help="pgd from a random perturbation")
    parser.add_argument("--replays", type=int, metavar="M", default=4, help="passes over a batch of free; default 4")


def hardening_of(args: argparse.Namespace, recipe: str) -> Any:
    """The `rtx.transfer.hardening.Hardening` that the arguments ask for.

    Raises:
        BadValue, UnknownName: see there.
    """
    from rtx.transfer.hardening import Hardening

    eps = None if args.eps is None else eps_of(args.eps, args.threat or "linf")
    attack = dict(steps=args.attack_steps, step=args.attack_step, random_start=args.random_start)
    return Hardening(recipe, args.threat, eps, replays=args.replays, **attack)
