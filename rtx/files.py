"""Write files atomically, and hash them."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path

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


def create_new(path: Path, content: bytes) -> bool:
    """Create a file atomically, unless it exists; of several processes that try, exactly one creates it.

    Returns:
        Whether this call created it.

    Raises:
        OutputError: it cannot be written.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    for attempt in range(5):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            return _link(temporary, path, content)
        except FileNotFoundError as error:  # another process removed the folder in between
            if attempt == 4:
                raise cannot_write(path, error) from error
        except OSError as error:
            raise cannot_write(path, error) from error
        finally:
            with suppress(OSError):
                temporary.unlink()
    return False


def _link(temporary: Path, path: Path, content: bytes) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        return _create_plainly(path, content)  # a file system without hard links
    return True


def _create_plainly(path: Path, content: bytes) -> bool:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
    return True


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The error when `path` cannot be written."""
    return OutputError(
        f"{path.name} cannot be written to {str(path.parent)!r} ({error.strerror or error}); free some space or "
        "fix the permissions there, then run the same command again: finished files stay"
    )


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()
