"""Files: written whole or not at all, and hashed."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import stat
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
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
        handle, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name[:50]}."
        )  # a name may be long already
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


def of_the_machine(error: Exception) -> bool:
    """Whether a file was not read for a fault of the disk, the network or the permissions, whatever it holds."""
    of_the_file = (None, errno.EINVAL, errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP)
    return isinstance(error, OSError) and error.errno not in of_the_file


def cannot_read(path: Path, error: Exception) -> OutputError:
    """What to tell a person when `path` cannot be read and may be sound."""
    return OutputError(
        f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}), though nothing says that it is "
        "damaged; see to the disk, the network or the permissions, then run the same command again"
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


MOST_JSON = 32 * 2**20
"""Bytes of a JSON file of rtx's own: 76 cells with scores of 1,200 classes take 3 MB."""
MOST_NESTED = 64


def read_bounded(path: Path, most: int) -> bytes:
    """The content of a file that may be anybody's: never waits for a pipe or a device, never fills the memory.

    Args:
        path: the file.
        most: bytes that a file of its kind can have.

    Raises:
        OSError: it is not there, or cannot be read.
        ValueError: it is a pipe, a device or a socket, or larger.
    """
    check_bounded(path, most)
    with path.open("rb") as file:
        return file.read(most)


def check_bounded(path: Path, most: int) -> None:
    """See that `path` is a regular file of at most `most` bytes.

    Raises:
        OSError, ValueError: see `read_bounded`.
    """
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError("it is a folder" if stat.S_ISDIR(facts.st_mode) else "it is no regular file")
    if facts.st_size > most:
        raise ValueError(f"it has {facts.st_size / 2**20:,.0f} MB, such a file {most / 2**20:,.0f} MB at most")


def read_json(path: Path, *, most: int = MOST_JSON) -> dict[str, Any]:
    """The object in a JSON file of rtx's own, see `read_bounded`.

    Raises:
        OSError: it is not there, or cannot be read.
        ValueError: it is a pipe or a device, too large, no JSON, nested too deep, or no object.
    """
    try:
        found = json.loads(read_bounded(path, most))
    except RecursionError:
        raise ValueError(_DEEP) from None
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__} instead of an object")
    level: list[Any] = [found]
    for _ in range(MOST_NESTED):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return found
    raise ValueError(_DEEP)


_DEEP = f"it is nested more than {MOST_NESTED} deep"


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()


_FRAMEWORKS = frozenset(
    "rtx mmcv mmengine mmdet mmseg mmpretrain mmpose mmdet3d mmrotate mmyolo mmocr mmaction mmagic mmdeploy mmrazor "
    "mmselfsup torch torchvision timm transformers".split()
)


def code_sha256(module: str) -> str | None:
    """Hex sha256 of a module's source file, of a package of all its source files; None for frameworks and no source."""
    file = None if module.partition(".")[0] in _FRAMEWORKS else _source(module)
    if file is None:
        return None
    digest = hashlib.sha256()
    for path in sorted(file.parent.rglob("*.py") if file.name == "__init__.py" else [file]):
        digest.update(f"{path.relative_to(file.parent).as_posix()}|".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _source(name: str) -> Path | None:
    try:
        place = getattr(sys.modules.get(name), "__file__", None) or getattr(find_spec(name), "origin", None)
    except (ImportError, ValueError):
        return None
    return Path(place) if place and place.endswith(".py") and Path(place).is_file() else None
