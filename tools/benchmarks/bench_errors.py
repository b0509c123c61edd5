"""What error types and calibration add to the scoring of a cell: processor time with and without them.

    python tools/benchmarks/bench_errors.py --images 5000 --mask-images 100 --json errors.json
    python tools/benchmarks/bench_errors.py --annotations data/coco/annotations/instances_val2017.json

The cell is that of `bench_scoring.py`, or detections made around the objects of an annotation file. Scoring is what a
sweep does with a cell's predictions: taking them from the model's samples (masks as run lengths), matching, AP,
evidence and its bytes. `ratio` is the median over the turns of the time with a diagnosis over that without. `--pixels`
times what confidences add to an image of a segmenter of 150 classes, from its logits.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from rtx.evaluation.scorers.detection import CocoScorer
from rtx.metrics.coco import Detections
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


def samples(found: list[Detections], *, masks: bool) -> Iterator[Any]:
    """What a model of mmdet hands over, one image at a time: a cell's dense masks would fill the memory."""
    import torch
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    from pycocotools import mask as codec

    for row in found:
        sample = DetDataSample(metainfo={"img_id": row.image_id})
        arrays = dict(bboxes=row.boxes.astype(np.float32), scores=row.scores.astype(np.float32), labels=row.labels)
        if masks:
            arrays["masks"] = codec.decode([dict(mask) for mask in row.masks or ()]).transpose(2, 0, 1).astype(bool)
        sample.pred_instances = InstanceData(**{k: torch.from_numpy(v) for k, v in arrays.items()})
        yield sample


def scoring(truth: CocoTruth, found: list[Detections], ids: tuple[int, ...], kind: str) -> tuple[float, float]:
    """Processor seconds of what a sweep does with a cell's predictions: without a diagnosis, and of the diagnosis."""
    scorer = CocoScorer(truth, ids, kinds=(kind,))
    spent = 0.0
    for sample in samples(found, masks=kind == "segm"):
        start = time.process_time()
        scorer.process([sample])
        spent += time.process_time() - start
    start = time.process_time()
    scorer.compute()
    to_bytes(scorer.evidence())
    between = time.process_time()
    scorer.diagnosis()
    return spent + between - start, time.process_time() - between


def turns(once: Callable[[], tuple[float, float]], count: int) -> dict[str, float]:
    """Medians of both, and of the ratio of their sum to the first, after one turn for compiling."""
    once()
    rows = [once() for _ in range(count)]
    ratio = median((plain + more) / plain for plain, more in rows)
    return {"without_cpu_s": median(a for a, _ in rows), "diagnosis_cpu_s": median(b for _, b in rows), "ratio": ratio}


def pixels(count: int) -> dict[str, float]:
    """The same of an image of a segmenter, from its logits: the highest, what is not finite, counting; confidences."""
    import torch
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    from rtx.evaluation.scorers import segmentation as scorer

    torch.manual_seed(0)
    logits, label = torch.randn(150, 512, 683), torch.randint(150, (512, 683))
    sample = SegDataSample(metainfo={"img_path": "a.png"})
    sample.seg_logits = PixelData(data=logits)
    sample.gt_sem_seg = PixelData(data=label[None])
    confidences = scorer._sure

    def once() -> tuple[float, float]:
        scorer._sure = lambda *_: None
        metric = scorer.IouScorer([str(n) for n in range(150)])
        start = time.process_time()
        sample.pred_sem_seg = PixelData(data=logits.argmax(0, keepdim=True))
        metric.process([sample])
        between = time.process_time()
        confidences(sample, label.numpy(), 255)
        return between - start, time.process_time() - between

    return turns(once, count)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--mask-images", type=int, default=100)
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
        report[kind] = {"images": len(found)} | turns(lambda: scoring(*same), args.turns)  # noqa: B023
    if args.pixels:
        report["pixels"] = pixels(args.turns)
    text = json.dumps(report, indent=1)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
