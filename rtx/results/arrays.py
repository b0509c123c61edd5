"""Arrays under a JSON head in one `.npz`: how rtx keeps predictions, and the evidence of a cell.

The evidence is what the score of a cell can be computed from again, a few hundred kilobytes for 1,000 images.
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
import tokenize
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue
from rtx.files import cannot_read, check_bounded, of_the_machine, write_whole
from rtx.metrics.per_image import DetectionEvidence, Evidence, Measure, PixelEvidence, RankEvidence, Ranking

_HEAD = "head"
_HOLDS = {
    "rtx.predictions/1": "it holds detections, which are scored with --coco, --yolo, --cityscapes or --voc",
    "rtx.classes/1": "it holds guesses of a classifier, which are scored with --class-folders",
    "rtx.evidence/1": "it holds the evidence of a cell, and no predictions",
}
"""What files of other formats are, for whoever gives one in the place of another."""
MOST = 2**31
"""Bytes of such a file, packed and unpacked; 5,000 images of COCO with their masks take a tenth of that."""
DAMAGED = (
    OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, EOFError, MemoryError, RuntimeError,
    NotImplementedError, SyntaxError, BadZipFile, struct.error, zlib.error, tokenize.TokenError,
)  # fmt: skip
"""What reading a damaged or foreign file of arrays can raise."""


def pack(head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The content of such a file; the same head and arrays give the same bytes.

    Args:
        head: JSON values, `format` among them.
        arrays: any names but `head`.
    """
    stream = io.BytesIO()
    text = np.frombuffer(json.dumps(dict(head)).encode(), np.uint8)
    np.savez_compressed(stream, **{**arrays, _HEAD: text})  # type: ignore[arg-type]  # names never equal its own keywords
    return stream.getvalue()


def unpack(path: Path | IO[bytes], form: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read the head and the arrays; nothing in the file is run. To be used inside `reading`.

    Raises:
        ValueError: its format is another one than `form`.
        OSError, KeyError, EOFError, zipfile.BadZipFile: it is no such file.
    """
    with opened(path) as content:
        return _head(content, form), {name: content[name] for name in content if name != _HEAD}


def unpack_head(path: Path, form: str) -> dict[str, Any]:
    """Read the head alone, see `unpack`."""
    with opened(path) as content:
        return _head(content, form)


@contextlib.contextmanager
def opened(file: Path | IO[bytes]) -> Iterator[Any]:
    """The arrays of an `.npz` by name, within; none is unpacked before it is asked for.

    Raises:
        OSError, ValueError, BadZipFile: it is no such file, a pipe, or takes more memory than such a file can.
    """
    if isinstance(file, Path):
        check_bounded(file, MOST)
    with ZipFile(file) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MOST:
        raise ValueError(f"it unpacks to {size / 2**20:,.0f} MB, such a file to {MOST / 2**20:,.0f} MB at most")
    if not isinstance(file, Path):
        file.seek(0)
    with np.load(file, allow_pickle=False) as content:
        yield content


def _head(content: Mapping[str, NDArray[Any]], form: str) -> dict[str, Any]:
    head: dict[str, Any] = json.loads(content[_HEAD].tobytes())
    if head["format"] != form:
        raise ValueError(_HOLDS.get(head["format"], f"format {head['format']!r}"))
    return head


@contextlib.contextmanager
def reading(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Turn whatever a damaged or foreign file raises into one error that names it.

    Raises:
        BadValue: the block found something that does not belong to such a file.
        OutputError: the file cannot be read for a fault of the machine.
    """
    try:
        yield
    except DAMAGED as error:
        if of_the_machine(error):
            raise cannot_read(path, error) from error
        raise BadValue(f"{path}: not an rtx {what} ({error}); {remedy}") from error


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
