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
import os
import sys
from pathlib import Path
from typing import Any

from rtx.cli.sweeping import Sweep, check_resamples
from rtx.errors import BadValue
from rtx.evaluation.sweep.events import Event
from rtx.types import SEVERITIES

HELP = "error, mCE and rPC of a classifier on ImageNet-C-style folders"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    from mmengine.config import DictAction

    parser.add_argument("root", metavar="ROOT", help="holds <corruption>/<severity>/<class>/<image>")
    parser.add_argument("--clean", metavar="DIR", help="class folders of the clean images, for P, rPC and relative mCE")
    parser.add_argument("--config", metavar="FILE", help="config of an mmpretrain classifier")
    parser.add_argument("--checkpoint", metavar="FILE", help="its weights")
    parser.add_argument("--out", required=True, help="output folder")
    parser.add_argument(
        "--classes", metavar="FILE", help="folder names in the order of the network's outputs, one a line"
    )
    parser.add_argument("--corruptions", nargs="+", default=["benchmark"], metavar="NAME", help="names or groups")
    parser.add_argument("--severities", nargs="+", type=int, default=list(SEVERITIES), metavar="S", help="1 to 5")
    parser.add_argument(
        "--stored",
        choices=("as_is", "resize"),
        default="as_is",
        help="stored images are cropped from the middle only (ImageNet-C), or resized as clean ones are",
    )
    parser.add_argument("--limit", type=int, help="a seeded subset of this many images (labelled PREVIEW)")
    parser.add_argument("--seed", type=int, default=0, help="of that subset")
    parser.add_argument("--batch-size", type=int, default=32, help="images a forward pass")
    parser.add_argument(
        "--workers", type=int, help="loader processes; default: 2, or 0 on a CPU of fewer than 4 processors"
    )
    parser.add_argument("--amp", action="store_true", help="autocast the forward pass; named in the protocol card")
    parser.add_argument("--keep-predictions", action="store_true", help="write predictions/ too")
    parser.add_argument(
        "--resamples", type=int, default=1000, metavar="N", help="resamplings of the images for intervals; 0 for none"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; default: a GPU where there is one")
    parser.add_argument("--overwrite", action="store_true", help="evaluate again, and replace what --out holds")
    parser.add_argument("--source", metavar="NAME|ARCH:FILE", help="a published classifier of `rtx weights`")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE", help="override the config")
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="job launcher")
    parser.add_argument(
        "--local_rank", "--local-rank", type=int, default=int(os.environ.get("LOCAL_RANK", 0)), help=argparse.SUPPRESS
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate, and print the errors."""
    from rtx.results.conditions import grid

    if bool(args.config) == bool(args.source) or bool(args.config) != bool(args.checkpoint):
        raise BadValue("name the classifier: --source NAME, or --config FILE and --checkpoint FILE")
    grid(args.corruptions, args.severities)  # a wrong name fails before anything is loaded
    check_resamples(args.resamples)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    sweep = Sweep(overwrite=args.overwrite)
    return sweep.run(lambda: _run(args, sweep))


def _run(args: argparse.Namespace, sweep: Sweep) -> int:
    from mmengine.dist import get_rank

    from rtx import config as configs
    from rtx.cli.live import display
    from rtx.datasets.openmmlab.image_loader import with_checked_images
    from rtx.evaluation.models.load import load_model
    from rtx.evaluation.models.source_classifier import source_classifier
    from rtx.evaluation.pixels.stored import evaluate_stored
    from rtx.evaluation.pixels.stored_files import find_stored
    from rtx.evaluation.sweep import share

    stored = find_stored(Path(args.root), Path(args.clean) if args.clean else None, _lines(args.classes))
    sweep.conditions = stored.wanted(args.corruptions, args.severities)
    device = args.device or share.default_device(args.local_rank)
    options: dict[str, Any] = {}
    if args.source:
        share.start(args.launcher)
        model: Any = source_classifier(args.source, stored.classes, device)
        run_name = args.source
    else:
        cfg = with_checked_images(configs.load(args.config, args.cfg_options))
        share.start(args.launcher, cfg.get("env_cfg", {}).get("dist_cfg"))
        model = load_model(cfg, Path(args.checkpoint), device)
        options |= {"cfg": cfg, "checkpoint": Path(args.checkpoint)}
        run_name = Path(args.checkpoint).parent.name
    for name in ("corruptions", "severities", "limit", "seed", "batch_size", "workers", "amp", "keep_predictions"):
        options[name] = getattr(args, name)
    options |= {"images": args.stored, "labels": {"run": run_name}}
    options |= {"overwrite": args.overwrite, "resamples": args.resamples}
    sweep.out, sweep.rank = Path(args.out), get_rank()
    with display(limit=args.limit, quiet=sweep.rank > 0) as shown:

        def on_event(event: Event) -> None:
            sweep.note(event)
            shown(event)

        summary = evaluate_stored(model, stored, sweep.out, on_event=on_event, **options)
    if sweep.rank == 0:
        print(table(summary))
        out = sweep.out
        print(f"errors: {out / 'imagenet_c.json'}   summary: {out / 'summary.json'}   cells: {out / 'cells.csv'}")
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
