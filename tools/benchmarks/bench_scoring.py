"""Time rtx's COCO AP, the packages that compute it, and the bootstrap on made-up detections, box and mask.

    python tools/benchmarks/bench_scoring.py --images 5000 --detections 100 --json scoring.json

Each scorer scores the same cell in the same process, `--repeats` times in turn, and the fastest time is reported: that
covers columns, matching and AP, and of rtx the evidence too, as in a sweep. `--scorers` names those to compare, of
which the packages must be installed. `cpu_s` is processor time, which other work on the machine moves less. `ratio` is
pycocotools' time over the scorer's,
`max_difference` the largest difference of any metric from pycocotools'. With masks, `--mask-images` can make the set
smaller. The bootstrap draws `--resamples` times from one cell's evidence; `evidence_bytes` is what the cell keeps on
disk for it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.metrics.coco import VERSION, CocoAP, Detections
from rtx.metrics.coco_truth import CocoTruth, encode_mask, read_truth
from rtx.metrics.per_image import DetectionEvidence
from rtx.results.arrays import to_bytes
from rtx.results.resample import draw, scores

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.metrics.reference_scorers import PACKAGES, REFERENCE, reference_ap

OWN = "rtx"
HEIGHT, WIDTH, CLASSES, OBJECTS = 480, 640, 80, 7


def make(n_images: int, n_detections: int, *, masks: bool) -> tuple[CocoTruth, list[Detections]]:
    """A mediocre detector: most objects found within a few pixels, the rest of its detections low and anywhere."""
    rng = np.random.default_rng(0)
    stencils = [_ellipses(side) for side in (24, 60, 150)] if masks else []
    rows: list[dict[str, Any]] = []
    found = []
    for image in range(n_images):
        n = int(rng.poisson(OBJECTS))
        size = np.array([24, 60, 150])[rng.integers(3, size=n)]
        corner = (rng.random((n, 2)) * np.stack([WIDTH - size, HEIGHT - size], axis=1)).round()
        boxes = np.concatenate([corner, corner + size[:, None]], axis=1)
        labels = rng.integers(CLASSES, size=n)
        copies = np.repeat(np.arange(n), 3)[: n_detections // 2]
        step = rng.normal(size=(len(copies), 4)) * size[copies][:, None] * 0.12
        rest = n_detections - len(copies)
        wild = np.concatenate([rng.random((rest, 2)) * (WIDTH - 160, HEIGHT - 160)] * 2, axis=1)
        wild[:, 2:] += np.array([24, 60, 150])[rng.integers(3, size=rest)][:, None]
        guesses = np.concatenate([boxes[copies] + step, wild])
        guesses[:, 2:] = np.maximum(guesses[:, 2:], guesses[:, :2] + 2)
        ranks = np.concatenate([0.3 + 0.7 * rng.random(len(copies)), rng.random(rest) ** 4])
        named = np.concatenate([labels[copies], rng.integers(CLASSES, size=rest)])
        for box, label in zip(boxes, labels.tolist(), strict=True):
            wide = [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()]
            row = {"id": len(rows) + 1, "image_id": image, "category_id": label, "bbox": wide, "iscrowd": 0}
            rows.append({**row, "segmentation": _mask(box, stencils) if masks else None})
        shapes = [_mask(box, stencils) for box in guesses] if masks else None
        found.append(Detections(image, guesses.astype(np.float32), ranks.astype(np.float32), named, shapes))
    content = {
        "images": [{"id": i, "height": HEIGHT, "width": WIDTH} for i in range(n_images)],
        "categories": [{"id": i, "name": str(i)} for i in range(CLASSES)],
        "annotations": rows,
    }
    return read_truth(content, quiet=True), found


def _ellipses(side: int) -> NDArray[np.uint8]:
    line = (np.arange(side) + 0.5) / side * 2 - 1
    return np.asarray(line[:, None] ** 2 + line**2 <= 1, np.uint8)


def _mask(box: NDArray[np.float64], stencils: list[NDArray[np.uint8]]) -> dict[str, Any]:
    """Run lengths of an ellipse of one of three sizes at about the box, drawn without a full image."""
    stencil = min(stencils, key=lambda s: abs(len(s) - (box[2] - box[0])))
    left, top = (int(np.clip(v, 0, m - len(stencil))) for v, m in zip(box[:2], (WIDTH, HEIGHT), strict=True))
    image = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    image[top : top + len(stencil), left : left + len(stencil)] = stencil
    return encode_mask(image)


def _processor() -> str:
    """What the system calls the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def timed(action: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds, seconds of processor time on all threads, and result."""
    start, cpu = time.perf_counter(), time.process_time()
    result = action()
    return time.perf_counter() - start, time.process_time() - cpu, result


def _cell(truth: CocoTruth, found: list[Detections], kind: str) -> tuple[dict[str, float], DetectionEvidence]:
    metric = CocoAP(truth, range(CLASSES), kinds=(kind,))
    for image in found:
        metric.add(image.image_id, image)
    return metric.compute(), metric.evidence()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--mask-images", type=int, help="as many images with masks; --images when left out")
    parser.add_argument("--detections", type=int, default=100)
    parser.add_argument("--kinds", nargs="+", default=["bbox", "segm"], choices=["bbox", "segm"])
    parser.add_argument("--scorers", nargs="+", default=[OWN, *PACKAGES], choices=[OWN, *PACKAGES])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    args = parser.parse_args()
    report: dict[str, Any] = {
        "images": {"bbox": args.images, "segm": args.mask_images or args.images},
        "detections_per_image": args.detections,
        "machine": {
            "cpu": _processor(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
        "versions": {
            **{n: VERSION if n == OWN else metadata.version(n) for n in args.scorers},
            **{n: metadata.version(n) for n in ("numpy", "numba")},
        },
        "kinds": {},
    }
    for kind in args.kinds:
        n_images = report["images"][kind]
        truth, found = make(n_images, args.detections, masks=kind == "segm")
        row: dict[str, Any] = {"scorers": {}}
        times: dict[str, list[float]] = {name: [] for name in args.scorers}
        cpus: dict[str, list[float]] = {name: [] for name in args.scorers}
        stats: dict[str, dict[str, float]] = {}
        _, evidence = _cell(truth, found, kind)  # compile
        for _ in range(args.repeats):
            for name in args.scorers:
                if name == OWN:
                    seconds, cpu, (stats[name], _) = timed(lambda: _cell(truth, found, kind))  # noqa: B023
                else:
                    seconds, cpu, stats[name] = timed(
                        lambda: reference_ap(name, truth, found, range(CLASSES), kinds=(kind,))  # noqa: B023
                    )
                times[name].append(seconds)
                cpus[name].append(cpu)
                print(f"{kind} {name:<17} {seconds:8.2f} s   AP {stats[name][f'{kind}_mAP']:.6f}", flush=True)
        for name in args.scorers:
            entry: dict[str, Any] = {"seconds": min(times[name]), "cpu_s": min(cpus[name])}
            if REFERENCE in times:
                entry["ratio"] = min(times[REFERENCE]) / min(times[name])
                entry["cpu_ratio"] = min(cpus[REFERENCE]) / min(cpus[name])
                pairs = [(stats[name][k], v) for k, v in stats[REFERENCE].items() if not math.isnan(v)]
                entry["max_difference"] = max(abs(a - b) for a, b in pairs)
            row["scorers"][name] = entry
        row["evidence_bytes"] = len(to_bytes(evidence))
        weights = draw(n_images, args.resamples)
        scores(evidence, weights[:1], f"{kind}_mAP")  # compile
        row["bootstrap_s"], row["bootstrap_cpu_s"], drawn = timed(lambda: scores(evidence, weights, f"{kind}_mAP"))  # noqa: B023
        row["bootstrap_error"] = float(np.std(drawn))
        print(f"{kind} evidence {row['evidence_bytes']} bytes", flush=True)
        print(f"{kind} {args.resamples} resamples {row['bootstrap_s']:.2f} s", flush=True)
        report["kinds"][kind] = row
    report["load_average"] = os.getloadavg()[0]
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    else:
        print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
