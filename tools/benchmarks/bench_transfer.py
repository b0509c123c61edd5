#!/usr/bin/env python3
"""Time and memory of one training step of Mask R-CNN R50 in fixed and in full mode.

  python tools/benchmarks/bench_transfer.py [--size 320] [--batch 2] [--steps 3] [--device cpu]
  python tools/benchmarks/bench_transfer.py --timm     ResNet-50 and Swin-T of timm beside mmdet's own, a process each

Saved activations are counted exactly, by the tensors that autograd keeps for the backward pass; on a GPU the peak of
the allocator is shown too. Images and boxes are random: only cost is measured.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import subprocess
import sys
import time
from typing import Any

# Networks of timm, and mmdet's config with its own of that architecture.
PEERS = {
    "resnet50": "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
    "swin_tiny_patch4_window7_224": "mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py",
}


def peer_config(name: str) -> Any:
    """The config of mmdet itself, or with "timm:" before the name the same with timm's network; random weights."""
    from mmengine.config import Config

    from rtx.config import with_source, with_transfer

    own = name.removeprefix("timm:")
    text = f"_base_ = {PEERS[own]!r}\nmodel = dict(backbone=dict(init_cfg=None))\n"
    cfg = Config.fromstring(text, ".py")
    cfg.model.backbone.drop_path_rate = 0.1 if "swin" in own else None  # timm's default is another
    if "swin" not in own:
        del cfg.model.backbone["drop_path_rate"]
    return with_transfer(with_source(cfg, f"{name}@random"), "full") if own != name else cfg


def beside_mmdet(args: argparse.Namespace) -> None:
    """Each network in a process of its own, since peak memory never falls; by turns; then the ratios."""
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(args.repeats):
        for name in PEERS:
            for one in (name, f"timm:{name}"):
                command = [
                    sys.executable,
                    __file__,
                    "--only",
                    one,
                    "--size",
                    str(args.size),
                    "--batch",
                    str(args.batch),
                ]
                command += ["--steps", str(args.steps), "--device", args.device]
                done = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found.setdefault(one, []).append(json.loads(done.splitlines()[-1]))
                print(json.dumps(found[one][-1]), flush=True)
    for name in PEERS:
        keys = [key for key in ("seconds", "saved_mb", "peak_mb", "trainable") if key in found[name][0]]
        best = {one: {key: min(row[key] for row in found[one]) for key in keys} for one in (name, f"timm:{name}")}
        ratios = ", ".join(f"{key} {best[f'timm:{name}'][key] / best[name][key]:.3f}" for key in keys)
        print(f"timm / mmdet, {name}: {ratios}")


def measure(mode: str, args: argparse.Namespace, cfg: Any = None) -> dict[str, Any]:
    """Seconds a step (the fastest; CPU time on a CPU), megabytes kept for the backward pass, parameters that train.

    With `cfg`, on a CPU, also the megabytes by which the steps raise the peak of the process.
    """
    import torch
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import MODELS, init_default_scope

    from rtx.config import load, with_source, with_transfer
    from rtx.transfer.guard import freeze_map

    peer, cfg = cfg is not None, cfg or with_transfer(with_source(load(args.config), "random"), mode)
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
    before = resident()
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
    if peer and args.device == "cpu":
        result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10 - before
    if args.device != "cpu":
        result["peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
        torch.cuda.reset_peak_memory_stats()
    return result


def resident() -> float:
    """Megabytes that the process holds."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 2**10 for line in file if line.startswith("VmRSS"))


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
    parser.add_argument("--timm", action="store_true", help="timm's networks beside mmdet's own")
    parser.add_argument("--repeats", type=int, default=1, help="of --timm")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.timm:
        beside_mmdet(args)
        return
    logging.disable(logging.INFO)  # a line for each of hundreds of parameters
    if args.only:
        print(json.dumps(measure(args.only, args, peer_config(args.only))))
        return
    results = {mode: measure(mode, args) for mode in ("full_strict", "full", "fixed")}
    for result in results.values():
        print(json.dumps(result))
    for mode in ("full", "full_strict"):
        ratios = {key: results["fixed"][key] / results[mode][key] for key in ("seconds", "saved_mb", "trainable")}
        print(f"fixed / {mode}: " + ", ".join(f"{key} {value:.2f}" for key, value in ratios.items()))


if __name__ == "__main__":
    main()
