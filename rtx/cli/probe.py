"""Linear probes: how well heads on the frozen features of sources do on a target, for sizes of training set and seeds.

rtx probe --source resnet50_l2_eps0 resnet50_l2_eps3 --target caltech101 --data-root DIR --images 100 200 400 all

One pass over the images for each source and split, kept in --cache; then heads for all seeds at once. The same command
again goes on with what is missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rtx.cli.options import add_import_argument
from rtx.errors import BadValue

if TYPE_CHECKING:
    from rtx.probe.results import Results
    from rtx.probe.run import ProbeOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments; `rtx.probe.run.ProbeOptions` has the defaults."""
    add = parser.add_argument
    add("--source", nargs="+", required=True, metavar="NAME", help="NAME, FILE, ARCH:FILE, ARCH:random, timm:NAME ...")
    add_import_argument(parser)
    add("--target", required=True, metavar="NAME", help="a target of `rtx targets list`")
    add("--data-root", required=True, type=Path, metavar="DIR", help="its folder")
    add("--images", nargs="+", default=["all"], metavar="N", help="training images: numbers, or all (default)")
    add("--seeds", type=int, metavar="N", help="subsets of each size, seeds 0 to N-1 (default 20); one of all images")
    add("--subset-rule", metavar="RULE", help="stratified (default; every class) or utrera_code (numpy's choice)")
    add("--subset", action="store_const", const=True, help="the folder holds a part of the published set")
    add("--caltech-split", metavar="RULE", help="first (default; in file order), random or random:SEED")
    add("--head", metavar="NAME", help="logistic (default; L-BFGS), or SGD as salman, utrera or yamada")
    add("--head-init", metavar="NAME", help="of SGD: default (PyTorch's) or utrera (N(0, 1), bias 0)")
    add("--select", metavar="ON", help="weight decay chosen on held-out (default; of the training images) or test")
    add("--decays", nargs="+", type=float, metavar="D", help="weight decays, relative to the spread of the features")
    add("--preprocessing", metavar="NAME", help="salman (default) or utrera; of SGD the recipe's")
    add("--image-size", type=int, metavar="PIXELS", help="side of the network's input; default 224")
    add("--normalise", metavar="NAME", help="imagenet (default; as the source) or upstream")
    add("--view", metavar="VIEW", help="what is seen of each image: downscale:32, lowpass:keep32 ...; default none")
    add("--device", metavar="DEVICE", help="cpu, cuda or cuda:N; default: the GPU where there is one")
    add("--batch-size", type=int, metavar="N", help="images of a forward pass; default 64")
    add("--workers", type=int, metavar="N", help="threads that decode images; default 4")
    add("--memory", type=float, metavar="GB", help="what fitting heads may take; default 1")
    add("--cache", type=Path, metavar="DIR", help="folder of the features; default work_dirs/features")
    add("--out", type=Path, metavar="DIR", help="folder of the results; default work_dirs/probe")


def run(args: argparse.Namespace) -> int:
    """Probe, print the table."""
    from rtx.datasets.classification import MEAN_PER_CLASS, find_target
    from rtx.probe.results import CSV, write_csv
    from rtx.probe.run import run_probe
    from rtx.probe.summary import metric_name

    by_class = find_target(args.target).metric == MEAN_PER_CLASS
    options = options_of(args)
    results = list(run_probe(options))
    write_csv(options.out / CSV, _all(options.out))
    print(table(results, metric_name(by_class)))
    print(f"\nevery head: {options.out / CSV}")
    return 0


def options_of(args: argparse.Namespace) -> ProbeOptions:
    """What the flags ask for.

    Raises:
        BadValue: a size that is no number, or a device that is not there.
    """
    from rtx.probe.run import ProbeOptions

    names = (
        "seeds", "subset_rule", "subset", "caltech_split", "head", "head_init", "select", "preprocessing",
        "image_size", "normalise", "view", "batch_size", "workers", "cache", "out",
    )  # fmt: skip
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.decays is not None:
        given["decays"] = tuple(args.decays)
    if args.memory is not None:
        if not args.memory > 0:
            raise BadValue(f"--memory {args.memory}: must be more than 0 GB")
        given["memory"] = int(args.memory * 2**30)
    images = tuple(None if word == "all" else _whole(word) for word in args.images)
    device = chosen_device(args.device)
    given["imports"] = tuple(args.imports)
    return ProbeOptions(tuple(args.source), args.target, args.data_root, images, device=device, **given)


def _whole(word: str) -> int:
    if not word.isdigit() or int(word) < 1:
        raise BadValue(f"--images {word}: must be a whole number, 1 or more, or all")
    return int(word)


def chosen_device(name: str | None) -> str:
    """The device asked for; the GPU where there is one and none was.

    Raises:
        BadValue: it cannot be used.
    """
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise BadValue(f"--device {name}: cannot be used here ({str(error).splitlines()[0]})") from error
    return name


def _all(folder: Path) -> list[Results]:
    from rtx.probe.results import read_results

    return [read_results(path) for path in sorted(folder.glob("*.json"))]


def table(results: Sequence[Results], metric: str) -> str:
    """Scores over seeds in percent, then differences to the first source."""
    from rtx.cli.experiments import columns
    from rtx.probe.summary import by_images, differences

    first = results[0]
    on = sorted({row.selected_on for found in results for row in found.rows})
    chosen = {"none": "last epoch of SGD", "default": "default weight decay, nothing could be held out"}
    how = "; ".join(chosen.get(word, f"weight decay selected on {word}") for word in on)
    lines = [f"{first.settings['target']}: {metric.replace('_', ' ')} in percent; {how}", ""]
    rows: list[tuple[str, ...]] = [("source", "images", "seeds", "mean", "std", "min", "max", "95 % interval")]
    for found in results:
        for images, s in by_images(found, metric).items():
            numbers = (_percent(value) for value in (s.mean, s.deviation, s.lowest, s.highest))
            rows.append((found.source, str(images), str(s.n), *numbers, _interval(s.t)))
    lines.append(columns(rows))
    if len(results) > 1:
        rows = [("minus " + first.source, "images", "seeds", "mean", "std", "95 % interval, paired by seed")]
        for found in results[1:]:
            for images, s in differences(found, first, metric).items():
                rows.append(
                    (found.source, str(images), str(s.n), _signed(s.mean), _percent(s.deviation), _interval(s.t))
                )
        lines += ["", columns(rows)]
    edge = [(found.source, row) for found in results for row in found.rows if row.at_edge]
    if edge:
        lines += ["", f"{len(edge)} heads chose an end of the grid of weight decays; --decays sets a wider one"]
    loose = sum(not row.converged for found in results for row in found.rows)
    if loose:
        lines += ["", f"{loose} heads did not reach the tolerance"]
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _signed(value: float) -> str:
    return f"{100 * value:+.2f}"


def _interval(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None else f"{_percent(ends[0])} to {_percent(ends[1])}"
