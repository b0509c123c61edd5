"""What error types and calibration add to the scoring of a cell: processor time with and without them, by turns.

    python tools/benchmarks/bench_errors.py --images 5000 --mask-images 1000 --json errors.json
    python tools/benchmarks/bench_errors.py --annotations data/coco/annotations/instances_val2017.json

The cell is that of `bench_scoring.py`, or detections made around the objects of an annotation file. Scoring is what a
sweep does between two cells: adding the detections, matching, AP, evidence and its bytes. `ratio` is the median over
the turns of the time with a diagnosis over that without. `--pixels` times what confidences add to the scoring of a
segmenter's image of 150 classes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from rtx.metrics.coco import CocoAP, Detections
from rtx.metrics.coco_truth import CocoTruth, encode_mask, read_truth, rle
from rtx.results.arrays import to_bytes

sys.path.insert(0, str(Path(__file__).parents[2]))
from tools.benchmarks.bench_scoring import CLASSES, make


def around(path: Path, n_detections: int, *, masks: bool) -> tuple[CocoTruth, list[Detections], tuple[int, ...]]:
    """Detections around the objects of a file: most boxes near one, a third under another class."""
    rng = np.random.default_rng(0)
    truth = read_truth(path, quiet=True)
    ids = tuple(truth.categories)
    found = []
    for image in truth.images:
        rows = [a for a in truth.annotations if a["image_id"] == image]
        if not rows:
            continue
        picked = rng.integers(len(rows), size=n_detections)
        boxes = np.array([rows[i]["bbox"] for i in picked])
        boxes[:, 2:] += boxes[:, :2]
        boxes += rng.normal(size=boxes.shape) * 0.15 * (boxes[:, 2:] - boxes[:, :2]).repeat(2, axis=1)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        labels = np.array([ids.index(rows[i]["category_id"]) for i in picked])
        labels = np.where(rng.random(n_detections) < 0.33, rng.integers(len(ids), size=n_detections), labels)
        shapes = [_moved(rle(rows[i], truth), rng) for i in picked] if masks else None
        found.append(Detections(image, boxes, rng.random(n_detections) ** 3, labels, shapes))
    return truth, found, ids


def _moved(mask: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    from pycocotools import mask as codec

    return encode_mask(np.roll(codec.decode(mask), rng.integers(-8, 9, 2).tolist(), (0, 1)))


def score(truth: CocoTruth, found: list[Detections], ids: tuple[int, ...], kind: str, *, diagnose: bool) -> None:
    """What a sweep does at the end of a cell."""
    metric = CocoAP(truth, ids, kinds=(kind,))
    for row in found:
        metric.add(row.image_id, row)
    metric.compute()
    to_bytes(metric.evidence())
    if diagnose:
        metric.diagnosis()


def turns(plain: Callable[[], None], more: Callable[[], None], count: int) -> dict[str, float]:
    """Median processor seconds of both, and of their ratio, by turns after one for compiling."""
    plain()
    more()
    rows = []
    for _ in range(count):
        times = [time.process_time()]
        for action in (plain, more):
            action()
            times.append(time.process_time())
        rows.append((times[1] - times[0], times[2] - times[1]))
    ratio = median(two / one for one, two in rows)
    return {"without_cpu_s": median(a for a, _ in rows), "with_cpu_s": median(b for _, b in rows), "ratio": ratio}


def pixels(count: int) -> dict[str, float]:
    """The same of an image of a segmenter: finding what is not finite and counting, and the confidences."""
    import torch
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    from rtx.evaluation.scorers import segmentation as scorer

    torch.manual_seed(0)
    logits, label = torch.randn(150, 512, 683), torch.randint(150, (512, 683))
    sample = SegDataSample(metainfo={"img_path": "a.png"})
    sample.seg_logits, sample.pred_sem_seg = PixelData(data=logits), PixelData(data=logits.argmax(0, keepdim=True))
    sample.gt_sem_seg = PixelData(data=label[None])
    whole = scorer._sure

    def run(sure: Any) -> None:
        scorer._sure = sure
        metric = scorer.IouScorer([str(n) for n in range(150)])
        metric.process([sample])

    found = turns(lambda: run(lambda *_: None), lambda: run(whole), count)
    start = time.process_time()
    for _ in range(3):
        logits.argmax(0)
    return {**found, "argmax_cpu_s": (time.process_time() - start) / 3}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--mask-images", type=int, default=1000)
    parser.add_argument("--detections", type=int, default=100)
    parser.add_argument("--annotations", type=Path, help="an annotation file in the place of made scenes")
    parser.add_argument("--kinds", nargs="*", default=["bbox", "segm"], choices=["bbox", "segm"])
    parser.add_argument("--pixels", action="store_true", help="a segmenter's image too")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    args = parser.parse_args()
    report: dict[str, Any] = {}
    for kind in args.kinds:
        masks = kind == "segm"
        if args.annotations:
            truth, found, ids = around(args.annotations, args.detections, masks=masks)
        else:
            n = args.mask_images if masks else args.images
            truth, found = make(n, args.detections, masks=masks)
            ids = tuple(range(CLASSES))
        same = (truth, found, ids, kind)
        report[kind] = {"images": len(found)} | turns(
            lambda: score(*same, diagnose=False),  # noqa: B023
            lambda: score(*same, diagnose=True),  # noqa: B023
            args.turns,
        )
    if args.pixels:
        report["pixels"] = pixels(args.turns)
    text = json.dumps(report, indent=1)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
