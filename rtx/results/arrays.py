"""Arrays under a JSON head in one `.npz`: how rtx keeps predictions and evidence."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue

_HEAD = "head"


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
    with np.load(path, allow_pickle=False) as content:
        return _head(content, form), {name: content[name] for name in content.files if name != _HEAD}


def unpack_head(path: Path, form: str) -> dict[str, Any]:
    """Read the head alone, see `unpack`."""
    with np.load(path, allow_pickle=False) as content:
        return _head(content, form)


def _head(content: Mapping[str, NDArray[Any]], form: str) -> dict[str, Any]:
    head: dict[str, Any] = json.loads(content[_HEAD].tobytes())
    if head["format"] != form:
        raise ValueError(f"format {head['format']!r}")
    return head


@contextlib.contextmanager
def reading(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Turn whatever a damaged or foreign file raises into one error that names it.

    Raises:
        BadValue: the block found something that does not belong to such a file.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, BadZipFile) as error:
        raise BadValue(f"{path}: not an rtx {what} ({error}); {remedy}") from error
