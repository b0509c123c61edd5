"""Train a robust source: `rtx train_source --data FOLDER --arch resnet18 --recipe pgd --threat l2 --eps 0.5`.

    rtx train_source --data data/imagenet --arch resnet50 --recipe pgd --threat l2 --eps 3    # Salman et al. (2020)
    rtx train_source --data data/imagenet --arch resnet50 --recipe pgd --threat l2 --eps 3 --attack-steps 1
    rtx train_source --target cifar10 --data DIR --from efficientnet_lite0_in1k --recipe free --threat linf --eps 4

Trains a classifier with everything trainable as `rtx train` does (`--amp`, `--launcher`, `--resume`, `--cfg-options`),
scores it on clean and attacked test images, and writes WORK_DIR/source.pth, which `--source` takes; its card says how
it was trained and how robust it is, and `rtx weights inspect` shows it.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from rtx.cli import train
from rtx.cli.hardening import add_hardening_arguments, hardening_of
from rtx.cli.options import add_launcher_arguments
from rtx.errors import BadValue

CONFIG = "configs/classify_r50.py"
FILE = "source.pth"
RECIPES = ("standard", "pgd", "free", "gaussian", "prime", "augmix")
_PASSED = ("epochs", "lr", "images", "image_size", "seed", "launcher")

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="class folders in train/ and val/, or the target's"
    )
    parser.add_argument("--target", default="folder", help="a row of `rtx targets list`; default: class folders")
    parser.add_argument("--subset", action="store_true", help="the folder holds a part of the published set")
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--arch", metavar="ARCH|timm:NAME", help="from random weights of this architecture")
    start.add_argument(
        "--from", dest="start", metavar="NAME|ARCH:FILE", help="from these weights, as --source takes them"
    )
    parser.add_argument("--recipe", choices=RECIPES, default="pgd", help="how it is hardened")
    add_hardening_arguments(parser)
    parser.add_argument("--epochs", type=int, help="default: 90")
    parser.add_argument(
        "--lr", type=float, help="default: 0.1, with --from 0.01; a tenth after each third of the epochs"
    )
    parser.add_argument("--batch-size", type=int, default=128, help="images a step and process")
    parser.add_argument("--images", type=int, metavar="N", help="train on N images, chosen by --seed")
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="side of the network's input; default 224")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and subset")
    parser.add_argument("--robust-images", type=int, metavar="N", default=1000, help="test images that are attacked")
    parser.add_argument("--robust-steps", type=int, metavar="N", default=20, help="steps of that attack")
    parser.add_argument("--config", default=CONFIG, help="config of an mmpretrain classifier with a linear head")
    parser.add_argument("--work-dir", required=True, help="run folder; the source is written there")
    parser.add_argument("--amp", action="store_true", help="automatic mixed precision")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --work-dir")
    add_launcher_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train, measure, write the source."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    hardening = hardening_of(args, args.recipe)  # a wrong number fails before anything is loaded
    for name in ("batch_size", "robust_images", "robust_steps"):
        if getattr(args, name) < 1:
            raise BadValue(f"--{name.replace('_', '-')} {getattr(args, name)}: must be 1 or more")
    from rtx.transfer.hardening import with_hardening

    words = train_words(args)
    parser = argparse.ArgumentParser(prog="rtx train")
    train.add_arguments(parser)
    asked = parser.parse_args(words)
    asked.cfg_options = {"train_dataloader.batch_size": args.batch_size, **(args.cfg_options or {})}
    asked.local_rank = args.local_rank
    cfg = with_hardening(train.prepare(asked), hardening)
    if status := train.start(asked, cfg):
        return status
    from mmengine.dist import is_main_process

    from rtx.training_source import write_source

    path, card = write_source(cfg, Path(args.work_dir) / FILE, images=args.robust_images, steps=args.robust_steps)
    if is_main_process():
        print("\n".join(f"{name}: {value}" for name, value in card.items()))
        print(f"use: --source {card['use'].replace(FILE, str(path))}")
    return 0


def train_words(args: argparse.Namespace) -> list[str]:
    """The words of `rtx train` that train this source.

    Raises:
        BadValue: the config is not there.
    """
    if not Path(args.config).is_file():
        raise BadValue(f"config {args.config!r} does not exist; run this in the project's folder, or give --config")
    arch = args.arch or ""
    source = args.start or (f"{arch}@random" if arch.startswith("timm:") else f"{arch}:random")
    words = [args.config, "--target", args.target, "--data-root", args.data, "--source", source]
    words += ["--recipe", "source", "--transfer", "full_strict", "--norm", "train", "--work-dir", args.work_dir]
    if args.start and args.lr is None:
        words += ["--lr", "0.01"]
    for name in _PASSED:
        value = getattr(args, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words + [f"--{name}" for name in ("subset", "amp", "resume") if getattr(args, name)]
