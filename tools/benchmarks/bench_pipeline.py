#!/usr/bin/env python3
"""The cost of an image on its way to the network: read, decode, corrupt, resize, pack, and the way out of a loader.

    python tools/benchmarks/bench_pipeline.py [--config FILE] [--data-root DIR] [--size WxH] [--workers N] [--ways NAME
        ...] [--json FILE]

Data sets of one config take turns: `stock`, its test pipeline with a `Corrupt` behind the image loader; `rtx`, what a
sweep builds of it; and `kept`, the same from the second cell on, where decoded images are kept. In process, the median
over the rounds of the processor time of an image is given, for the clean images and each corruption at severity 3, with
images a second and core. With `--workers`, all ways go through a sweep's data loader; given are the processor time of
the loaders and of the main process for an image, which bounds the rate whatever the number of loaders.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_variable] = "1"

ROOT = Path(__file__).resolve().parents[2]
WAYS = ("stock", "rtx", "kept")


def data_sets(config: Path, data_root: Path, names: list[str]) -> dict[str, Any]:
    """The built test set of a config, with its own steps and as a sweep has it."""
    from mmengine.registry import DATASETS, init_default_scope

    from rtx import config as configs
    from rtx.datasets.openmmlab.image_loader import with_checked_images
    from rtx.datasets.openmmlab.with_data import with_data
    from rtx.evaluation.pixels.corrupt import insert_corrupt
    from rtx.evaluation.pixels.made import Made
    from rtx.evaluation.protocol import Protocol

    cfg = with_checked_images(with_data(configs.load(config), data_root))
    init_default_scope(cfg.get("default_scope", "mmdet"))
    ways = {
        "stock": insert_corrupt(cfg.test_dataloader.dataset, dict(type="Corrupt")),
        "rtx": Made().dataset(cfg, Protocol()),
    }
    ways["kept"] = ways["rtx"]
    found = {name: DATASETS.build(ways[name]) for name in names}
    for dataset in found.values():
        dataset.full_init()
    if "kept" in found:
        keep(found["kept"])
    return found


def keep(dataset: Any) -> None:
    """Have the loader of a data set keep its images, and decode them."""
    from rtx.datasets.decoded import DecodedImages

    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    sizes = {info["img_path"]: 3 * info["width"] * info["height"] for info in infos}
    dataset.pipeline.transforms[0].decoded = DecodedImages(sizes, sum(sizes.values()))
    for index in range(len(dataset)):
        dataset[index]


def in_process(sets: dict[str, Any], conditions: list[Any], images: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of processor time an image, by condition and way."""
    from rtx.evaluation.sweep.batches import CorruptedView

    views = {name: CorruptedView(dataset) for name, dataset in sets.items()}
    rows: dict[str, Any] = {}
    for condition in conditions:
        times: dict[str, list[float]] = {name: [] for name in views}
        for view in views.values():
            view[(condition, 0)]  # compiles
        for _ in range(rounds):
            for name, view in views.items():
                start = time.process_time()
                for index in range(images):
                    view[(condition, index)]
                times[name].append((time.process_time() - start) / images)
        rows[condition.key] = {name: 1000 * statistics.median(found) for name, found in times.items()}
    return rows


def with_loaders(sets: dict[str, Any], conditions: list[Any], images: int, rounds: int, workers: int) -> dict[str, Any]:
    """Milliseconds of processor time an image, of the loaders and of the main process."""
    from rtx.evaluation.sweep.batches import CorruptedView, stream

    batches = [[index] for index in range(images)]
    found: dict[str, dict[str, list[float]]] = {name: {"loaders": [], "main process": []} for name in sets}
    for _ in range(rounds):
        for name, dataset in sets.items():
            before, start = _children(), time.process_time()
            for _batch in stream(CorruptedView(dataset), conditions, batches, workers=workers):
                pass
            count = images * len(conditions)
            found[name]["main process"].append((time.process_time() - start) / count)
            found[name]["loaders"].append((_children() - before) / count)
    return {name: {k: 1000 * statistics.median(v) for k, v in rows.items()} for name, rows in found.items()}


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(found: dict[str, Any]) -> str:
    """The result as Markdown."""
    ways = list(next(iter(found["in_process_ms"].values())))
    lines = [f"| condition |{'|'.join(f' {way}, ms ' for way in ways)}| {ways[-1]}, images/s a core |"]
    lines.append("|---|" + "---:|" * (len(ways) + 1))
    for key, row in found["in_process_ms"].items():
        times = "|".join(f" {row[way]:.2f} " for way in ways)
        lines.append(f"| {key} |{times}| {1000 / row[ways[-1]]:.1f} |")
    for name, row in found.get("loaders_ms", {}).items():
        lines.append(f"{name}: " + ", ".join(f"{what} {ms:.2f} ms an image" for what, ms in row.items()))
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=ROOT / "configs/maskrcnn_r50_coco.py")
    parser.add_argument("--data-root", type=Path, help="in the config's layout; rendered COCO scenes when left out")
    parser.add_argument("--size", default="640x480", metavar="WxH", help="of rendered scenes")
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--corruptions", nargs="+", default=["benchmark"])
    parser.add_argument("--workers", type=int, default=0, help="measure with so many loader processes too")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    import cv2
    import torch

    from rtx.demo.scenes_coco import write_scenes
    from rtx.results.conditions import grid

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    conditions = list(grid(args.corruptions, [3]))
    with tempfile.TemporaryDirectory() as work:
        root = args.data_root or Path(work)
        if args.data_root is None:
            width, height = map(int, args.size.lower().split("x"))
            write_scenes(root, {"train": 1, "val": args.images}, size=(height, width))
        sets = data_sets(args.config, root, args.ways)
        images = min(args.images, *map(len, sets.values()))
        found: dict[str, Any] = {"images": images, "rounds": args.rounds}
        found["in_process_ms"] = in_process(sets, conditions, images, args.rounds)
        if args.workers:
            found["loaders_ms"] = with_loaders(sets, conditions, images, args.rounds, args.workers)
    print(table(found))
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
