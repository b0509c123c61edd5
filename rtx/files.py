"""Files: written whole or not at all, and hashed."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtx.errors import OutputError


def write_whole(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write a binary file atomically: a reader never sees half of it, and a crash leaves the old one.

    Args:
        path: the file; its folder is made if need be.
        content: all of it.
        sync: wait until the disk has it, so that it outlives a power failure; too slow for thousands of images.

    Raises:
        OutputError: it cannot be written (disk full, no permission, ...); the old file, if any, is still there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                if sync:
                    stream.flush()
                    os.fsync(stream.fileno())
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes private files; shared folders need the usual mode
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise cannot_write(path, error) from error


def write_atomic(path: Path, text: str) -> None:
    """Write a text file (UTF-8) atomically.

    Raises:
        OutputError: it cannot be written; the old file, if any, is still there.
    """
    write_whole(path, text.encode("utf-8"))


def cannot_write(path: Path, error: OSError) -> OutputError:
    """What to tell a person when `path` cannot be written."""
    return OutputError(
        f"{path.name} cannot be written to {str(path.parent)!r} ({error.strerror or error}); free some space or "
        "fix the permissions there, then run the same command again: what is finished is kept"
    )


def json_ready(node: Any) -> Any:
    """Mappings as dicts with text keys, tuples as lists; NaN and infinity, which JSON does not have, as None.

    Example:
        >>> json_ready({"scores": (0.5, float("nan"))})
        {'scores': [0.5, None]}
    """
    if isinstance(node, Mapping):
        return {str(key): json_ready(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [json_ready(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()
