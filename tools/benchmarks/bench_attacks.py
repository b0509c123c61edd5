"""What attacks cost, as ratios of medians on this machine, by turns in one process; processor time.

    python tools/benchmarks/bench_attacks.py [--arch resnet18] [--side 64] [--batch 16] [--rounds 5]

PGD(k) training against k + 1 plain steps (aim: at most 1.15), free training against a plain epoch of as many passes (at
most 1.2), and the tensors that autograd keeps for an input gradient against those of a plain step (half).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch


def world(arch: str, side: int, batch: int) -> tuple[Any, dict[str, Any], Any]:
    """A classifier, a collated batch of 8-bit images, and its optimiser."""
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import MODELS, init_default_scope
    from mmpretrain.structures import DataSample

    init_default_scope("mmpretrain")
    depth = int(arch.removeprefix("resnet"))
    model = MODELS.build(
        dict(
            type="ImageClassifier",
            backbone=dict(type="ResNet", depth=depth, out_indices=(3,)),
            neck=dict(type="GlobalAveragePooling"),
            head=dict(type="LinearClsHead", num_classes=10, in_channels=2048 if depth >= 50 else 512),
            data_preprocessor=dict(mean=[124, 116, 104], std=[58, 57, 57], num_classes=10, to_rgb=True),
        )
    )
    inputs = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)
    samples = [DataSample(metainfo=dict(img_path="made")).set_gt_label(n % 10) for n in range(batch)]
    data: dict[str, Any] = dict(inputs=inputs, data_samples=samples)
    optimizer = dict(type="SGD", lr=1e-4, momentum=0.9)
    return model.train(), data, build_optim_wrapper(model, dict(type="OptimWrapper", optimizer=optimizer))


def seconds(work: Callable[[], object]) -> float:
    """Processor time of a call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def kept_bytes(work: Callable[[], object]) -> int:
    """Bytes of the tensors that autograd keeps during a forward pass, weights left out."""
    found: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        work()
    return sum(found.values())


def main() -> None:
    """Measure and print."""
    from rtx.adversarial.attack import frozen
    from rtx.transfer.hardening import Hardening, Replayed, TrainUnderAttack
    from rtx.transfer.objectives import objective

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model, data, wrapper = world(args.arch, args.side, args.batch)
    runner = SimpleNamespace(model=model, iter=0, optim_wrapper=wrapper)

    def plain(times: int) -> None:
        for _ in range(times):
            model.train_step(dict(data), wrapper)

    def attacked(steps: int) -> None:
        hook, batch = TrainUnderAttack(Hardening("pgd", "linf", 4, steps=steps).card()), dict(data)
        hook.before_train_iter(runner, 0, batch)
        model.train_step(batch, wrapper)

    def free(times: int) -> None:
        hook = TrainUnderAttack(Hardening("free", "linf", 4, replays=times).card())
        for batch in Replayed([data], times):
            hook.before_train_iter(runner, 0, batch)
            model.train_step(batch, wrapper)
            hook.after_train_iter(runner, 0, batch)

    plain(2)
    attacked(1)
    cases: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        f"PGD({k}) step / {k + 1} plain steps": (partial(attacked, k), partial(plain, k + 1)) for k in (1, 3, 7)
    }
    cases["free training, 4 replays / 4 plain steps"] = partial(free, 4), partial(plain, 4)
    print(f"{args.arch}, {args.batch} images of {args.side} pixels, 1 thread, medians of {args.rounds} rounds by turns")
    for name, (one, other) in cases.items():
        pairs = [(seconds(one), seconds(other)) for _ in range(args.rounds)]
        first, second = (statistics.median(row) for row in zip(*pairs, strict=True))
        print(f"{name:<45} {first / second:.2f}   ({1e3 * first:.0f} / {1e3 * second:.0f} ms)")

    pixels = (data["inputs"].float() / 255).requires_grad_()
    aim = objective(model, data["data_samples"], "ce", seed=0)
    with frozen(model):
        of_attack = kept_bytes(lambda: aim(pixels, 0.0))
    whole = model.data_preprocessor(dict(data), True)
    of_training = kept_bytes(lambda: model.loss(whole["inputs"], whole["data_samples"]))
    print(f"{'kept for an attack / for a training step':<45} {of_attack / of_training:.2f}")


if __name__ == "__main__":
    main()
