"""What a network sees in images: what a unit answers to most, and what an image looks like through a representation.

rtx visualise SOURCE|RUN [SOURCE|RUN ...] --units 4 7 8           from noise, by gradient ascent in pixels
rtx visualise resnet50_l2_eps0 resnet50_l2_eps3 --units 4 --start cat.jpg dog.jpg
rtx visualise SOURCE --method maco --layer stage3 --units 12      Fourier and MACO also show standard networks
rtx visualise RUN --layer logits --units frog                     a class of a classifier's run
rtx visualise SOURCE [SOURCE ...] --invert cat.jpg                an image with the same representation

Each image, numbers and a sheet of all networks side by side are written; a command that was stopped goes on when it is
given again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rtx.errors import BadValue

OUT = Path("work_dirs/visualise")
UNITS = ("4", "7", "8")
"""The first of those that Utrera et al. (2021, A.1) show."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add("networks", nargs="+", metavar="SOURCE|RUN", help="sources, as rtx probe takes them, or run folders")
    add("--layer", default="features", help="features (default), stage1 to stage4, logits of a run, or a module's name")
    add("--units", nargs="+", default=[], metavar="U", help=f"numbers, or classes; default {' '.join(UNITS)}")
    add("--start", nargs="+", type=Path, default=[], metavar="IMAGE", help="start from these; default: from noise")
    add(
        "--invert", nargs="+", type=Path, default=[], metavar="IMAGE", help="match the layer's output for these instead"
    )
    add("--method", default="pixels", metavar="NAME", help="pixels (default; for robust networks), fourier or maco")
    add("--steps", type=int, metavar="N", help="default 1000 for pixels, 512 for fourier, 256 for maco")
    add("--step", type=float, metavar="S", help="L2 length of a step in pixels, 2; else the learning rate, 0.05 and 1")
    add("--eps", type=float, default=1000.0, metavar="E", help="of pixels: radius of the L2 ball; default 1000")
    add("--still", action="store_true", help="of fourier and maco: without random shifts, sizes, crops and noise")
    add("--magnitude", type=Path, metavar="DIR", help="of maco: images whose mean magnitude is kept; default 1/f")
    add("--tv", type=float, default=0.0, metavar="W", help="with --invert: weight of total variation; default 0")
    add("--no-fake-relu", action="store_true", help="let the layer's own ReLU stop gradients")
    add("--image-size", type=int, default=224, metavar="PIXELS", help="side of the images; default 224")
    add("--seed", type=int, default=0, help="of noise, spectra, phases and random changes; default 0")
    add("--batch-size", type=int, default=8, metavar="N", help="images of a pass; default 8")
    add("--device", metavar="DEVICE", help="default: the GPU where there is one")
    add("--overwrite", action="store_true", help="search again, and replace what other options left")
    add("--out", type=Path, default=OUT, metavar="DIR", help=f"default {OUT}")


def run(args: argparse.Namespace) -> int:
    """Search, write, and say where."""
    from rtx.cli.probe import chosen_device
    from rtx.visualise.report import SHEET, Wanted, draw, found_in, load_image, make
    from rtx.visualise.search import Search
    from rtx.visualise.subject import look_at

    how = Search(args.method, args.steps, args.step, args.eps, not args.still, args.seed)
    units = tuple(args.units) if args.units or args.invert else UNITS
    device = chosen_device(args.device)
    wanted = Wanted(
        args.layer, units, tuple(args.start), tuple(args.invert), how, args.image_size, not args.no_fake_relu, args.tv,
        args.magnitude, args.batch_size, device,
    )  # fmt: skip
    for path in (*wanted.starts, *wanted.invert):  # before the first long search
        load_image(path, 32)
    looked = [look_at(spec, device, args.seed) for spec in args.networks]
    names = [one.name for one in looked]
    if len(set(names)) < len(names):
        raise BadValue(f"{', '.join(names)}: two networks have one name; give files and folders of different names")
    for one in looked:
        found_in(one, wanted)
    rows = []
    for one in looked:
        rows.append(make(one, wanted, args.out, overwrite=args.overwrite))
        for row in rows[-1]:
            key = "distance" if wanted.invert else "activation"
            what = f"{row['what']} from {row['start']}"
            print(f"{one.name}: {what}: {key} {row[f'{key}_before']:.4g} to {row[f'{key}_after']:.4g}", flush=True)
    draw(names, rows, wanted, args.out)
    print(f"\n{args.out / SHEET}.png")
    return 0
