"""Measure the drift of a run, corruption by corruption, into its folder."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rtx.drift.layers import Maps, averaged
from rtx.drift.measures import GramMatrix, cka, cosine, grams, mean_without, minibatches
from rtx.drift.subject import DriftSubject
from rtx.evaluation.sweep.batches import CorruptedView, stream
from rtx.evaluation.sweep.forward import Forward, padding_divisor, plan_batches, ready
from rtx.results.drift import MEASURES, PAIRS, Drift, DriftCell, DriftFolder
from rtx.types import CLEAN, Condition

log = logging.getLogger(__name__)

Side = tuple[str, Condition]
""""run" or "source" under a condition."""


@dataclass(eq=False)
class _Seen:
    """What is kept of the images of some conditions: averaged maps, and cosines of whole ones."""

    vectors: dict[tuple[Side, str], dict[int, Tensor]] = field(default_factory=lambda: defaultdict(dict))
    cosines: dict[tuple[str, Condition, str], dict[int, float]] = field(default_factory=lambda: defaultdict(dict))


def measure(subject: DriftSubject, root: Path, *, overwrite: bool = False) -> Drift:
    """Measure the cells that the folder lacks, and write all of them out.

    Args:
        subject: the run.
        root: its folder of drift.
        overwrite: measure everything again.

    Raises:
        RunConflict: the folder is of other weights, images or options.
        DataError, DeviceError, OutputError: an image cannot be prepared, memory runs out, a file cannot be written.
    """
    job = subject.job
    batches = plan_batches(job)
    subject.card["layers"] = _layers(subject, batches)
    folder = DriftFolder(root, subject.card, overwrite=overwrite)
    groups = _groups(job.conditions, () if overwrite else [c for c in job.conditions if folder.read(c) is not None])
    for number, group in enumerate(groups, 1):
        start = time.perf_counter()
        seen = _look(subject, [CLEAN, *(c for c in group if c != CLEAN)], batches)
        for condition, cell in _cells(subject, group, seen):
            if job.unchanged is not None:
                job.unchanged(condition.key)
            folder.write(condition, cell)
        seconds, what = time.perf_counter() - start, group[-1].corruption
        log.info("%s: %s (%d of %d), %.0f s", subject.name, what, number, len(groups), seconds)
    return folder.finish(job.conditions)


def _layers(subject: DriftSubject, batches: list[list[int]]) -> list[str]:
    _, _, maps = next(_outputs(subject, [CLEAN], [batches[0][:1]]))
    return [layer for side, layer in maps[0] if side == "run"]


def _groups(wanted: Sequence[Condition], there: Sequence[Condition]) -> list[list[Condition]]:
    """What is missing, by corruption: all severities share a pass over the clean images. Clean goes with the first."""
    groups: dict[str, list[Condition]] = defaultdict(list)
    for condition in wanted:
        if condition not in there:
            groups[condition.corruption].append(condition)
    clean = groups.pop(CLEAN.corruption, [])
    found = list(groups.values()) or [[]]
    found[0] = [*clean, *found[0]]
    return [group for group in found if group]


def _outputs(
    subject: DriftSubject, conditions: Sequence[Condition], batches: list[list[int]]
) -> Generator[tuple[list[int], Condition, list[Maps]], None, None]:
    """(indices, condition, maps of each image) of each batch; all conditions of a batch come one after the other."""
    job = subject.job
    forward = Forward(job.model, divisor=padding_divisor(job.model))
    loaded = stream(
        CorruptedView(job.dataset), conditions, batches, workers=job.workers, pinned=forward.on_gpu, by_batch=True
    )
    with ready(job), closing(loaded):
        for number, (condition, _, batch) in enumerate(loaded):
            yield batches[number // len(conditions)], condition, forward(batch, condition)


def _look(subject: DriftSubject, conditions: list[Condition], batches: list[list[int]]) -> _Seen:
    seen = _Seen()
    clean: dict[int, Maps] = {}  # of the present batch
    for indices, condition, images in _outputs(subject, conditions, batches):
        if condition == CLEAN:
            clean = dict(zip(indices, images, strict=True))
        for index, maps in zip(indices, images, strict=True):
            for (who, layer), one in maps.items():
                seen.vectors[(who, condition), layer][index] = averaged(one, subject.options.grid)
                if condition != CLEAN:
                    seen.cosines[who, condition, layer][index] = _alike(clean[index][who, layer], one)
                if who == "source":
                    seen.cosines["source_to_run", condition, layer][index] = _alike(one, maps["run", layer])
    return seen


def _alike(one: Tensor, two: Tensor) -> float:
    """Mean over positions of the cosine over channels."""
    return float(cosine(one.flatten(1).float(), two.flatten(1).float()).double().mean())


def _cells(subject: DriftSubject, group: Sequence[Condition], seen: _Seen) -> Iterator[tuple[Condition, DriftCell]]:
    order = subject.job.indices
    parts = minibatches(len(order), subject.options.minibatch, subject.options.protocol.seed)
    unshuffle = np.argsort(np.concatenate(parts))
    kept: dict[tuple[Side, str], tuple[Tensor, list[GramMatrix]]] = {}

    def features(side: Side, layer: str) -> tuple[Tensor, list[GramMatrix]]:
        key = side, layer
        if key not in kept:
            rows = torch.stack([seen.vectors[key][index] for index in order])
            kept[key] = rows, grams(rows, parts)
        return kept[key]

    layers: list[str] = subject.card["layers"]
    for condition in group:
        pairs: dict[str, tuple[Side, Side]] = {"source_to_run": (("source", condition), ("run", condition))}
        if condition != CLEAN:
            pairs |= {who: ((who, CLEAN), (who, condition)) for who in ("run", "source")}
        values = np.full((len(PAIRS), len(layers), len(MEASURES)), np.nan)
        without = np.full((*values.shape, len(order)), np.nan)
        for pair, (left, right) in pairs.items():
            for n, layer in enumerate(layers):
                if (left, layer) not in seen.vectors or (right, layer) not in seen.vectors:
                    continue
                (a, grams_a), (b, grams_b) = features(left, layer), features(right, layer)
                value, less = cka(grams_a, grams_b)
                cosines = [seen.cosines[pair, condition, layer][index] for index in order]
                pooled = cosine(a.double().T, b.double().T).numpy()
                found: list[tuple[float, NDArray[Any]]] = [
                    (value, less[unshuffle]), mean_without(np.array(cosines)), mean_without(pooled)
                ]  # fmt: skip
                for m, (whole, each) in enumerate(found):
                    values[PAIRS.index(pair), n, m], without[PAIRS.index(pair), n, m] = whole, each
        for side in [key for key in kept if key[0][1] not in (CLEAN, condition)]:
            del kept[side]
        yield condition, DriftCell(values, without)
