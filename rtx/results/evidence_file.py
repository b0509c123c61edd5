"""The evidence file of a cell: what its score can be computed from again, a few hundred kilobytes for 1,000 images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue
from rtx.files import write_whole
from rtx.metrics.per_image import DetectionEvidence, Evidence, Measure, PixelEvidence, RankEvidence, Ranking
from rtx.results.arrays import pack, reading, unpack

EVIDENCE_FORMAT = "rtx.evidence/1"


def to_bytes(evidence: Evidence, *, key: str = "", condition: str = "") -> bytes:
    """The content of an evidence file; the same evidence gives the same bytes.

    Args:
        evidence: what to write.
        key: key of the protocol under which the cell was made.
        condition: key of the condition.
    """
    head: dict[str, Any] = {"format": EVIDENCE_FORMAT, "key": key, "condition": condition}
    arrays: dict[str, NDArray[Any]] = {"image_ids": np.array(evidence.image_ids, dtype=np.str_)}
    if isinstance(evidence, PixelEvidence):
        head |= {"n_classes": evidence.n_classes}
        arrays["pixels"] = _narrow(evidence.rows)
    elif isinstance(evidence, RankEvidence):
        head |= {"metrics": list(evidence.metrics)}
        arrays |= {"labels": _narrow(evidence.labels), "ranks": _narrow(evidence.ranks)}
    else:
        head |= {"measures": {name: asdict(m) for name, m in evidence.measures.items()}, "rankings": []}
        for name, ranking in evidence.rankings.items():
            head["rankings"].append(name)
            arrays |= {f"{name}/{part}": _narrow(getattr(ranking, part)) for part in ("images", "hits", "ignored")}
            arrays |= {f"{name}/{part}": _narrow(getattr(ranking, part)) for part in ("starts", "objects")}
            arrays[f"{name}/tied"] = np.packbits(ranking.tied)
    return pack(head, arrays)


def save(path: Path, evidence: Evidence, *, key: str = "", condition: str = "") -> None:
    """Write an evidence file, whole or not at all."""
    write_whole(path, to_bytes(evidence, key=key, condition=condition))


def load(path: Path, *, key: str | None = None, content: IO[bytes] | None = None) -> Evidence:
    """Read an evidence file.

    Args:
        path: the file.
        key: the protocol that it must belong to; any when None.
        content: the file where it was read before; None to open it.

    Raises:
        BadValue: it is no evidence file, or belongs to another protocol.
    """
    with reading(path, "evidence file", "delete its cell and run again"):
        head, arrays = unpack(path if content is None else content, EVIDENCE_FORMAT)
        evidence = _from(head, arrays)
    if key is not None and head["key"] != key:
        raise BadValue(f"{path}: belongs to another protocol than its cell; delete both and run again")
    return evidence


def _from(head: Mapping[str, Any], content: Mapping[str, NDArray[Any]]) -> Evidence:
    ids = tuple(str(i) for i in content["image_ids"])
    if "pixels" in content:
        return PixelEvidence(ids, content["pixels"].astype(np.int64), int(head["n_classes"]))
    if "ranks" in content:
        labels, ranks = (content[name].astype(np.int64) for name in ("labels", "ranks"))
        return RankEvidence(ids, labels, ranks, tuple(head["metrics"]))
    measures = {
        name: Measure(row["ranking"], row["rule"], tuple(row["thresholds"]), row["absent"])
        for name, row in head["measures"].items()
    }
    return DetectionEvidence(ids, {name: _ranking(name, content) for name in head["rankings"]}, measures)


def _ranking(name: str, content: Mapping[str, NDArray[Any]]) -> Ranking:
    images = content[f"{name}/images"]
    return Ranking(
        images,
        content[f"{name}/hits"],
        content[f"{name}/ignored"],
        np.unpackbits(content[f"{name}/tied"], count=len(images)).astype(bool),
        content[f"{name}/starts"].astype(np.int64),
        content[f"{name}/objects"].reshape(-1, 3),
    )


def _narrow(numbers: NDArray[Any]) -> NDArray[Any]:
    """In the smallest unsigned type that holds the numbers."""
    kinds: Sequence[type[np.unsignedinteger[Any]]] = (np.uint8, np.uint16, np.uint32, np.uint64)
    top = int(numbers.max()) if numbers.size else 0
    return numbers.astype(next(kind for kind in kinds if top <= np.iinfo(kind).max))
