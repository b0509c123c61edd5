"""Weights: list the catalogue of sources, fetch, inspect and convert files, interpolate two trained models.

  rtx weights list [WORD ...] [--arch A] [--threat none|l2|linf]
  rtx weights fetch NAME ... [--folder DIR]
  rtx weights inspect FILE
  rtx weights convert FILE --to mmdet|mmseg|mmpretrain|torchvision|detectron2 [--out FILE]
  rtx weights interpolate A|source B [--alpha 0:1:0.1] [--out DIR] [--sweep OPTION ...]

No code from a weights file is ever run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from rtx.cli.interpolate import add_interpolate_arguments, run_interpolate
from rtx.errors import UnknownName
from rtx.sources.catalog.record import Source
from rtx.sources.catalog.rows import CATALOG, find
from rtx.sources.catalog.spec import parse_spec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="|".join(_COMMANDS))
    listing = commands.add_parser("list", help="the catalogue as a table")
    listing.add_argument("words", nargs="*", help="parts of name, recipe or paper; all must occur")
    listing.add_argument("--arch", help="only this architecture")
    listing.add_argument("--threat", choices=("none", "l2", "linf"), help="only this kind of training adversary")
    listing.add_argument("--max-eps", type=float, help="only up to this eps (Linf in 255ths)")
    listing.add_argument("--json", action="store_true", help="every field of every record")
    fetching = commands.add_parser("fetch", help="download files, resumed and checked")
    fetching.add_argument("names", nargs="+", metavar="NAME", help="source or short name")
    fetching.add_argument("--folder", type=Path, help="where to (default: $RTX_WEIGHTS or weights/)")
    looking = commands.add_parser("inspect", help="what is in a file")
    looking.add_argument("file", type=Path)
    looking.add_argument("--json", action="store_true")
    turning = commands.add_parser("convert", help="write a file in another framework's form")
    turning.add_argument("file", type=Path)
    turning.add_argument(
        "--to", required=True, metavar="TARGET", help="mmdet, mmseg, mmpretrain, torchvision or detectron2"
    )
    turning.add_argument("--out", type=Path, help="default: FILE with the target in its name; .safetensors works too")
    turning.add_argument("--arch", help="architecture, where the keys do not show it")
    add_interpolate_arguments(commands.add_parser("interpolate", help="models between two trained ones (WiSE-FT)"))


def run(args: argparse.Namespace) -> int:
    """Run one subcommand; 1 from `inspect` means that the file cannot be used as it is."""
    return _COMMANDS[args.what](args)


def _list(args: argparse.Namespace) -> int:
    from rtx.sources.catalog.archs import find_arch

    if args.arch:
        find_arch(args.arch)
    found = select(args.words, arch=args.arch, threat=args.threat, max_eps=args.max_eps)
    if args.json:
        print(json.dumps([asdict(source) for source in found], indent=1))
        return 0
    cells = [HEADER, *rows(found)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in (HEADER, ["-" * width for width in widths], *cells[1:]):
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    print(
        f"\n{len(found)} sources; top-1 in percent as published; fields under 'unverified' rest on memory or inference"
    )
    return 0


def _fetch(args: argparse.Namespace) -> int:
    from rtx.sources.fetch import fetch

    sources = [parse_spec(name).source or find(name) for name in args.names]
    for source in sources:
        print(f"{source.name}: {source.filename} (licence: {source.licence})", flush=True)
        path = fetch(source, args.folder, progress=_progress if sys.stderr.isatty() else None)
        print(f"{source.name}: {path}", flush=True)
    return 0


def _progress(done: int, total: int | None) -> None:
    text = f"{done / 1e6:,.0f} MB" + (f" of {total / 1e6:,.0f}" if total else "")
    print(f"\r  {text}", end="" if total is None or done < total else "\n", file=sys.stderr, flush=True)


def _inspect(args: argparse.Namespace) -> int:
    from rtx.sources.describe import as_text, describe

    facts = describe(args.file)
    print(json.dumps(facts, indent=1) if args.json else as_text(facts))
    return 1 if facts["problems"] else 0


def _convert(args: argparse.Namespace) -> int:
    from rtx.sources.convert import convert, hint

    suffix = ".pkl" if args.to == "detectron2" else ".pth"
    out = args.out or args.file.with_name(f"{args.file.name.split('.pt')[0].split('.ckpt')[0]}_{args.to}{suffix}")
    meta = convert(args.file, args.to, out, arch=args.arch)
    print(f"{out}: {meta['arch']} for {args.to}\nuse: {hint(args.to, meta['arch'], out)}")
    return 0


_COMMANDS = {"list": _list, "fetch": _fetch, "inspect": _inspect, "convert": _convert, "interpolate": run_interpolate}
HEADER = ("name", "architecture", "threat", "eps", "top-1", "layout", "licence", "file", "unverified")


def select(
    words: Sequence[str] = (), *, arch: str | None = None, threat: str | None = None, max_eps: float | None = None
) -> list[Source]:
    """Catalogued sources that match every filter.

    Args:
        words: each must occur in the name, recipe or paper, upper or lower case; a short name counts as its source.
        arch: exact architecture.
        threat: "none", "l2" or "linf".
        max_eps: largest eps, in the units of the name (a Linf source's counts in 255ths).
    """
    return [
        source
        for source in CATALOG.values()
        if all(_matches(source, word) for word in words)
        and (arch is None or source.arch == arch)
        and (threat is None or source.threat == threat)
        and (max_eps is None or eps_in_name(source) <= max_eps + 1e-9)
    ]


def _matches(source: Source, word: str) -> bool:
    try:
        if find(word) is source:
            return True
    except UnknownName:
        pass
    return word.lower() in f"{source.name} {source.recipe} {source.paper}".lower()


def eps_in_name(source: Source) -> float:
    """The radius as the name writes it: 4 for Linf 4/255."""
    return round(255 * source.eps, 6) if source.threat == "linf" else source.eps


def rows(sources: Iterable[Source]) -> list[tuple[str, ...]]:
    """Cells of the table, below `HEADER`."""
    return [
        (
            source.name,
            source.arch,
            source.threat,
            "-"
            if source.threat == "none"
            else f"{eps_in_name(source):g}" + ("/255" if source.threat == "linf" else ""),
            "-" if source.clean_top1 is None else f"{100 * source.clean_top1:.2f}",
            source.layout,
            source.licence,
            source.filename,
            ", ".join(source.unverified) or "-",
        )
        for source in sources
    ]
