"""The whole story in a few minutes: render scenes, transfer ImageNet weights to them, and score under corruption.

No download and no GPU: the weights (EfficientNet-Lite0) come with the installation; where they are missing, a
classifier of rendered objects is trained in their place. Two transfers of the same source are compared: `fixed` (the
backbone stays as the source left it) and `full` (all of it but stem and first stage trains). A second run keeps every
finished step.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

METRICS = {"bbox_mAP": "box AP", "segm_mAP": "mask AP"}
LEARNT = 0.2
"""An AP that a detector without knowledge does not reach on these scenes; untrained heads score 0.006 and 0 (mask)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="a minute instead of several, labelled PREVIEW: tiny amounts, two corruptions",
    )
    parser.add_argument(
        "--out", type=Path, help="folder for everything the demo makes; default: work_dirs/demo (work_dirs/demo_smoke)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of scenes, weights, data order and corruptions")
    parser.add_argument("--fresh", action="store_true", help="do not keep the finished steps of an earlier run")


def run(args: argparse.Namespace) -> int:
    """Run the demo; 1 when its numbers do not tell what they should."""
    from rtx.corruptions import BENCHMARK
    from rtx.corruptions.settings import Settings
    from rtx.datasets.sheet import write_sheet
    from rtx.demo.plan import FULL, PREVIEW
    from rtx.demo.scenes import render_scene
    from rtx.demo.scenes_coco import scene_name
    from rtx.demo.screen import Screen
    from rtx.demo.steps import STEPS, Demo
    from rtx.types import SEVERITIES

    plan = PREVIEW if args.smoke else FULL
    out = args.out or Path("work_dirs") / ("demo_smoke" if args.smoke else "demo")
    demo = Demo(out, plan, args.seed)
    demo.claim(fresh=args.fresh)
    screen = Screen(STEPS, out / "console.log")
    what = "PREVIEW: tiny amounts, the scores mean nothing" if args.smoke else "about 10 minutes on 2 cores"
    screen.line(f"rtx demo ({what}); folder {out}, log {out / 'console.log'}")
    summaries = demo.run(screen)
    text = table(summaries)
    (out / "table.txt").write_text(text, encoding="utf-8")
    scene, name = render_scene(args.seed, "val", 0).image, scene_name("val", 0)
    write_sheet(out / "gallery.png", scene, name, BENCHMARK, SEVERITIES, [Settings(seed=args.seed)])
    page = demo.report(screen)
    print("\n" + text)
    found = [] if args.smoke else doubts(summaries)
    for doubt in found:
        print(f"DOUBTFUL: {doubt}")
    print(ending(out))
    print(f"\nreport: {page}")
    return 1 if found else 0


def table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """P, mPC, rPC and the drop by family of each transfer, as text.

    Args:
        summaries: transfer mode -> summary of its evaluation.
    """
    from rtx.corruptions import FAMILIES
    from rtx.reports.tables.table import Table, plain, row
    from rtx.results.summary import percent

    first = next(iter(summaries.values()))
    title = "Robustness of two transfers" if first["complete"] else "PREVIEW: the scores mean nothing"
    rows = []
    for mode, summary in summaries.items():
        for metric, shown in METRICS.items():
            found = summary["metrics"][metric]
            drops = [percent((found["families"].get(family) or {}).get("drop")) for family in FAMILIES]
            rows.append(row(mode, shown, *(percent(found[key]) for key in ("P", "mPC", "rPC")), *drops))
    head = ("transfer", "metric", "P", first["label"], "rPC", *(f"{family} drop" for family in FAMILIES))
    notes = tuple(textwrap.wrap(caption(first), 110))
    return f"{title}, in percent\n\n{plain(Table('demo', title, head, tuple(rows), 2, notes))}\n"


def caption(summary: Mapping[str, Any]) -> str:
    """The legend of the columns, and the evidence behind the numbers."""
    card = summary["protocol"]
    return (
        f"P: AP on {summary['n_images']} clean scenes. {summary['label']}: its mean over "
        f"{len(summary['cells']) - 1} corrupted cells. rPC: that over P. Drop: share of P lost to a family. "
        f"Corruptions by {card['corruption_engine']} {card['corruption_engine_version']}, "
        f"seed {card['corruption_seed']}."
    )


def doubts(summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Scores that a detector that has learnt something cannot have.

    Example:
        >>> row = {"P": 0.1, "mPC": 0.3}
        >>> doubts({"full": {"metrics": {"bbox_mAP": row, "segm_mAP": row}}})[0]
        'full transfer, box AP: 10.00 on clean scenes is near what guessing gives (below 20)'
    """
    found = []
    for mode, summary in summaries.items():
        for metric, shown in METRICS.items():
            row = summary["metrics"][metric]
            place = f"{mode} transfer, {shown}"
            if row["P"] < LEARNT:
                least = f"{100 * LEARNT:.0f}"
                found.append(
                    f"{place}: {100 * row['P']:.2f} on clean scenes is near what guessing gives (below {least})"
                )
            elif row["mPC"] >= row["P"]:
                found.append(f"{place}: corrupted scenes score {100 * row['mPC']:.2f}, no less than clean ones")
    return found


def ending(out: Path) -> str:
    """Where the files are, and what to type next."""
    from rtx.results.folder import CELLS_CSV, INSIDE_RUN, SUMMARY, TABLE

    python = os.path.relpath(sys.executable) if Path(sys.executable).is_relative_to(Path.cwd()) else sys.executable
    train = f"{python} tools/train.py configs/maskrcnn_r50_eps3_coco.py --data-root YOUR_COCO_FOLDER"
    files = {
        out / "report" / "report.html": "curves, heat map, example strips, tables: open it in a browser",
        out / "table.txt": "the table above",
        out / "gallery.png": "one scene under the 15 corruptions, at each severity",
        out / "fixed" / INSIDE_RUN / TABLE: f"every cell of a transfer; also {CELLS_CSV}, {SUMMARY}",
        out / "full": "a run folder: config, log, scalars, checkpoint, environment",
        out / "data": "the scenes in COCO layout",
    }
    width = max(len(str(path)) for path in files)
    return "\n".join(
        [
            "Files",
            *(f"  {path!s:<{width}}  {what}" for path, what in files.items()),
            "",
            "Next, with your own data (annotations/instances_{train,val}2017.json, train2017/, val2017/):",
            f"  1. {train} --transfer fixed --work-dir work_dirs/mine_fixed",
            f"  2. {train} --transfer full --work-dir work_dirs/mine_full",
            f"  3. {python} tools/corrupt_eval.py work_dirs/mine_full --limit 100     (then without --limit)",
            "A command that misses data or weights says what, where it looked and what to do.",
        ]
    )
