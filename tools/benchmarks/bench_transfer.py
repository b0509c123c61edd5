#!/usr/bin/env python3
"""Time and memory of one training step of Mask R-CNN R50 in fixed and in full mode.

  python tools/benchmarks/bench_transfer.py [--size 320] [--batch 2] [--steps 3] [--device cpu]

Saved activations are counted exactly, by the tensors that autograd keeps for the backward pass; on a GPU the peak of
the allocator is shown too. Images and boxes are random: only cost is measured.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from typing import Any


def measure(mode: str, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds a step (the fastest; CPU time on a CPU), megabytes kept for the backward pass, parameters that train."""
    import torch
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import MODELS, init_default_scope

    from rtx.config import load, with_source, with_transfer
    from rtx.transfer.guard import freeze_map

    cfg = with_transfer(with_source(load(args.config), "random"), mode)
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).to(args.device)
    model.init_weights()
    model.train()
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    batch = make_batch(args.size, args.batch)
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, torch.nn.Parameter):
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    # On a shared CPU the wall clock measures the neighbours; a GPU's work is only seen by the wall clock.
    clock = time.process_time if args.device == "cpu" else time.perf_counter
    times = []
    for step in range(args.steps + 1):
        started = clock()
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            losses = model(**model.data_preprocessor(batch, training=True), mode="loss")
        saved = sum(kept.values())
        kept.clear()
        loss, _ = model.parse_losses(losses)
        optimizer.update_params(loss)
        if args.device != "cpu":
            torch.cuda.synchronize()
        if step:  # the first one warms up
            times.append(clock() - started)
    result = {"mode": mode, "seconds": min(times), "saved_mb": saved / 2**20, **freeze_map(model)["total"]}
    if args.device != "cpu":
        result["peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
        torch.cuda.reset_peak_memory_stats()
    return result


def make_batch(size: int, count: int) -> dict[str, Any]:
    """Random images with two boxes and masks each."""
    import numpy as np
    import torch
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    samples = []
    for _ in range(count):
        half = size // 2
        boxes = torch.tensor([[8.0, 8.0, half, half], [half, half, size - 8.0, size - 8.0]])
        masks = np.zeros((2, size, size), np.uint8)
        masks[0, 8:half, 8:half] = 1
        masks[1, half : size - 8, half : size - 8] = 1
        sample = DetDataSample(metainfo={"img_shape": (size, size), "ori_shape": (size, size), "scale_factor": (1, 1)})
        sample.gt_instances = InstanceData(
            bboxes=boxes, labels=torch.tensor([0, 1]), masks=BitmapMasks(masks, size, size)
        )
        samples.append(sample)
    return {"inputs": [torch.randint(0, 256, (3, size, size), dtype=torch.uint8) for _ in range(count)],
            "data_samples": samples}  # fmt: skip


def main() -> None:
    """Measure both modes and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/maskrcnn_r50_coco.py")
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    logging.disable(logging.INFO)  # a line for each of hundreds of parameters
    results = {mode: measure(mode, args) for mode in ("full_strict", "full", "fixed")}
    for result in results.values():
        print(json.dumps(result))
    for mode in ("full", "full_strict"):
        ratios = {key: results["fixed"][key] / results[mode][key] for key in ("seconds", "saved_mb", "trainable")}
        print(f"fixed / {mode}: " + ", ".join(f"{key} {value:.2f}" for key, value in ratios.items()))


if __name__ == "__main__":
    main()
