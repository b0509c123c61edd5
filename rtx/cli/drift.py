"""Where in the network robustness gets lost: similarity of clean and corrupted features, stage by stage.

rtx drift RUN [RUN ...]                  run folders of classifiers, detectors and segmenters
rtx drift RUN --images 64 --corruptions noise fog --severities 3

Compared are, by linear CKA and cosine, the features of clean and of corrupted images, and those of the run and of the
source it began with. A command that was stopped goes on, corruption by corruption, when it is given again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtx.cli.options import add_protocol_arguments, protocol_of
from rtx.errors import BadValue
from rtx.results.drift import INSIDE

if TYPE_CHECKING:
    from rtx.results.drift import Drift

OPTIONS = ("corruptions", "severities", "seed", "batch_size", "workers", "view")
OUT = Path("work_dirs") / INSIDE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add("runs", nargs="+", type=Path, metavar="RUN", help="run folders")
    add("--images", type=int, default=256, metavar="N", help="test images, by --seed; default 256, 0 for all")
    add_protocol_arguments(parser, OPTIONS, severities=(1, 3, 5), batch_size=8)
    add(
        "--grid",
        type=int,
        default=1,
        metavar="G",
        help="average maps over G x G cells before CKA; default 1",
    )
    add("--minibatch", type=int, default=256, metavar="N", help="images of a minibatch of the estimator; default 256")
    add("--no-source", action="store_true", help="leave out the comparison with the source's weights")
    add("--data-root", type=Path, metavar="DIR", help="where the data are now")
    add("--device", metavar="DEVICE", help="default: the GPU where there is one")
    add("--overwrite", action="store_true", help="measure again, and replace what other options left")
    add("--json", action="store_true", help="print the comparison as JSON instead of the table")
    add(
        "--out", type=Path, metavar="DIR",
        help=f"everything goes here; default: {INSIDE}/ in each run folder, and of several the comparison in {OUT}",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Measure each run, print the table."""
    folders: list[Path] = args.runs
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing or len({folder.resolve().name for folder in folders}) < len(folders):
        raise BadValue(
            f"run folders {missing or [str(one) for one in folders]}: must be there, each with a name of its own"
        )
    if args.images < 0:
        raise BadValue(f"--images {args.images}: must be above 0 (0: all)")
    args.limit = args.images or None
    from rtx.cli.probe import chosen_device
    from rtx.drift.measure import measure
    from rtx.drift.report import compare, draw_one
    from rtx.drift.subject import DriftOptions, of_run

    protocol = protocol_of(args)
    options = DriftOptions(
        protocol, args.grid, args.minibatch, not args.no_source, args.data_root, chosen_device(args.device)
    )
    drifts = []
    for folder in (one.resolve() for one in folders):
        root = args.out / folder.name if args.out else folder / INSIDE
        drift = measure(of_run(folder, options), root, overwrite=args.overwrite)
        draw_one(drift, root)
        drifts.append(drift)
    out = args.out or (OUT if len(drifts) > 1 else folders[0] / INSIDE)
    found = compare(drifts, out)
    print(json.dumps(found, indent=1) if args.json else f"{table(drifts, found)}\n\nfigures and numbers: {out}")
    return 0


def table(drifts: Sequence[Drift], found: Mapping[str, Any]) -> str:
    """CKA by layer with half the width of its 95 % interval over images; what is undefined is a dash."""
    from rtx.cli.experiments import columns
    from rtx.types import CLEAN

    card = drifts[0].card
    severities = sorted({int(c.severity) for drift in drifts for c in drift.cells if c != CLEAN})
    corruptions = {c.corruption for drift in drifts for c in drift.cells if c != CLEAN}
    lines = [
        f"linear CKA (unbiased, of {card['features'].replace('_', ' ')} features), half of a 95 % interval over images",
        f"mean over {len(corruptions)} corruptions at severity {', '.join(map(str, severities))}",
    ]
    if len({drift.card["images_sha256"] for drift in drifts}) > 1:
        lines.append("the runs saw other images, so that differences between them are not paired")
    blocks: dict[str, list[tuple[str, ...]]] = {"clean against corrupted images": [], "source against run": []}
    layers = list(dict.fromkeys(layer for drift in drifts for layer in drift.layers))
    sources: set[str | None] = set()

    def add(block: str, name: str, drift: Drift, row: Sequence[Any]) -> None:
        at = dict(zip(drift.layers, row, strict=True))
        blocks[block].append((name, *(_text(at.get(layer)) for layer in layers)))

    first, second = blocks
    for drift, one in zip(drifts, found["runs"], strict=True):
        add(first, f"{drift.name} ({drift.card['n_images']} images)", drift, drift.mean("run", "cka"))
        for level in severities if len(severities) > 1 else ():
            row = drift.mean("run", "cka", lambda c, level=level: c.severity == level)  # type: ignore[misc]
            add(first, f"  severity {level}", drift, row)
        if one["minus_first"]:
            add(first, f"  minus {drifts[0].name}", drift, one["minus_first"])
        if one["source"] and drift.card["source_weights_sha256"] not in sources:
            sources.add(drift.card["source_weights_sha256"])
            add(first, f"  its source, {drift.card.get('source') or 'weights'}", drift, one["source"])
        if one["source_to_run"]:
            add(second, f"{drift.name}, clean images", drift, one["source_to_run_clean"])
            add(second, "  corrupted images", drift, one["source_to_run"])
    for title, rows in blocks.items():
        if rows:
            lines += ["", columns([(title, *layers), *rows])]
    return "\n".join([*lines, "", found["point"]])


def _text(one: Any) -> str:
    """A similarity, as an object or as JSON."""
    values = one if isinstance(one, Mapping) or one is None else vars(one)
    if values is None or values["value"] is None or values["value"] != values["value"]:
        return "-"
    return f"{values['value']:.3f} ±{(values['high'] - values['low']) / 2:.3f}"
