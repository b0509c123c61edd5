"""Error, mCE and rPC of a classifier on stored corrupted images, ROOT/<corruption>/<severity>/<class>/<image>.

    rtx imagenet_c data/imagenet-c --clean data/imagenet/val --source resnet50_l2_eps3 --out runs/r50_eps3
    rtx imagenet_c data/imagenet-c --config resnet50.py --checkpoint resnet50.pth --out runs/r50

The pixels are those of the files. (`rtx corrupt_eval` with a classifier's config makes its own, which are not
ImageNet-C's to the bit, and so has no mCE.) Class folders are taken in sorted order, as ImageNet's; --classes names a
file with one folder name a line, in the order of the network's outputs. What --out holds is not evaluated again.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from rtx.cli.sweeping import Sweep
from rtx.errors import BadValue
from rtx.evaluation.protocol import Protocol
from rtx.results.folder import CELLS_CSV, IMAGENET_C, SUMMARY

OPTIONS = tuple("corruptions severities limit seed batch_size workers amp keep_predictions resamples".split())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from rtx.cli.engine import add_engine_arguments, add_track_argument
    from rtx.cli.options import SHARD_HELP, add_launcher_arguments, add_protocol_arguments

    parser.add_argument("root", metavar="ROOT", help="holds <corruption>/<severity>/<class>/<image>")
    parser.add_argument("--clean", metavar="DIR", help="class folders of the clean images, for P, rPC and relative mCE")
    parser.add_argument("--config", metavar="FILE", help="config of an mmpretrain classifier")
    parser.add_argument("--checkpoint", metavar="FILE", help="its weights")
    parser.add_argument("--out", required=True, help="output folder")
    parser.add_argument(
        "--classes", metavar="FILE", help="folder names in the order of the network's outputs, one a line"
    )
    parser.add_argument(
        "--stored",
        choices=("as_is", "resize"),
        default="as_is",
        help="stored images are cropped from the middle only (ImageNet-C), or resized as clean ones are",
    )
    add_protocol_arguments(parser, OPTIONS, batch_size=32)
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; default: a GPU where there is one")
    parser.add_argument("--overwrite", action="store_true", help="evaluate again, and replace what --out holds")
    parser.add_argument("--source", metavar="NAME|ARCH:FILE", help="a published classifier of `rtx weights`")
    parser.add_argument("--shard", metavar="I/N", help=SHARD_HELP)
    add_engine_arguments(parser)
    add_track_argument(parser)
    add_launcher_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate, and print the errors."""
    from rtx.cli.engine import engine_of
    from rtx.cli.options import protocol_of, shard_of

    if bool(args.config) == bool(args.source) or bool(args.config) != bool(args.checkpoint):
        raise BadValue("name the classifier: --source NAME, or --config FILE and --checkpoint FILE")
    protocol = protocol_of(args)  # a wrong name fails before anything is loaded
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    sweep = Sweep(overwrite=args.overwrite, shard=shard_of(args), engine=engine_of(args), track=args.track)
    return sweep.run(lambda: _run(args, protocol, sweep))


def _run(args: argparse.Namespace, protocol: Protocol, sweep: Sweep) -> int:
    from rtx import config as configs
    from rtx.cli.options import merge_options
    from rtx.datasets.openmmlab.image_loader import with_checked_images
    from rtx.evaluation.models.load import load_model
    from rtx.evaluation.models.source_classifier import source_classifier
    from rtx.evaluation.pixels.stored import Stored
    from rtx.evaluation.pixels.stored_files import find_stored

    files = find_stored(Path(args.root), Path(args.clean) if args.clean else None, _lines(args.classes))
    pixels = Stored(files, args.stored)
    sweep.conditions = pixels.conditions(protocol)
    checkpoint = Path(args.checkpoint) if args.checkpoint else None
    if checkpoint is None:
        model: Any = source_classifier(args.source, files.classes, sweep.start(args))
        data: Any = files.base
    else:
        data = configs.load(args.config)
        merge_options(data, args.cfg_options or {})
        data = with_checked_images(data)
        model = load_model(data, checkpoint, sweep.start(args, data))
    labels = {"run": args.source if checkpoint is None else checkpoint.parent.name}
    sweep.out = Path(args.out)
    summary = sweep.evaluate(model, data, protocol, pixels=pixels, checkpoint=checkpoint, labels=labels)
    if sweep.rank == 0 and sweep.is_over(summary):
        print(table(summary))
        out = sweep.out
        print(f"errors: {out / IMAGENET_C}   summary: {out / SUMMARY}   cells: {out / CELLS_CSV}")
    return 0


def table(summary: dict[str, Any]) -> str:
    """Errors and CE by corruption, and their means, as Markdown; percent."""
    from rtx.results.summary import percent, with_interval

    found = summary["imagenet_c"]
    lines = [f"**PREVIEW: {summary['n_images']} images only.**", ""] if summary["preview"] else []
    lines += ["| corruption | error | CE | relative CE |", "|---|---:|---:|---:|"]
    for name, error in found["error"].items():
        cells = [percent(error), percent(found["CE"][name]), percent(found["relative_CE"].get(name))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    mean = [percent(v) for v in (found["mCE"], found["relative_mCE"])]
    lines += [f"| **{found['label']}** | | **{mean[0]}** | **{mean[1]}** |", ""]
    if not found["complete"]:
        lines.append(f"INCOMPLETE: {len(found['missing'])} of 75 cells are missing; {found['label']} is no mCE.")
    lines.append(
        f"top-1 error on clean images {percent(found['clean_error'])}; top-1 accuracy P {with_interval(summary, 'P')}, "
        f"{summary['label']} {with_interval(summary, 'mPC')}, rPC {with_interval(summary, 'rPC')}; "
        f"{summary['n_images']} images"
    )
    return "\n".join(lines)


def _lines(path: str | None) -> list[str] | None:
    if path is None:
        return None
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadValue(f"--classes {path}: cannot be read ({error}); write one folder name a line") from error
    return [line.split()[0] for line in text.splitlines() if line.strip()]
