"""The intervals of a finished evaluation in its folder: `confidence.json`, and `resamples.npz`, what it is made of.

`resamples.npz` holds `conditions` (keys of the columns), `draws` (names the resampled images: their number, seed and
data hash) and for the headline metric an array (resamples, conditions). Two runs with the same `draws` saw the same
images in each resample, so the difference of their rows is a paired one.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rtx.files import read_bounded, read_json, write_atomic, write_whole
from rtx.results.arrays import MOST
from rtx.results.evaluation import Evaluation
from rtx.results.folder import CONFIDENCE, RESAMPLED, WRITTEN_AGAIN, evidence_path
from rtx.results.intervals import Confidence, intervals
from rtx.results.resample import RESAMPLES, Table, resampled_tables
from rtx.results.summary import defined_metrics, write_summary
from rtx.types import Condition

log = logging.getLogger(__name__)

CONFIDENCE_FORMAT = "rtx.confidence/1"


@dataclass(frozen=True)
class Known:
    """The content of `confidence.json`.

    Attributes:
        metrics: metric -> its intervals, the headline first.
        without: metric -> why it has no interval.
        resamples_sha256: of `resamples.npz`.
    """

    metrics: dict[str, Confidence]
    without: dict[str, str]
    resamples_sha256: str

    @property
    def headline(self) -> Confidence:
        """Intervals of the metric that P, mPC and rPC are made of."""
        return next(iter(self.metrics.values()))


def read_confidences(evaluation: Evaluation) -> Known | str:
    """The intervals in a folder, or why they do not count.

    Returns:
        "" where there is no file; a reason where it is damaged, was made from other cells, or edited.
    """
    path = evaluation.root / CONFIDENCE
    if not path.is_file():
        return ""
    try:
        content = read_json(path)
        rows = {content["metric"]: content, **content["others"]}
        found = {name: Confidence.from_dict(row) for name, row in rows.items()}
        known = Known(found, dict(content["without"]), str(content["resamples_sha256"]))
        conditions = known.headline.conditions
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        return f"not readable as intervals ({error}); {WRITTEN_AGAIN}"
    if not evaluation.is_origin_of(content, conditions):
        return f"{CONFIDENCE} belongs to other scores; {WRITTEN_AGAIN}"
    return known


def write_confidences(
    evaluation: Evaluation, metrics: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Confidence]:
    """Intervals over images of several metrics in one pass over the evidence, written to `confidence.json`.

    The first metric is the headline: it is the top level of the file, and alone in `resamples.npz`, from which
    differences of runs are made. The others lie under `others`; `without` has the reason for those that have no
    interval at all. Cells that cannot be resampled are left out; `missing` says which and why. What is there already is
    kept if it was made from the same cells with the same options.

    Args:
        evaluation: the cells that P, mPC and rPC are made of.
        metrics: which ones, the headline first.
        resamples: how many resamplings.
        seed: of the draws.

    Returns:
        Metric -> intervals, the headline first; those of `without` are left out.

    Raises:
        MissingConditions: no cell at all can be resampled.
    """
    kept = _kept(evaluation)
    if kept and _fits(kept, evaluation, metrics, resamples, seed):
        return kept.metrics
    faults: dict[str, dict[Condition, str]] = {name: {} for name in metrics}
    expected = {c: {n: cell.metrics.get(n, np.nan) for n in metrics} for c, cell in evaluation.cells.items()}
    tables, n_images = resampled_tables(evaluation.evidence, metrics, resamples, seed, expected=expected, faults=faults)
    found = {
        name: intervals(table, name, n_images, seed=seed, missing=faults[name])
        for name, table in tables.items()
        if table
    }
    without = {name: next(iter(faults[name].values())) for name in metrics if name not in found}
    draws = f"{resamples} resamples of {n_images} images, seed {seed}, data {evaluation.card.get('data_sha256')}"
    table = table_bytes(tables[metrics[0]], metrics[0], draws)
    write_whole(evaluation.root / RESAMPLED, table)
    write_atomic(evaluation.root / CONFIDENCE, confidence_text(evaluation, found, without, table))
    return found


def confidence_text(
    evaluation: Evaluation, found: Mapping[str, Confidence], without: Mapping[str, str], table: bytes
) -> str:
    """The content of `confidence.json`.

    Args:
        evaluation: its cells.
        found: metric -> intervals, the headline first.
        without: metric -> why it has none.
        table: the content of `resamples.npz`.
    """
    first, *rest = found.values()
    content: dict[str, Any] = {
        "format": CONFIDENCE_FORMAT,
        "preview": evaluation.card.get("limit") is not None,
        "made_from": "",
        "resamples_sha256": hashlib.sha256(table).hexdigest(),
        **first.to_dict(),
        "others": {row.metric: row.to_dict() for row in rest},
        "without": dict(without),
    }
    content["made_from"] = evaluation.made_from(content, first.conditions)
    return json.dumps(content, indent=1) + "\n"


def table_bytes(table: Table, metric: str, draws: str) -> bytes:
    """The content of `resamples.npz`: one row for each resampling; the same table gives the same bytes."""
    stream = io.BytesIO()
    values = np.stack([row[1:] for row in table.values()], axis=1)
    columns = {"conditions": np.array([c.key for c in table]), "draws": np.array(draws), metric: values}
    np.savez(stream, **columns)  # type: ignore[arg-type]  # names never equal its own keywords
    return stream.getvalue()


def write_results(evaluation: Evaluation, headline: str, *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Write what is made of the cells: intervals of all metrics that they define, and the summary, which is returned.

    Args:
        evaluation: the cells.
        headline: the metric that P, mPC and rPC are made of.
        resamples: how many resamplings; with 0 the summary has the intervals that are there already, if they are of
            these very cells.

    Raises:
        MissingConditions: see `write_confidences`.
    """
    if resamples:
        names = [headline, *(name for name in defined_metrics(evaluation.cells) if name != headline)]
        return write_summary(evaluation, headline, write_confidences(evaluation, names, resamples=resamples))
    kept = _kept(evaluation)
    same = kept and set(kept.headline.conditions) == set(evaluation.cells) and kept.headline.metric == headline
    return write_summary(evaluation, headline, kept.metrics if kept and same else None)


def _kept(evaluation: Evaluation) -> Known | None:
    known = read_confidences(evaluation)
    if isinstance(known, str) and known:
        log.warning("%s: left out, %s", evaluation.root / CONFIDENCE, known)
    return known if isinstance(known, Known) else None


def _fits(known: Known, evaluation: Evaluation, metrics: Sequence[str], resamples: int, seed: int) -> bool:
    """Whether computing the intervals would give what is known."""
    found = known.headline
    return (
        (found.metric, found.resamples, found.seed) == (metrics[0], resamples, seed)
        and set(metrics) == {*known.metrics, *known.without}
        and set(found.conditions) == set(evaluation.cells)
        and all((c in found.cells) == evidence_path(evaluation.root, c).is_file() for c in evaluation.cells)
        and _sha256(evaluation.root / RESAMPLED) == known.resamples_sha256
    )


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(read_bounded(path, MOST)).hexdigest()
    except (OSError, ValueError):
        return None
