"""Read a checkpoint without ever running code from it."""

from __future__ import annotations

import io
import logging
import mmap
import os
import struct
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rtx.errors import WeightsError, printable
from rtx.sources.reading.safetensors_file import read_safetensors
from rtx.sources.reading.sniff import EXPANSION_LIMIT, READABLE, SLACK, Kind, sniff
from rtx.sources.reading.unpickle import Array, Inert, RestrictedUnpickler, Storage

log = logging.getLogger(__name__)

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LARGE = 64 * 2**20  # bytes


@dataclass(frozen=True)
class CheckpointContent:
    """The content of a checkpoint file, as tensors and plain containers.

    Attributes:
        value: the object; everything else in the file is an `Inert` stub.
        kind: the container.
        foreign: what the file has beside them, see `RestrictedUnpickler`.
    """

    value: Any
    kind: Kind
    foreign: tuple[str, ...]


def read_checkpoint(path: str | Path) -> Any:
    """The object a checkpoint holds; see `read_content`."""
    return read_content(path).value


def check_is_file(path: Path) -> None:
    """Raise WeightsError, which says what is there instead, unless `path` is a regular file."""
    if path.is_file():
        return
    if path.is_dir():
        what = "is a folder, give a file in it"
    elif path.exists():
        what = "is a pipe, a device or a socket, not a file; save what it brings in one"
    else:
        what = f"there is no such file (current folder: {Path.cwd()}); check the path"
    raise WeightsError(f"{path}: {what} (`rtx weights fetch NAME` brings a published one)")


def read_content(path: str | Path) -> CheckpointContent:
    """Read a PyTorch (zip or legacy), plain pickle or safetensors file.

    Foreign objects become inert stubs. All tensors end on the CPU, whatever device they were saved on.

    Args:
        path: the file.

    Raises:
        WeightsError: no such file, not a checkpoint (the message says what it looks like), damaged, or a trap.
    """
    path = Path(path)
    check_is_file(path)
    kind = sniff(path)
    if kind.name not in READABLE:
        raise WeightsError(f"{path}: this is {kind.text}, not a checkpoint; {kind.remedy}")
    _check_written(path)
    try:
        if kind.name == "safetensors":
            return CheckpointContent(read_safetensors(path), kind, ())
        read = {"torch_zip": _read_zip, "torch_legacy": _read_legacy, "pickle": _read_pickle}[kind.name]
        value, foreign = read(path)
        if foreign:
            log.debug("%s: %d foreign globals left unread (%s)", path.name, len(foreign), printable(foreign[:5]))
        return CheckpointContent(_plain(value), kind, tuple(foreign))
    except WeightsError as error:
        raise WeightsError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except Exception as error:  # a broken or hostile file can raise anything; none of it may look like our own fault
        raise WeightsError(
            f"{path}: {kind.text} that cannot be read ({type(error).__name__}: {str(error)[:200] or 'no detail'}); "
            "it is damaged or truncated, get it again"
        ) from error


def _check_written(path: Path) -> None:
    """See that most of a large file was written: no weights are zeros alone, and reading them would take memory.

    Raises:
        WeightsError: it was not.
    """
    size, found, end = path.stat().st_size, 0, 0
    if size < _LARGE:
        return
    with path.open("rb") as file, suppress(OSError):  # the end of the data; or a file system that does not tell
        while 2 * found < size:
            start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found += end - start
        return
    if 2 * found < size and end:
        raise WeightsError(
            f"{path}: {size - found} of its {size} bytes were never written, as in a download that did not end; get it "
            "again"
        )


def _copied(path: Path) -> int:
    """Bytes that unpickling a file may make beside its storages."""
    return EXPANSION_LIMIT * path.stat().st_size + SLACK


def _storage_id(pid: object) -> tuple[torch.dtype, str, int] | None:
    """Element type, key and number of values of a persistent id; None for any other (a module class, say)."""
    if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage"):
        return None
    _, kind, key, _, count = pid[:5]
    if not isinstance(kind, torch.dtype) or not isinstance(key, str):
        return None
    if type(count) is not int or count < 0:
        raise WeightsError(f"storage {key[:40]!r} claims {count!r:.40} values")
    return kind, key, count


def _read_zip(path: Path) -> tuple[Any, list[str]]:
    """The format of torch since 1.6: a pickle, and one entry of the archive for each storage."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        pickle_name = next(name for name in names if name.endswith("data.pkl") and name.count("/") <= 1)
        root = pickle_name.removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise WeightsError("was written on a big-endian machine; save it again on a usual one")
        found: dict[str, Storage] = {}

        def storage(pid: object) -> object:
            known = _storage_id(pid)
            if known is None:
                return Inert()
            kind, key, count = known
            if key not in found:
                entry = archive.getinfo(f"{root}data/{key}")
                if entry.file_size < count * kind.itemsize:
                    raise WeightsError(f"storage {key[:40]!r} claims {count} values in {entry.file_size} bytes")
                data = bytearray(archive.read(entry))
                empty = torch.empty(0, dtype=kind)
                found[key] = Storage(torch.frombuffer(data, dtype=kind, count=count) if count else empty)
            return found[key]

        reader = RestrictedUnpickler(io.BytesIO(archive.read(pickle_name)), storage, _copied(path))
        return reader.load(), reader.foreign


def _read_pickle(path: Path) -> tuple[Any, list[str]]:
    """A plain pickle, e.g. of detectron2."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        reader = RestrictedUnpickler(content, lambda pid: Inert(), _copied(path))
        return reader.load(), reader.foreign


def _read_legacy(path: Path) -> tuple[Any, list[str]]:
    """The format of torch < 1.6: three small pickles, the object, a list of storage keys, then the raw storages."""
    foreign: list[str] = []
    found: dict[str, Storage] = {}
    left = path.stat().st_size

    def storage(pid: object) -> object:
        nonlocal left
        known = _storage_id(pid)
        if known is None:
            return Inert()  # ("module", class, source file, source): code, never read
        kind, key, count = known
        if key not in found:
            left -= count * kind.itemsize
            if left < 0:
                raise WeightsError(f"storage {key[:40]!r} claims {count} values, more than the file holds")
            found[key] = Storage(torch.empty(count, dtype=kind))
        view = pid[5] if isinstance(pid, tuple) and len(pid) > 5 else None
        if view is None:
            return found[key]
        view_key, offset, view_size = view
        whole = found[key].flat
        if not 0 <= offset <= offset + view_size <= whole.numel():
            raise WeightsError(f"storage view {view_key!r:.40} reaches beyond its storage")
        return Storage(whole[offset : offset + view_size])

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:

        def load() -> Any:
            reader = RestrictedUnpickler(content, storage, _copied(path))
            value = reader.load()
            foreign.extend(name for name in reader.foreign if name not in foreign)
            return value

        if load() != _LEGACY_MAGIC:
            raise WeightsError("its magic number is not torch's")
        load()  # protocol version
        system = load()
        if isinstance(system, dict) and system.get("little_endian") is False:
            raise WeightsError("was written on a big-endian machine; save it again on a usual one")
        value, keys = load(), load()
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise WeightsError("its list of storages is damaged")
        if set(found) - set(keys):
            raise WeightsError("the data of some tensors is not in the file")
        for key in keys:
            if key not in found:
                continue
            flat = found[key].flat
            (count,) = struct.unpack("<q", content.read(8))
            data = bytearray(content.read(flat.numel() * flat.element_size()))
            if count != flat.numel() or len(data) != flat.numel() * flat.element_size():
                raise WeightsError(f"storage {key[:40]!r} is cut short, the file is truncated")
            if flat.numel():
                flat.copy_(torch.frombuffer(data, dtype=flat.dtype))
    return value, foreign


def _plain(value: Any) -> Any:
    """Copy `value` with tensors checked and everything but plain containers replaced by stubs."""
    seen: dict[int, Any] = {}

    def visit(item: Any, depth: int) -> Any:
        if isinstance(item, Array):
            item = Inert() if item.tensor is None else item.tensor
        if item is None or isinstance(item, (str, int, float, bool, bytes, Inert)):
            return item
        if id(item) in seen:
            return seen[id(item)]
        if depth > 100:
            raise WeightsError("containers are nested more than 100 deep, which no checkpoint needs")
        copy: Any = Inert()
        if isinstance(item, Tensor):
            stored = item.untyped_storage().nbytes()
            if item.numel() * item.element_size() > stored:
                raise WeightsError(f"a tensor of shape {tuple(item.shape)} repeats {stored} bytes")
            copy = item
        elif isinstance(item, dict):
            copy = seen[id(item)] = {}
            for key, entry in item.items():
                copy[key] = visit(entry, depth + 1)
        elif isinstance(item, (list, tuple)):
            copy = seen[id(item)] = []
            copy.extend(visit(entry, depth + 1) for entry in item)
        seen[id(item)] = copy
        return copy

    return visit(value, 0)
