"""Which training images a classifier's answers rest on, through its last layer, in closed form.

rtx influence RUN [RUN ...]                          of `rtx train configs/classify_r50.py --target NAME ...`
rtx influence --source NAME [NAME ...] --target NAME --data-root DIR [--images N]    with the head of `rtx probe`

Written are the matrix, a heat map sorted by label, a gallery for each head, and how often the most helpful training
images have the label of the test image.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtx.cli.options import add_import_argument
from rtx.errors import BadValue, unknown_name

if TYPE_CHECKING:
    from rtx.influence.report import InfluenceOptions, Shown
    from rtx.influence.subject import Subject

_OF_SOURCES = ("target", "images", "subset", "image_size", "cache", "decays")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add("runs", nargs="*", metavar="RUN", help="run folders of classifiers or two-stage detectors")
    add("--source", nargs="+", default=[], metavar="NAME", help="sources of fixed features, as rtx probe takes them")
    add_import_argument(parser)
    add("--target", metavar="NAME", help="of the sources: a target of `rtx targets list`")
    add("--data-root", type=Path, metavar="DIR", help="its folder; of runs, where it is now")
    add("--images", type=int, metavar="N", help="of the sources: training images, by --seed; default all")
    add("--subset", action="store_const", const=True, help="the folder holds a part of the published set")
    add("--image-size", type=int, metavar="PIXELS", help="of the sources: side of the network's input; default 224")
    add("--decays", nargs="+", type=float, metavar="D", help="of the sources: weight decays to choose from")
    add("--cache", type=Path, metavar="DIR", help="of the sources: folder of features; default work_dirs/features")
    add("--test-images", type=int, default=1000, metavar="M", help="test images, by --seed; default 1000, 0 for all")
    add("--seed", type=int, default=0, help="of the images that are chosen, and shown; default 0")
    add("--convention", default="rtx", metavar="NAME", help="sign and inverse: rtx (default), paper or code")
    add("--inverse", metavar="HOW", help="decay (rtx), ridge:LAMBDA, pinv:CUT (paper: 1e-20, code: 0.05)")
    add("--curvature", default="hessian", metavar="NAME", help="hessian (default), ggn, fisher or empirical")
    add("--solver", default="dense", metavar="NAME", help="dense (default), or cg: without the matrix, for large heads")
    add("--memory", type=float, default=8, metavar="GB", help="what the matrix may take; default 8")
    add("--device", metavar="DEVICE", help="of the network; default: the GPU where there is one")
    add("--batch-size", type=int, default=64, metavar="N", help="images of a forward pass; default 64")
    add("--workers", type=int, default=4, metavar="N", help="threads that decode images; default 4")
    add("--out", type=Path, default=Path("work_dirs/influence"), metavar="DIR", help="default work_dirs/influence")


def run(args: argparse.Namespace) -> int:
    """Analyse each head, print the table."""
    options = _options(args)
    if bool(args.runs) == bool(args.source):
        raise BadValue("rtx influence: name run folders, or --source NAME --target NAME --data-root DIR")
    from rtx.influence.report import analyse, compare

    shown: list[Shown] = []
    for subject in _subjects(args):
        if subject.name in [one.name for one in shown]:  # files of one name
            subject = replace(subject, name=f"{subject.name}_{subject.card['weights'][:8]}")
        shown.append(analyse(subject, options, args.out))
        counts = f"{len(subject.head.train)} training and {len(subject.head.test)} test {subject.unit}"
        print(f"{subject.name}: {counts}", flush=True)
    print("\n" + table(compare(shown, args.out)) + f"\n\nmatrices, heat maps, galleries: {args.out}")
    return 0


def _options(args: argparse.Namespace) -> InfluenceOptions:
    from rtx.influence.head import CURVATURES, SOLVERS, Inverse
    from rtx.influence.report import CONVENTIONS, InfluenceOptions

    for what, value, choices in (
        ("convention", args.convention, tuple(CONVENTIONS)),
        ("curvature", args.curvature, CURVATURES),
        ("solver", args.solver, SOLVERS),
    ):
        if value not in choices:
            raise unknown_name(what, value, place="rtx/influence", choices=choices)
    if not args.memory > 0 or args.test_images < 0 or args.batch_size < 1:
        raise BadValue(
            f"--memory {args.memory:g}, --test-images {args.test_images}, --batch-size {args.batch_size}: "
            "must be above 0 (0 test images: all)"
        )
    inverse = Inverse.parse(args.inverse) if args.inverse else None
    return InfluenceOptions(args.convention, inverse, args.curvature, int(args.memory * 2**30), args.seed, args.solver)


def _subjects(args: argparse.Namespace) -> Iterator[Subject]:
    from rtx.cli.probe import chosen_device
    from rtx.influence.subject import of_run, of_source

    given = {name: getattr(args, name) for name in _OF_SOURCES if getattr(args, name) is not None}
    device, tests = chosen_device(args.device), args.test_images or None
    if args.runs:
        if given:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise BadValue(f"{flags}: only with --source; a run has them in its config")
        folders = [Path(run) for run in args.runs]
        missing = [str(folder) for folder in folders if not folder.is_dir()]
        if missing or len({folder.name for folder in folders}) < len(folders):
            raise BadValue(f"run folders {missing or args.runs}: must be there, each with a name of its own")
        how: dict[str, Any] = dict(device=device, batch_size=args.batch_size, workers=args.workers)
        for folder in folders:
            yield of_run(folder, data_root=args.data_root, tests=tests, seed=args.seed, **how)
        return
    if not args.target or not args.data_root:
        raise BadValue("--source needs --target NAME and --data-root DIR")
    from rtx.probe.run import ProbeOptions, check_options

    images = given.pop("images", None)
    given |= {"decays": tuple(given["decays"])} if "decays" in given else {}
    asked = [
        ProbeOptions(
            (spec,), data_root=args.data_root, images=(images,), device=device, batch_size=args.batch_size,
            workers=args.workers, **given,
        )
        for spec in args.source
    ]  # fmt: skip
    for one in asked:  # before the first long pass
        check_options(one)
    for one in asked:
        yield of_source(one, tests, args.seed)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rates in percent with 95 % intervals over test images, and the published ones."""
    from rtx.cli.experiments import columns
    from rtx.reports.published.utrera import INFLUENCE

    def text(rate: dict[str, float] | None, sign: str = "") -> str:
        if rate is None:
            return "-"
        return f"{100 * rate['value']:{sign}.1f} ({100 * rate['low']:{sign}.1f} to {100 * rate['high']:{sign}.1f})"

    lines: list[tuple[str, ...]] = [("head", "top-1 match", "minus first", "3 of top 5", "minus first")]
    for row in rows:
        cells = (
            part for key in ("top1", "three_of_five") for part in (text(row[key]), text(row[f"{key}_minus_first"], "+"))
        )
        lines.append((row["name"], *cells))
    for name, (top, three) in INFLUENCE.items():
        lines.append((f"published, {name}", f"{100 * top:.1f}", "", f"{100 * three:.1f}", ""))
    return "training images of the label of the test image, %, with 95 % intervals over test images\n\n" + columns(
        lines
    )
