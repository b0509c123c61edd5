"""Error, mCE and rPC of a classifier on stored corrupted images, ROOT/<corruption>/<severity>/<class>/<image>.

    rtx imagenet_c data/imagenet-c --clean data/imagenet/val --source resnet50_l2_eps3 --out runs/r50_eps3
    rtx imagenet_c data/imagenet-c --config resnet50.py --checkpoint resnet50.pth --out runs/r50
    rtx imagenet_c --clean data/stylized_imagenet/val --source resnet50_in1k_v1 --out runs/r50_stylized

Without ROOT the clean images are all that is tested: the accuracy of a source's own classifier on any class folders.
The pixels are those of the files. (`rtx corrupt_eval` with a classifier's config makes its own, which are not
ImageNet-C's to the bit, and so has no mCE.) Class folders are taken in sorted order, as ImageNet's; --classes names a
file with one folder name a line, in the order of the network's outputs. What --out holds is not evaluated again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtx.cli.options import (
    add_import_argument,
    add_launcher_arguments,
    add_protocol_arguments,
    merge_options,
    protocol_of,
)
from rtx.cli.sweeping import Sweep, add_sweep_arguments
from rtx.errors import BadValue
from rtx.evaluation.protocol import Protocol
from rtx.results.folder import CELLS_CSV, IMAGENET_C, SUMMARY

if TYPE_CHECKING:
    from rtx.evaluation.pixels.stored_files import StoredSet

OPTIONS = tuple("corruptions severities limit seed batch_size workers amp view keep_predictions resamples".split())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "root", nargs="?", metavar="ROOT", help="holds <corruption>/<severity>/<class>/<image>; none: only --clean"
    )
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
    parser.add_argument("--source", metavar="NAME|ARCH:FILE", help="a published classifier of `rtx weights`")
    add_import_argument(parser)
    add_protocol_arguments(parser, OPTIONS, batch_size=32)
    add_sweep_arguments(parser)
    add_launcher_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate, and print the errors."""
    if bool(args.config) == bool(args.source) or bool(args.config) != bool(args.checkpoint):
        raise BadValue("name the classifier: --source NAME, or --config FILE and --checkpoint FILE")
    protocol = protocol_of(args)  # a wrong name fails before anything is loaded
    sweep = Sweep(args)
    return sweep.run(lambda: _run(args, protocol, sweep))


def _run(args: argparse.Namespace, protocol: Protocol, sweep: Sweep) -> int:
    from rtx.evaluation.pixels.stored import Stored
    from rtx.evaluation.pixels.stored_files import find_stored

    if not args.root and not args.clean:
        raise BadValue("give ROOT, the folder of corrupted images, or --clean DIR, that of clean ones, or both")
    files = find_stored(
        Path(args.root) if args.root else None, Path(args.clean) if args.clean else None, _lines(args.classes)
    )
    pixels = Stored(files, args.stored)
    sweep.conditions = pixels.conditions(protocol)
    checkpoint = Path(args.checkpoint) if args.checkpoint else None
    model, data = _model(args, checkpoint, files, sweep)
    labels = {"run": args.source if checkpoint is None else checkpoint.parent.name}
    sweep.out = Path(args.out)
    summary = sweep.evaluate(model, data, protocol, pixels=pixels, checkpoint=checkpoint, labels=labels)
    if sweep.is_over(summary):
        print(table(summary))
        out = sweep.out
        print(f"errors: {out / IMAGENET_C}   summary: {out / SUMMARY}   cells: {out / CELLS_CSV}")
    return 0


def _model(args: argparse.Namespace, checkpoint: Path | None, files: StoredSet, sweep: Sweep) -> tuple[Any, Any]:
    """The classifier, and what `rtx.evaluation.evaluate.evaluate` calls its data."""
    from rtx import config as configs
    from rtx.datasets.openmmlab.image_loader import with_checked_images
    from rtx.evaluation.models.load import load_model
    from rtx.evaluation.models.source_classifier import source_classifier

    if checkpoint is None:
        return source_classifier(args.source, files.classes, sweep.start(args)), files.base
    cfg = configs.load(args.config)
    merge_options(cfg, args.cfg_options or {})
    cfg = with_checked_images(cfg)
    return load_model(cfg, checkpoint, sweep.start(args, cfg)), cfg


def table(summary: dict[str, Any]) -> str:
    """Errors and CE by corruption, and their means, as Markdown; percent."""
    from rtx.results.summary import percent, with_interval

    found = summary["imagenet_c"]
    lines = [f"**PREVIEW: {summary['n_images']} images only.**", ""] if summary["preview"] else []
    if [*summary["cells"]] == ["clean"]:
        accuracy = with_interval(summary, "P")
        return "\n".join([*lines, f"top-1 accuracy P {accuracy} on clean images; {summary['n_images']} images"])
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
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadValue(f"--classes {path}: cannot be read ({error}); write one folder name a line") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
