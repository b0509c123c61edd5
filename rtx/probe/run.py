"""A probe as a person starts it: sources on a target, a list of sizes, some seeds."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.datasets.classification import MEAN_PER_CLASS, find_target
from rtx.datasets.label_subset import choose
from rtx.datasets.target_data import TargetData, caltech_split_of, open_splits
from rtx.datasets.views import View
from rtx.errors import BadValue, unknown_name
from rtx.probe.design import spread
from rtx.probe.features import BATCH_SIZE, cached_features
from rtx.probe.heads import BUDGET
from rtx.probe.logistic import DECAYS, HELD_OUT, LOWER, SELECTIONS, Split, probe
from rtx.probe.results import HeadRow, Results, file_name, open_results
from rtx.probe.score import accuracies, right_by_class
from rtx.probe.sgd_heads import train_heads
from rtx.probe.source import check_source, load_frozen
from rtx.sources.catalog.archs import import_modules
from rtx.sources.spelling import full_spec
from rtx.transfer.classify import HEAD_INITS, NORMALISE
from rtx.transfer.preprocessing import IMAGE_SIZE, upstream_statistics
from rtx.transfer.recipes import RECIPES, schedule_of

log = logging.getLogger(__name__)

LOGISTIC = "logistic"
HEADS = (LOGISTIC, *RECIPES)
PREPROCESSING = ("salman", "utrera")


@dataclass(frozen=True)
class ProbeOptions:
    """What a probe is asked to do; the command line has a flag for each.

    Attributes:
        sources: names, FILE, ARCH:FILE or ARCH:random.
        target: a row of `rtx.datasets.classification`.
        data_root: its folder.
        images: sizes of training subsets; None is all images.
        seeds: 0 ... seeds - 1; all images have one.
        subset_rule: see `rtx.datasets.label_subset.choose`.
        subset: see `rtx.datasets.target_data.open_target`.
        caltech_split: see `rtx.datasets.target_data.caltech_split_of`.
        preprocessing: see `rtx.transfer.preprocessing.pipelines`; the recipe's when None, and "salman" for `logistic`.
        image_size: side of what the network sees.
        normalise: see `rtx.transfer.classify.TargetOptions`.
        view: of every image, see `rtx.datasets.views`.
        head: "logistic", or SGD by a row of `rtx.transfer.recipes`.
        head_init: of SGD, see `rtx.probe.sgd_heads.train_heads`.
        select, decays: see `rtx.probe.logistic.probe`.
        device: "cpu" or "cuda".
        batch_size, workers: of the feature pass.
        memory: bytes that heads may take.
        cache: folder of features.
        out: folder of results.
        imports: modules that are imported first: those that register networks of your own.
    """

    sources: tuple[str, ...]
    target: str
    data_root: Path
    images: tuple[int | None, ...] = (None,)
    seeds: int = 20
    subset_rule: str = "stratified"
    subset: bool = False
    caltech_split: str = "first"
    preprocessing: str | None = None
    image_size: int = IMAGE_SIZE
    normalise: str = "imagenet"
    view: str = "none"
    head: str = LOGISTIC
    head_init: str = "default"
    select: str = HELD_OUT
    decays: tuple[float, ...] | None = None
    device: str = "cpu"
    batch_size: int = BATCH_SIZE
    workers: int = 4
    memory: int = BUDGET
    cache: Path = Path("work_dirs/features")
    out: Path = Path("work_dirs/probe")
    imports: tuple[str, ...] = ()

    @property
    def pixels(self) -> str:
        """The preprocessing."""
        return self.preprocessing or ("salman" if self.head == LOGISTIC else RECIPES[self.head].preprocessing)


def run_probe(options: ProbeOptions) -> Iterator[Results]:
    """Probe each source; what its file of results has already is not done again.

    Yields:
        The results of each source, complete.

    Raises:
        UnknownName: no such source, target, rule or choice.
        BadValue: more images than there are or fewer than classes, no seeds, a source twice.
        DataError: the data folder or a cache cannot be used.
        WeightsError: a file of weights is missing or does not fit.
        RunConflict: `out` holds results with other settings.
    """
    check_options(options)
    options = spelled(options)
    data = open_data(options)
    labels = data[0].labels
    sizes = list(dict.fromkeys(len(labels) if n is None else n for n in options.images))
    subsets = {
        n: {seed: choose(labels, n, seed, options.subset_rule) for seed in seeds_of(n, len(labels), options.seeds)}
        for n in sizes
    }
    for spec in options.sources:
        split, settings, name = prepare(options, spec, data)
        seen = () if options.view == "none" else (options.view,)
        results = open_results(options.out / file_name(options.target, name, options.head, *seen), settings)
        scale = None
        for n, by_seed in subsets.items():
            todo = results.missing(n, by_seed)
            if todo:
                scale = spread(split.train) if scale is None else scale
                done = fit_heads(options, split, scale, np.stack([by_seed[seed] for seed in todo]), todo)
                results = results.with_rows(done)
                log.info("%s: %d images, %d seeds in %.1f s", spec, n, len(todo), sum(row.seconds for row in done))
        yield results


def seeds_of(n: int, largest: int, seeds: int) -> range:
    """The seeds of a size: for all images there is one subset, and a convex head has one minimum on it."""
    return range(1 if n == largest else seeds)


def check_options(options: ProbeOptions) -> None:
    """Refuse what cannot be done before anything long begins.

    Raises:
        UnknownName, BadValue, WeightsError: see `run_probe`.
    """
    import_modules(options.imports)
    if options.head not in HEADS:
        raise unknown_name("head", options.head, place="rtx/probe/run.py", choices=HEADS)
    for what, value, choices in (
        ("head init", options.head_init, HEAD_INITS),
        ("preprocessing", options.pixels, PREPROCESSING),
        ("normalise", options.normalise, NORMALISE),
        ("selection", options.select, SELECTIONS),
    ):
        if value not in choices:
            raise unknown_name(what, value, place="rtx/probe/run.py", choices=choices)
    View.parse(options.view)
    if options.seeds < 1:
        raise BadValue(f"--seeds {options.seeds}: must be 1 or more")
    if not options.sources or len(set(options.sources)) < len(options.sources):
        raise BadValue(f"--source {' '.join(options.sources)}: give one or more sources, each once")
    if options.batch_size < 1 or options.workers < 1:
        raise BadValue(f"--batch-size {options.batch_size}, --workers {options.workers}: must be 1 or more")
    decays = DECAYS if options.decays is None else options.decays
    if not decays or not all(np.isfinite(decay) and decay > 0 for decay in decays):
        raise BadValue(f"--decays {' '.join(map(str, decays))}: give one or more numbers above 0")
    for spec in options.sources:
        check_source(spec)


def spelled(options: ProbeOptions) -> ProbeOptions:
    """With each source in the one spelling that trainings have too.

    Raises:
        BadValue: a source twice.
        WeightsError: a file cannot be read.
    """
    sources = tuple(map(full_spec, options.sources))
    if len(set(sources)) < len(sources):
        raise BadValue(f"--source {' '.join(options.sources)}: give each source once")
    return replace(options, sources=sources)


def open_data(options: ProbeOptions) -> tuple[TargetData, TargetData]:
    """The training and the test split.

    Raises:
        DataError: see `rtx.datasets.target_data.open_splits`.
    """
    rule, seed = caltech_split_of(options.caltech_split)
    reading = dict(subset=options.subset, caltech_split=rule, split_seed=seed)
    return open_splits(options.target, options.data_root, **reading)


def prepare(options: ProbeOptions, spec: str, data: tuple[TargetData, TargetData]) -> tuple[Split, dict[str, Any], str]:
    """Features of a source, from the cache or by a pass; all that its results depend on; its name for files.

    Raises:
        UnknownName, BadValue, DataError, WeightsError: see `run_probe`.
    """
    source = load_frozen(spec, options.device)
    if options.normalise == "upstream":
        statistics = upstream_statistics(options.pixels, options.target, spec)
        if statistics is not None:
            source = replace(source, mean=tuple(statistics[0]), std=tuple(statistics[1]))
    (features, cached), (test_features, cached_test) = (
        cached_features(
            source,
            part,
            options.cache,
            preprocessing=options.pixels,
            image_size=options.image_size,
            view=View.parse(options.view),
            batch_size=options.batch_size,
            workers=options.workers,
        )
        for part in data
    )
    logistic = options.head == LOGISTIC
    settings = {
        "source": spec,
        "target": options.target,
        "head": options.head,
        "weights": source.weights,
        "cache": cached.key,
        "cache_test": cached_test.key,
        "preprocessing": options.pixels,
        "image_size": options.image_size,
        "normalise": options.normalise,
        "subset_rule": options.subset_rule,
        "selected_on": options.select if logistic else None,
        "decays": sorted(options.decays or (*LOWER, *DECAYS)) if logistic else None,
        **({"lower_decays": "within 2 standard errors"} if logistic and not options.decays else {}),
        "head_init": None if logistic else options.head_init,
        **({} if options.view == "none" else {"view": options.view}),
        **({} if options.caltech_split == "first" else {"caltech_split": options.caltech_split}),
        **({"subset": True} if options.subset else {}),
    }
    train, test = data
    return Split(features, train.labels, test_features, test.labels, len(train.classes)), settings, source.name


def fit_heads(
    options: ProbeOptions, split: Split, scale: float, rows: NDArray[np.int64], seeds: Sequence[int]
) -> list[HeadRow]:
    """A row for each seed and its subset `rows` (S, n); `scale` is the spread of the training features."""
    return (
        _logistic(options, split, rows, seeds, scale) if options.head == LOGISTIC else _sgd(options, split, rows, seeds)
    )


def _logistic(
    options: ProbeOptions, split: Split, rows: NDArray[np.int64], seeds: Sequence[int], scale: float
) -> list[HeadRow]:
    begun = time.perf_counter()
    found = probe(
        split, rows, spread=scale, decays=options.decays, select=options.select, device=options.device,
        by_class=find_target(options.target).metric == MEAN_PER_CLASS, budget=options.memory,
    )  # fmt: skip
    seconds = (time.perf_counter() - begun) / len(seeds)
    return [
        HeadRow(
            rows.shape[1], seed, one.accuracy, one.mean_per_class, one.selected_on, seconds, one.decay * scale,
            one.decay, one.held_out_accuracy, one.at_edge, one.converged, rows.shape[1] == len(split.train_labels),
        )
        for seed, one in zip(seeds, found, strict=True)
    ]  # fmt: skip


def _sgd(options: ProbeOptions, split: Split, rows: NDArray[np.int64], seeds: Sequence[int]) -> list[HeadRow]:
    begun = time.perf_counter()
    recipe = RECIPES[options.head]
    n = rows.shape[1]
    weight, bias = train_heads(
        split.train, split.train_labels, rows, list(seeds), classes=split.classes, recipe=recipe,
        schedule=schedule_of(recipe, None if n == len(split.train) else n), head_init=options.head_init,
        device=options.device, budget=options.memory,
    )  # fmt: skip
    right = right_by_class(split.test, split.test_labels, weight.double(), bias.double())
    seconds = (time.perf_counter() - begun) / len(seeds)
    return [
        HeadRow(n, seed, float(top), float(mean), "none", seconds, whole=n == len(split.train_labels))
        for seed, top, mean in zip(seeds, *accuracies(right, split.test_labels), strict=True)
    ]
