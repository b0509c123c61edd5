"""`rtx one_pixel --out DIR`: when a robust source cannot transfer, on the smallest task that shows it; takes seconds.

A single pixel of size beta decides the class (Salman et al., 2020, section 4.3). A linear feature is trained on it
against perturbations of norm eps and frozen, then a head is trained on the feature: it is right where beta > eps, and
at chance where beta < eps. Written are the figure (PDF, SVG, PNG) and its numbers (CSV).
"""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "one_pixel"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the figure and the numbers")
    parser.add_argument("--eps", nargs="+", type=float, metavar="E", help="of the training; default: 0 0.1 0.3 1 3")
    parser.add_argument("--beta", nargs="+", type=float, metavar="B", help="margins; default: 26 from 0.03 to 10")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights and the order of the images")


def run(args: argparse.Namespace) -> int:
    """Train, write, and say where each feature begins to work."""
    from rtx.demo.one_pixel import BETA, EPS, one_pixel
    from rtx.files import write_atomic
    from rtx.reports.figures.one_pixel import draw
    from rtx.reports.figures.style import FORMATS, save, settings

    found, out = one_pixel(args.eps or EPS, args.beta or BETA, seed=args.seed), Path(args.out)
    rows = ["eps,beta,accuracy,response"]
    for e, eps in enumerate(found.eps):
        works = [beta for b, beta in enumerate(found.beta) if found.accuracy[e, b] == 1]
        print(f"eps {eps:g}: " + (f"right from beta {min(works):.3g} on" if works else "at chance for every beta"))
        rows += [
            f"{eps:g},{beta:g},{found.accuracy[e, b]:g},{found.response[e, b]:.6g}" for b, beta in enumerate(found.beta)
        ]
    write_atomic(out / f"{NAME}.csv", "\n".join(rows) + "\n")
    with settings():
        save(draw(found.eps, found.beta, found.accuracy, found.response), out / NAME)
    print(f"figure: {', '.join(f'{NAME}.{kind}' for kind in FORMATS)}; numbers: {NAME}.csv (in {out})")
    return 0
