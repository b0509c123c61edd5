#!/usr/bin/env python3
"""The price of a sweep: the stock loop, rtx, and bare inference, on the same model, images and cells in one run.

    python tools/benchmarks/bench_sweep.py [--json FILE] [--detector small|r50] [--images 24] [--corruptions NAME ...]

(a) stock: mmengine's `runner.test()` once a cell, with a Corrupt transform over imagecorruptions-imaug behind the image
    loader and pycocotools scoring, as mmdet's robustness tool does it.
(b) rtx: the sweep of `corrupt_eval`, from the config to the summary.
(c) bare: the same forward passes on batches that are already decoded, corrupted and collated in memory.

(a) and (b) are timed from the config to the last number, model building included; (c) is forward passes alone. The
three run in turn, `--repeats` times, and medians are reported, of wall and of processor seconds (the ones to compare on
a busy machine). The weights are random, with a classifier spread out until it detects: only cost is measured. Stock
runs batches of one image, as the tool does by default, since it pads mixed sizes to one.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import resource
import shutil
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SPREAD = 60.0


def build_config(args: argparse.Namespace, data_root: Path, work_dir: Path) -> Any:
    """The shipped Mask R-CNN leaf, as it is or shrunk, on `data_root`."""
    from rtx import config as configs
    from rtx.datasets.openmmlab.with_data import with_data

    cfg = with_data(configs.with_source(configs.load(ROOT / "configs/maskrcnn_r50_coco.py"), "random"), data_root)
    if args.detector == "small":
        shrink(cfg.model)
    loader = cfg.test_dataloader
    for step in loader.dataset.pipeline:
        if step.type == "Resize":
            step.scale = tuple(args.scale)
    loader.update(batch_size=1, num_workers=args.workers, persistent_workers=args.workers > 0)
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = None
    cfg.param_scheduler = None
    cfg.work_dir = str(work_dir)
    cfg.visualizer = dict(type="DetLocalVisualizer", vis_backends=[], name="bench")
    cfg.default_hooks.pop("visualization", None)
    cfg.log_level = "ERROR"
    return cfg


def shrink(model: Any) -> None:
    """ResNet-18 with 64 channels in neck and heads, and few proposals."""
    width = 64
    model.backbone.depth = 18
    model.neck.update(in_channels=[64, 128, 256, 512], out_channels=width)
    model.rpn_head.update(in_channels=width, feat_channels=width)
    head = model.roi_head
    head.bbox_roi_extractor.out_channels = head.mask_roi_extractor.out_channels = width
    head.bbox_head.update(in_channels=width, fc_out_channels=256)
    head.mask_head.update(in_channels=width, conv_out_channels=width, num_convs=2)
    model.test_cfg.rpn.update(nms_pre=200, max_per_img=50)
    model.test_cfg.rcnn.max_per_img = 20


def save_weights(cfg: Any, path: Path) -> None:
    """Random weights whose classifier is sure of something now and then."""
    import torch
    from mmengine.registry import MODELS, init_default_scope

    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    with torch.no_grad():
        model.roi_head.bbox_head.fc_cls.weight.mul_(SPREAD)
    torch.save({"state_dict": model.state_dict()}, path)


def stock(cfg: Any, checkpoint: Path, cells: list[Any]) -> dict[str, Any]:
    """Score every cell with mmengine's own test loop."""
    import copy

    from mmengine.runner import Runner

    cfg = copy.deepcopy(cfg)
    cfg.load_from = str(checkpoint)
    runner = Runner.from_cfg(cfg)
    results = {}
    for cell in cells:
        loader = copy.deepcopy(cfg.test_dataloader)
        if cell.severity:
            step = dict(type="StockCorrupt", corruption=cell.corruption, severity=cell.severity)
            loader.dataset.pipeline.insert(1, step)
        runner.test_loop.dataloader = runner.build_dataloader(loader)
        runner.set_randomness(0)
        results[cell.key] = runner.test()["coco/bbox_mAP"]
    return results


def rtx(cfg: Any, checkpoint: Path, cells: list[Any], args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Score every cell with the sweep."""
    from rtx.datasets.openmmlab.image_loader import with_checked_images
    from rtx.evaluation.evaluate import evaluate
    from rtx.evaluation.models.load import load_model

    shutil.rmtree(out, ignore_errors=True)
    cfg = with_checked_images(cfg)
    model = load_model(cfg, checkpoint, args.device)
    names = sorted({cell.corruption for cell in cells if cell.severity})
    levels = sorted({cell.severity for cell in cells if cell.severity})
    options = dict(corruptions=names, severities=levels, batch_size=args.batch_size, workers=args.workers)
    return evaluate(model, cfg, out, amp=args.amp, **options)


def bare(cfg: Any, checkpoint: Path, cells: list[Any], args: argparse.Namespace) -> tuple[tuple[float, float], float]:
    """Wall and processor seconds of the forward passes alone, and detections an image."""
    from contextlib import nullcontext

    import torch
    from mmengine.registry import DATASETS

    from rtx.evaluation.models.load import load_model
    from rtx.evaluation.pixels.corrupt import insert_corrupt
    from rtx.evaluation.sweep.batches import CorruptedView, cut, shape_groups, stream
    from rtx.evaluation.sweep.forward import padding_divisor

    model: Any = load_model(cfg, checkpoint, args.device)
    dataset = DATASETS.build(insert_corrupt(cfg.test_dataloader.dataset, dict(type="Corrupt")))
    plan = cut(shape_groups(dataset, range(len(dataset)), padding_divisor(model)), args.batch_size)
    seconds = used = found = 0.0
    kind = torch.device(args.device).type
    dtype = torch.bfloat16 if kind == "cpu" else torch.float16
    for cell in cells:
        batches = [batch for _, _, batch in stream(CorruptedView(dataset), [cell], plan, workers=args.workers)]
        started, before = time.perf_counter(), processor()
        with torch.inference_mode(), torch.autocast(kind, dtype) if args.amp else nullcontext():
            for batch in batches:
                found += sum(len(s.pred_instances) for s in model.test_step(batch))
        if kind == "cuda":
            torch.cuda.synchronize()
        seconds, used = seconds + time.perf_counter() - started, used + processor() - before
    return (seconds, used), found / len(cells) / len(dataset)


def register_stock_corrupt() -> None:
    """A Corrupt as mmdet 2 had it: the package's function on the loaded image, global random numbers."""
    from imagecorruptions import corrupt
    from mmcv.transforms import BaseTransform
    from mmengine.registry import TRANSFORMS

    @TRANSFORMS.register_module()
    class StockCorrupt(BaseTransform):  # type: ignore[misc]
        def __init__(self, corruption: str, severity: int) -> None:
            self.corruption, self.severity = corruption, severity

        def transform(self, results: dict[str, Any]) -> dict[str, Any]:
            image = corrupt(results["img"], corruption_name=self.corruption, severity=self.severity)
            results["img"] = image.astype("uint8")
            return results


def clock(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds of a call, those of ended loader processes included."""
    started, used = time.perf_counter(), processor()
    work()
    return time.perf_counter() - started, processor() - used


def processor() -> float:
    """Processor seconds of this process and of its children that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def measure(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Run the three in turn and return the table."""
    import torch

    from rtx.demo.scenes_coco import write_scenes
    from rtx.results.conditions import grid

    data_root = args.data_root
    if data_root is None:
        data_root = work / "scenes"
        write_scenes(data_root, {"train": 1, "val": args.images}, size=(480, 640))
    cfg = build_config(args, data_root, work / "stock")
    checkpoint = work / "weights.pth"
    save_weights(cfg, checkpoint)
    register_stock_corrupt()
    cells = list(grid(args.corruptions, args.severities))
    times: dict[str, list[tuple[float, float]]] = {"stock": [], "rtx": [], "bare": []}
    for _ in range(args.repeats):
        if not args.skip_stock:
            times["stock"].append(clock(lambda: stock(cfg, checkpoint, cells)))
        times["rtx"].append(clock(lambda: rtx(cfg, checkpoint, cells, args, work / "out")))
        seconds, found = bare(cfg, checkpoint, cells, args)
        times["bare"].append(seconds)
        print({name: [[round(t, 1) for t in pair] for pair in rows] for name, rows in times.items()}, file=sys.stderr)
    return {
        "wall_s": medians(times, 0),
        "processor_s": medians(times, 1),
        "all_s": times,
        "cells": len(cells),
        "images": len(list((Path(data_root) / "val2017").iterdir())),
        "detections_an_image": found,
        "detector": args.detector,
        "scale": args.scale,
        "batch_size": args.batch_size,
        "workers": args.workers,
        "amp": args.amp,
        "device": torch.cuda.get_device_name() if args.device.startswith("cuda") else platform.processor() or "cpu",
        "cpu_count": os.cpu_count(),
        "torch": torch.__version__,
    }


def medians(times: dict[str, list[tuple[float, float]]], which: int) -> dict[str, float]:
    """Of wall (0) or processor (1) seconds, with the ratios of the three."""
    found = {name: statistics.median(pair[which] for pair in rows) for name, rows in times.items() if rows}
    if "stock" in found:
        found["speedup"] = found["stock"] / found["rtx"]
    return {**found, "overhead": found["rtx"] / found["bare"]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--detector", choices=("small", "r50"), default="small")
    parser.add_argument("--data-root", type=Path, help="COCO layout; rendered scenes of 640x480 when left out")
    parser.add_argument("--images", type=int, default=24, help="rendered scenes")
    parser.add_argument("--scale", type=int, nargs=2, default=None, metavar=("LONG", "SHORT"))
    parser.add_argument("--corruptions", nargs="+", default=["benchmark"])
    parser.add_argument("--severities", nargs="+", type=int, default=[1, 3, 5])
    parser.add_argument("--batch-size", type=int, default=1, help="of rtx and of bare inference")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--amp", action="store_true", help="rtx and bare inference with autocast; stock stays fp32")
    parser.add_argument("--skip-stock", action="store_true")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    args.scale = args.scale or ([320, 240] if args.detector == "small" else [1333, 800])
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as work:
        found = measure(args, Path(work))
    text = json.dumps(found, indent=1)
    if args.json:
        args.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
