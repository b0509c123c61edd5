"""Corrupt an image or a data folder, into files or one contact sheet.

    rtx corrupt photo.jpg --out sheet.png                          15 corruptions x 5 severities on one sheet
    rtx corrupt photo.jpg --out folder                             75 files
    rtx corrupt data/coco --out corrupted --corruptions fog blur   val images in COCO's layout, one folder a condition

The pixels are those of `rtx corrupt_eval` under the same engine, seed and channel order. A data folder in the layout of
COCO, VOC, YOLO, Cityscapes or ADE20K is recognised, and its annotations go along. `manifest.jsonl` has the hashes; a
second call goes on where the first one ended. Broken images are listed at the end, the rest is done, and the exit
status is 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rtx.corruptions import DEFAULT_ENGINE, ENGINES, expand
from rtx.datasets.image_files import SUFFIXES
from rtx.datasets.layouts import CHOICES
from rtx.errors import BadValue, DataError
from rtx.types import SEVERITIES, Condition

FAILED = 1
SHOWN = 20
"""How many images that failed are named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `rtx corrupt`."""
    parser.add_argument("input", type=Path, metavar="IMAGE_OR_FOLDER")
    parser.add_argument("--out", type=Path, required=True, help="a folder, or an image file for a contact sheet")
    parser.add_argument(
        "--corruptions", nargs="+", default=["benchmark"], metavar="NAME", help="names or groups; benchmark"
    )
    parser.add_argument("--severities", nargs="+", type=int, default=list(SEVERITIES), metavar="S", help="1 to 5")
    parser.add_argument("--seed", type=int, default=0, help="corruption seed")
    parser.add_argument("--engine", choices=sorted(ENGINES), default=DEFAULT_ENGINE, help="what makes the pixels")
    parser.add_argument(
        "--compare", choices=sorted(ENGINES), help="a second engine beside the first, on a contact sheet"
    )
    parser.add_argument(
        "--channel-order", choices=["rgb", "bgr_legacy"], default="rgb", help="what corruptions are given"
    )
    parser.add_argument("--layout", choices=CHOICES, default="auto", help="of a data folder")
    parser.add_argument("--split", help="which images of a data folder: a folder of COCO, a list of VOC, ...")
    parser.add_argument("--limit", type=int, help="only the first images")
    parser.add_argument("--processes", type=int, default=1, help="images worked on at once")
    saving = parser.add_mutually_exclusive_group()
    saving.add_argument("--quality", type=int, default=95, help="of JPEG files, 1 to 100")
    saving.add_argument("--lossless", action="store_true", help="write PNG content under every file name")


def run(args: argparse.Namespace) -> int:
    """Export, or draw the sheet."""
    from rtx.corruptions.settings import Settings

    names = expand(args.corruptions)
    for number, what, low, high in ((args.quality, "--quality", 1, 100), (args.processes, "--processes", 1, 4096)):
        if not low <= number <= high:
            raise BadValue(f"{what} {number}: must be from {low} to {high}")
    if args.limit is not None and args.limit < 1:
        raise BadValue(f"--limit {args.limit}: must be 1 or more")
    conditions = [Condition(name, severity) for name in names for severity in sorted(set(args.severities))]
    settings = Settings(args.engine, args.seed, args.channel_order, None if args.lossless else args.quality)
    if args.out.suffix.lower() in SUFFIXES:
        return _sheet(args, names, settings)
    if args.compare:
        raise BadValue(f"--compare draws a contact sheet: --out must be an image file, got {args.out}")
    return _export(args, conditions, settings)


def _sheet(args: argparse.Namespace, names: tuple[str, ...], settings) -> int:  # type: ignore[no-untyped-def]  # noqa: ANN001
    from dataclasses import replace

    from rtx.datasets.image_files import read_rgb
    from rtx.datasets.sheet import write_sheet

    if args.input.is_dir():
        raise BadValue(f"{args.input}: a contact sheet is of one image; name an image, or a folder as --out")
    image = read_rgb(args.input)
    both = [settings, *([replace(settings, engine=args.compare)] if args.compare else [])]
    write_sheet(args.out, image, args.input.stem, names, sorted(set(args.severities)), both, quality=args.quality)
    print(f"{args.out}: {len(names)} corruptions x {len(set(args.severities))} severities of {args.input.name}")
    return 0


def _export(args: argparse.Namespace, conditions: list[Condition], settings) -> int:  # type: ignore[no-untyped-def]  # noqa: ANN001
    from dataclasses import replace

    from rtx.datasets.export import export
    from rtx.datasets.layout import DataFolder
    from rtx.datasets.layouts import find_images
    from rtx.datasets.manifest import MANIFEST

    out, source = args.out.resolve(), args.input.resolve()
    home = source if args.input.is_dir() else source.parent
    if home == source and out.is_relative_to(source):
        raise BadValue(
            f"--out {args.out}: lies in the data folder, and a second call would corrupt what the first one wrote; "
            f"name a folder outside of it, e.g. {source}_corrupted"
        )
    mixed = next((condition for condition in conditions if home.is_relative_to(out / condition.key)), None)
    if mixed is not None:
        raise BadValue(f"--out {args.out}: {args.out / mixed.key} is what is read; name another folder")
    if args.input.is_dir():
        folder = find_images(args.input, args.layout, args.split)
    elif args.input.is_file():
        folder = DataFolder(args.input.parent, "folder", (Path(args.input.name),))
    else:
        raise DataError(f"{args.input}: no such file or folder; check the path")
    if args.limit:
        folder = replace(folder, images=folder.images[: args.limit])
    for note in folder.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{args.input}: layout {folder.layout}, {len(folder.images)} images x {len(conditions)} conditions")
    outcome = export(folder, args.out, conditions, settings, processes=args.processes, progress=show_progress)
    print(f"{args.out}: {outcome.written} files written, {outcome.kept} were there; hashes in {args.out / MANIFEST}")
    return show_failures(outcome.failed, len(folder.images))


def show_failures(failed: Sequence[tuple[str, str]], total: int) -> int:
    """Name the images that failed; the exit status."""
    for image, reason in failed[:SHOWN]:
        print(f"failed: {image}: {reason}", file=sys.stderr)
    if len(failed) > SHOWN:
        print(f"failed: {len(failed) - SHOWN} more", file=sys.stderr)
    if failed:
        print(f"{len(failed)} of {total} images failed, the rest is done", file=sys.stderr)
        return FAILED
    return 0


def show_progress(done: int, total: int, seconds: float) -> None:
    """One line that a terminal overwrites."""
    left = seconds / done * (total - done)
    line = f"{done}/{total} images, {done / max(seconds, 1e-9):.1f} images/s, {left:.0f} s left"
    end = "\n" if done == total or not sys.stderr.isatty() else "\r"
    print(line.ljust(60), end=end, file=sys.stderr, flush=True)
