#!/usr/bin/env python3
"""What a probe costs beside SGD heads that forward every image in every epoch, how accurate both are, and its memory.

    python tools/benchmarks/bench_probe.py --target kmnist --data-root DIR [--source resnet18:random] [--json FILE]
    python tools/benchmarks/bench_probe.py --memory N K        # N images of 2048 simulated features, K classes

One source, one target of 2,500 images, 9 sizes, 20 seeds: the pass and all heads of the probe are run and timed whole.
As many SGD heads by the recipe of Utrera et al. that forward every image in every epoch would take days, so that:

- at each size one of them is trained for --epochs epochs, twice and four times as many, from pixels that are decoded
  already; what an epoch more takes, times epochs and heads, is what all would take: a product. `linear` says whether
  the later epochs take as long as the earlier ones (1).
- its scores must be those of the same SGD head on cached features (`same_heads`); so all SGD heads are trained to their
  end on cached features, and their accuracies, with those of the recipe of Salman et al., stand beside the probe's.

Times are CPU seconds of this process, so that others on the machine count little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from rtx.datasets.label_subset import choose
from rtx.datasets.target_data import TargetData, open_target
from rtx.probe.cache import Cached, Features, opened
from rtx.probe.design import spread
from rtx.probe.features import cached_features, decoder, pixel_steps
from rtx.probe.heads import BUDGET, Column, fit
from rtx.probe.logistic import Split, probe
from rtx.probe.run import seeds_of
from rtx.probe.score import accuracies, right_by_class
from rtx.probe.sgd_heads import train_heads
from rtx.probe.source import FrozenSource, load_frozen
from rtx.results.over_seeds import paired
from rtx.transfer.recipes import RECIPES, Recipe, schedule_of

IMAGES = 2500
SIZES = (100, 200, 300, 400, 600, 800, 1200, 1600, IMAGES)
SGD = ("utrera", "salman")


def epochs_of(n: int) -> int:
    """Of Utrera et al.'s schedule; the largest size is a subset, not the whole set."""
    return schedule_of(RECIPES["utrera"], n).epochs


class Forwarded:
    """Stands for an array of features: what is asked for goes through the network first, each time."""

    def __init__(self, source: FrozenSource, pixels: NDArray[np.uint8]) -> None:
        self.source, self.pixels, self.shape = source, pixels, (len(pixels), source.width)
        self.count = 0

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.pixels)

    def __getitem__(self, places: NDArray[np.int64]) -> Features:
        """Features (S, b, D) of the images at `places` (S, b)."""
        images = torch.from_numpy(self.pixels[places.ravel()])
        self.count += len(images)
        found: Features = self.source(images).numpy().reshape(*places.shape, -1)
        return found


def decoded(data: TargetData, size: int) -> NDArray[np.uint8]:
    """The pixels that the network sees, (n, size, size, 3)."""
    image = decoder(data, pixel_steps("salman", data.name, size))
    return np.stack([image(n) for n in range(len(data))])


def forwarded(source: FrozenSource, split: Split, pixels: NDArray[np.uint8], n: int, epochs: int) -> dict[str, Any]:
    """Seconds for an epoch of one SGD head that forwards its images, from `epochs` of them, twice and four times."""
    took, same = [], True
    for some in (epochs, 2 * epochs, 4 * epochs):
        network = Forwarded(source, pixels)
        started = time.process_time()
        slow = by_sgd(replace(split, train=cast("Features", network)), n, 1, RECIPES["utrera"], some, budget=0)
        took.append(time.process_time() - started)
        assert network.count == some * n
        same &= slow == by_sgd(split, n, 1, RECIPES["utrera"], some)
    one, two, four = took
    return {"epoch_s": (four - one) / (3 * epochs), "linear": (four - two) / (2 * (two - one)), "same_heads": same}


def first(data: TargetData, n: int) -> TargetData:
    """The first images of a split."""
    return replace(data, labels=data.labels[:n], names=data.names[:n])


def timed(split: Split, n: int, seeds: int, decays: tuple[float, ...] | None = None) -> tuple[float, list[float]]:
    """Seconds for all heads of a size, and their accuracies."""
    rows = subsets(split, n, seeds)
    scale = spread(split.train)
    started = time.process_time()
    found = probe(split, rows, spread=scale, decays=decays)
    return time.process_time() - started, [one.accuracy for one in found]


def subsets(split: Split, n: int, seeds: int) -> Any:
    """Of the seeds of a size."""
    chosen = seeds_of(n, len(split.train), seeds)
    return np.stack([choose(split.train_labels, n, seed) for seed in chosen])


def by_sgd(
    split: Split, n: int, seeds: int, recipe: Recipe, epochs: int | None = None, budget: int = BUDGET
) -> list[float]:
    """Accuracies of a recipe's heads."""
    rows = subsets(split, n, seeds)
    heads = train_heads(
        split.train, split.train_labels, rows, list(range(len(rows))), classes=split.classes, recipe=recipe,
        schedule=schedule_of(recipe, n, epochs=epochs), budget=budget,
    )  # fmt: skip
    right = right_by_class(split.test, split.test_labels, *(part.double() for part in heads))
    return [float(value) for value in accuracies(right, split.test_labels)[0]]


def against(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """Mean accuracy of SGD heads, and what the probe's have more, paired by seed, with its 95 % interval by t."""
    more = paired(dict(enumerate(ours)), dict(enumerate(theirs))).difference
    return {"accuracy": statistics.mean(theirs), "probe_minus_sgd": more.mean, "interval": more.t}


def against_sgd(args: argparse.Namespace) -> tuple[dict[str, Any], Split]:
    """The probe, and what as many SGD heads would take."""
    source = load_frozen(args.source)
    train, test = (open_target(args.target, args.data_root, split, subset=True) for split in ("train", "test"))
    train = first(train, IMAGES)
    with tempfile.TemporaryDirectory() as made:
        started = time.process_time()
        passes = [cached_features(source, part, Path(made), image_size=args.image_size)[0] for part in (train, test)]
        found: dict[str, Any] = {"images": len(train), "tests": len(test), "pass_s": time.process_time() - started}
        print(json.dumps(found), flush=True)
        features, test_features = (np.array(part) for part in passes)
    split = Split(features, train.labels, test_features, test.labels, len(train.classes))
    pixels, rows = decoded(train, args.image_size), []
    for n in SIZES:
        seconds, ours = timed(split, n, args.seeds, args.decays and tuple(args.decays))
        row: dict[str, Any] = {"images": n, "heads": len(ours), "heads_s": seconds, "accuracy": statistics.mean(ours)}
        for name in SGD:
            row[name] = against(ours, by_sgd(split, n, args.seeds, RECIPES[name]))
        row |= forwarded(source, split, pixels, n, args.epochs)
        # The last epoch's head is tested: one pass over the test images.
        row["sgd_s_by_product"] = len(ours) * row["epoch_s"] * (epochs_of(n) + len(test) / n)
        rows.append(row)
        print(json.dumps(row), flush=True)
    whole = found["pass_s"] + sum(row["heads_s"] for row in rows)
    sgd = sum(row["sgd_s_by_product"] for row in rows)
    found |= {"sizes": rows, "probe_s": whole, "sgd_s_by_product": sgd, "times_cheaper": sgd / whole}
    return found, split


def growth(split: Split, decays: tuple[float, ...] | None) -> dict[str, Any]:
    """Seconds of the heads of 400 images over seeds, of made features over classes."""
    found: dict[str, Any] = {"seeds": {}, "classes": {}}
    for seeds in (1, 2, 4, 8):
        found["seeds"][seeds] = timed(split, 400, seeds, decays)[0]
        print(f"growth: {seeds} seeds, {found['seeds'][seeds]:.2f} s", flush=True)
    for classes in (10, 20, 40):
        rng = np.random.default_rng(0)
        labels = np.arange(800) % classes
        x = (rng.normal(size=(classes, 512))[labels] + 2 * rng.normal(size=(800, 512))).astype(np.float32)
        made = Split(x[:600], labels[:600], x[600:], labels[600:], classes)
        found["classes"][classes] = timed(made, 400, 2, decays)[0]
        print(f"growth: {classes} classes, {found['classes'][classes]:.2f} s", flush=True)
    return found


class Memory(threading.Thread):
    """Watches the anonymous memory of this process, which pages of mapped files are no part of."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.going = 0.0, True

    def run(self) -> None:
        """Look every 20 ms."""
        while self.going:
            self.peak = max(self.peak, anonymous())
            time.sleep(0.02)


def anonymous() -> float:
    """MiB."""
    text = Path("/proc/self/status").read_text()
    return int(text.split("RssAnon:")[1].split()[0]) / 1024


def memory(images: int, classes: int, folder: Path, evaluations: int, columns: int) -> dict[str, Any]:
    """Peak memory of writing features and of fitting heads on all of them, above what the process held before."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(1024, 2048)).astype(np.float32)
    labels = rng.integers(0, classes, images)

    def pieces() -> Iterator[Features]:
        for start in range(0, images, 1024):
            rows = base[: min(1024, images - start)].copy()
            rows[np.arange(len(rows)), labels[start : start + len(rows)]] += 3
            yield rows

    found: dict[str, Any] = {"images": images, "classes": classes, "features_GiB": images * 2048 * 4 / 2**30}
    held = anonymous()
    for name in ("pass", "heads"):
        watch = Memory()
        watch.start()
        started = time.process_time()
        if name == "pass":
            features = opened(Cached(folder, "made", {"images": images}, (images, 2048)), pieces)[0]
        else:
            decays = [Column(10.0**-k) for k in range(1, columns + 1)]
            fits = fit(features, labels, np.arange(images)[None], decays, classes=classes, max_evaluations=evaluations)
            found["evaluations"] = [one.evaluations for one in fits]
        watch.going = False
        watch.join()
        print(name, f"peak {watch.peak - held:.0f} MiB above the start", flush=True)
        found |= {f"{name}_s": time.process_time() - started, f"{name}_peak_MiB": watch.peak - held}
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="resnet18:random")
    parser.add_argument("--target", default="kmnist")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--decays", nargs="+", type=float, help="the grid of the probe, instead of its own")
    parser.add_argument(
        "--epochs", type=int, default=2, help="of an SGD head that forwards images; also 2 and 4 times that"
    )
    parser.add_argument("--memory", nargs=2, type=int, metavar=("N", "K"))
    parser.add_argument("--evaluations", type=int, default=3, help="of the loss, with --memory")
    parser.add_argument("--columns", type=int, default=2, help="weight decays, with --memory")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.memory:
        with tempfile.TemporaryDirectory() as made:
            images, classes = args.memory
            found = memory(images, classes, Path(made), args.evaluations, args.columns)
    else:
        if args.data_root is None:
            parser.error("--data-root is needed")
        found, split = against_sgd(args)
        found["growth"] = growth(split, args.decays and tuple(args.decays))
    text = json.dumps(found, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
