"""Stylised training images: a copy of a data folder to train on.

    rtx stylise data/coco --styles paintings --encoder vgg_normalised.pth --decoder decoder.pth --out data/stylised
    tools/train.py configs/maskrcnn_r50_coco.py --data-root data/stylised

The folder has the layout of COCO, VOC, YOLO, Cityscapes or ADE20K. Style transfer is AdaIN (Huang & Belongie, 2017), as
for Stylized-ImageNet (Geirhos et al., 2019); the two weights files and the pictures are the user's. Images for
validation and all labels are copied as they are. `manifest.jsonl` names the style of each image; a second call goes on
where the first one ended. Broken images are listed, the rest is done, and the exit status is 1.
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path

from rtx.cli.corrupt import show_failures, show_progress
from rtx.datasets.layouts import CHOICES
from rtx.errors import BadValue, DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `rtx stylise`."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the data folder")
    parser.add_argument("--out", type=Path, required=True, help="where the copy goes")
    parser.add_argument("--styles", type=Path, required=True, metavar="DIR", help="pictures to take styles from")
    parser.add_argument("--encoder", type=Path, required=True, metavar="FILE", help="vgg_normalised.pth of AdaIN")
    parser.add_argument("--decoder", type=Path, required=True, metavar="FILE", help="decoder.pth of AdaIN")
    parser.add_argument("--strength", type=float, default=1.0, metavar="A", help="of the style, 0 to 1; default 1")
    parser.add_argument("--seed", type=int, default=0, help="decides which image gets which style")
    parser.add_argument("--layout", choices=CHOICES, default="auto", help="of the data folder")
    parser.add_argument("--split", help="which images are stylised; default: those for training")
    parser.add_argument("--limit", type=int, help="only the first images")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; default: a GPU where there is one")
    saving = parser.add_mutually_exclusive_group()
    saving.add_argument("--quality", type=int, default=95, help="of JPEG files, 1 to 100")
    saving.add_argument("--lossless", action="store_true", help="write PNG content under every file name")


def run(args: argparse.Namespace) -> int:
    """Write the copy."""
    from dataclasses import replace

    import torch

    from rtx.augment.adain import Stylist
    from rtx.augment.stylise import digest_of, find_styles, find_training, stylise
    from rtx.datasets.layouts import find_images
    from rtx.evaluation.models.load import check_device
    from rtx.files import file_sha256

    if not 1 <= args.quality <= 100:
        raise BadValue(f"--quality {args.quality}: must be from 1 to 100")
    if args.limit is not None and args.limit < 1:
        raise BadValue(f"--limit {args.limit}: must be 1 or more")
    out, home = args.out.resolve(), args.folder.resolve()
    if out == home or out.is_relative_to(home) or home.is_relative_to(out):
        raise BadValue(f"--out {args.out}: the copy and {args.folder} must lie beside each other, not in each other")
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    check_device(device)
    stylist = Stylist(args.encoder, args.decoder, alpha=args.strength, device=device)
    styles = find_styles(args.styles)
    folder = find_training(args.folder, args.layout, args.split)
    kept = None
    with suppress(DataError):  # nothing to evaluate on is no reason against training images
        kept = find_images(args.folder, folder.layout)
    if args.limit:
        folder = replace(folder, images=folder.images[: args.limit])
    settings = {
        "method": "adain",
        "strength": args.strength,
        "seed": args.seed,
        "quality": None if args.lossless else args.quality,
        "encoder_sha256": file_sha256(args.encoder),
        "decoder_sha256": file_sha256(args.decoder),
        "styles_sha256": digest_of(styles),
    }
    print(f"{args.folder}: layout {folder.layout}, {len(folder.images)} images, styles of {len(styles)} pictures")
    outcome = stylise(folder, styles, args.out, stylist, settings, kept=kept, progress=show_progress)
    print(f"{args.out}: {outcome.written} stylised, {outcome.kept} were there; use it as --data-root")
    return show_failures(outcome.failed, len(folder.images))
