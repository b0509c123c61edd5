#!/usr/bin/env python3
"""What influence costs at the scale of Utrera et al. (2021): 2,048 features, 10 classes, 3,200 training images.

    python tools/benchmarks/bench_influence.py [--images N] [--tests M] [--width D] [--classes K] [--inverse decay ...]

Features are simulated: a centre for each class and noise, through a ReLU, with variances that fall as 1 / k. Times are
CPU seconds of this process; memory is the largest that it had, with the features and the fit of the head.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from rtx.influence.head import CURVATURES, Inverse, SoftmaxHead, influences
from rtx.influence.measures import matches
from rtx.probe.design import spread
from rtx.probe.heads import Column, fit
from rtx.probe.logistic import DEFAULT_DECAY


def simulated(images: int, tests: int, width: int, classes: int) -> SoftmaxHead:
    """A head fitted with the default decay."""
    rng = np.random.default_rng(0)
    scale = 1 / np.sqrt(1 + np.arange(width))
    centres = rng.normal(size=(classes, width)) * 0.6
    labels = np.arange(images + tests) % classes
    x = np.maximum((centres[labels] + rng.normal(size=(images + tests, width))) * scale + 0.3 * scale, 0)
    features = x.astype(np.float32)
    train, decay = features[:images], DEFAULT_DECAY * spread(features[:images])
    (found,) = fit(train, labels[:images], np.arange(images)[None], [Column(decay)], classes=classes)
    weight, bias = found.weight[0, 0].numpy(), found.bias[0, 0].numpy()
    return SoftmaxHead(weight, bias, train, labels[:images], features[images:], labels[images:], decay)


def main() -> None:
    """Time each inverse and print a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("images", 3200), ("tests", 1000), ("width", 2048), ("classes", 10)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--inverse", nargs="+", default=["decay", "pinv:0.05"])
    parser.add_argument("--curvature", choices=CURVATURES, default="hessian")
    args = parser.parse_args()
    head = simulated(args.images, args.tests, args.width, args.classes)
    for text in args.inverse:
        cpu, wall = time.process_time(), time.perf_counter()
        found = influences(head, Inverse.parse(text), args.curvature)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        top = matches(found.values, head.test_labels, head.train_labels).top1.value
        print(
            f"{text:10} {found.solver:9} unknowns {found.unknowns:6} kept {found.kept:6} "
            f"condition {found.condition:8.1e} "
            f"cpu {cpu:6.1f} s wall {wall:6.1f} s peak {peak:5.2f} GB top-1 match {top:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
