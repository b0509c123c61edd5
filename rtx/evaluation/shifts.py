"""Test sets of an evaluation beside its own: what they must have in common, and where they are scored."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from rtx.datasets.openmmlab.checks import check_data
from rtx.datasets.openmmlab.with_data import with_data
from rtx.errors import BadValue, RunConflict, some
from rtx.evaluation.protocol import Protocol
from rtx.evaluation.sweep.forward import Job
from rtx.evaluation.sweep.locks import Shard
from rtx.metrics.metric import Metric
from rtx.results.confidence import write_results
from rtx.results.evaluation import Evaluation
from rtx.results.folder import SUMMARY, CellFolder
from rtx.results.shifts import check_name, shift_folder

log = logging.getLogger(__name__)

Shifts = Mapping[str, str | Path]
"""Name -> data folder."""
Prepare = Callable[[Config | Path, Path, Protocol], Job]


def shift_jobs(
    shifts: Shifts, main: Job, data: Config | str | Path, protocol: Protocol, prepare: Prepare, *, overwrite: bool
) -> dict[str, Job]:
    """The evaluations of other test sets, ready to run: clean images, the same model, classes and metric.

    Args:
        shifts: name -> folder, in a layout that the main test set could have.
        main: the evaluation that they belong to.
        data: what that one is evaluated on.
        protocol: how.
        prepare: (data, folder, protocol) -> the evaluation.
        overwrite: what lies in their folders goes.

    Raises:
        BadValue: a name that cannot be, other classes than the main test set's, or its very images.
        DataError: a folder cannot be used as it is.
        RunConflict: a shift's folder holds the scores of other images or another protocol.
    """
    jobs: dict[str, Job] = {}
    clean = replace(protocol, corruptions=(), severities=(0,))
    for name, place in shifts.items():
        check_name(name)
        root = Path(place).expanduser()
        if not root.is_dir():
            raise BadValue(f"shift {name!r}: {str(place)!r} is no folder (looked for {root.absolute()})")
        source: Config | Path = root
        if isinstance(data, Config):
            source = with_data(data, root)
            check_data(source, splits=("val",))
        job = prepare(source, shift_folder(main.out, name), clean)
        _check_classes(name, root, job, main)
        if job.card["images_sha256"] == main.card["images_sha256"]:
            raise BadValue(f"shift {name!r}: {root} holds the images of the evaluation itself; give another folder")
        job = replace(job, card={**job.card, "labels": {**job.card["labels"], "data": name}})
        if not overwrite and job.card.get("device") == main.card.get("device"):
            try:
                CellFolder(job.out, job.card)
            except RunConflict as error:
                raise RunConflict(f"shift {name!r}: {error}") from error
        jobs[name] = job
    return jobs


def _check_classes(name: str, root: Path, job: Job, main: Job) -> None:
    mine, theirs = (tuple(each.dataset.metainfo["classes"]) for each in (main, job))
    if mine == theirs:
        return
    lacking, more = [c for c in mine if c not in theirs], [c for c in theirs if c not in mine]
    what = [f"lacks {some(lacking)}"] if lacking else []
    what += [f"has {some(more)} besides"] if more else []
    raise BadValue(
        f"shift {name!r}: {root} {' and '.join(what) or 'has the classes in another order'}; its {len(theirs)} classes "
        f"must be the {len(mine)} of the evaluation, in the same order, so that the labels mean the same"
    )


def mine(jobs: Mapping[str, Job], shard: Shard | None) -> dict[str, Job]:
    """The shifts of a shard (i, n): every n-th, from the i-th on."""
    index, count = shard or (1, 1)
    return {name: job for n, (name, job) in enumerate(jobs.items()) if n % count == index - 1}


def with_shifts(main: Job, scorer: Metric, *, resamples: int) -> dict[str, Any] | None:
    """Write the summary of an evaluation again, with the shifts that are there by now; None before it has one."""
    if not (main.out / SUMMARY).is_file():
        return None
    evaluation = Evaluation.read(main.out)
    try:
        return write_results(evaluation, scorer.headline, resamples=resamples)
    except BadValue as error:
        log.warning("no intervals: %s", error)
        return write_results(evaluation, scorer.headline, resamples=0)
