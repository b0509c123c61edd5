"""Read a checkpoint without ever running code from it."""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from rtx.errors import WeightsError
from rtx.sources.reading.pickled import Array, Inert, Storage, StorageType
from rtx.sources.reading.safetensors_file import read_safetensors
from rtx.sources.reading.sniff import READABLE, Kind, sniff
from rtx.sources.reading.unpickle import RestrictedUnpickler, plain_pickle

log = logging.getLogger(__name__)

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class Content:
    """What a checkpoint file holds, as tensors and plain containers.

    Attributes:
        value: the object; everything else in the file is an `Inert` stub.
        kind: the container.
        reader: "weights_only", "restricted" or "safetensors".
        foreign: globals of the file that were replaced by stubs, "module.name".
    """

    value: Any
    kind: Kind
    reader: str
    foreign: tuple[str, ...]


def read_checkpoint(path: str | Path) -> Any:
    """The object a checkpoint holds; see `read_content`."""
    return read_content(path).value


def read_content(path: str | Path) -> Content:
    """Read a PyTorch (zip or legacy), plain pickle or safetensors file.

    A plain file is read by torch's own `weights_only` reader; one that names globals torch does not know, or that torch
    refuses, by a reader that replaces them by inert stubs. All tensors end on the CPU, whatever device they were saved
    on.

    Args:
        path: the file.

    Raises:
        WeightsError: no such file, not a checkpoint (the message says what it looks like), damaged, or a trap.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder, give a file in it" if path.is_dir() else "there is no such file; check the path"
        raise WeightsError(f"{path}: {what} (`rtx weights fetch NAME` brings a published one)")
    kind = sniff(path)
    if kind.name not in READABLE:
        raise WeightsError(f"{path}: this is {kind.text}, not a checkpoint; {kind.remedy}")
    try:
        if kind.name == "safetensors":
            return Content(read_safetensors(path), kind, "safetensors", ())
        # Even weights_only can be held up for ever, by dictionary keys that take exponential time to hash.
        if kind.name != "pickle" and not _looks_foreign(path, kind):
            found = _weights_only(path)
            if found is not None:
                return Content(_plain(found[0], path), kind, "weights_only", ())
        value, foreign = _restricted(path, kind)
        if foreign:
            log.info("%s: %d foreign globals left unread (%s)", path.name, len(foreign), ", ".join(foreign[:5]))
        return Content(_plain(value, path), kind, "restricted", tuple(foreign))
    except WeightsError as error:
        raise WeightsError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except Exception as error:  # a broken or hostile file can raise anything; none of it may look like our own fault
        raise WeightsError(
            f"{path}: {kind.text} that cannot be read ({type(error).__name__}: {str(error)[:200] or 'no detail'}); "
            "it is damaged or truncated, get it again"
        ) from error


def _looks_foreign(path: Path, kind: Kind) -> bool:
    """Whether the pickles of a torch file name unknown globals or use odd dictionary keys; reads no tensor."""
    if kind.name == "torch_zip":
        with zipfile.ZipFile(path) as archive:
            readers = [RestrictedUnpickler(io.BytesIO(archive.read(_pickle_name(archive))), _no_storage)]
            readers[0].load()
    else:
        readers = []
        with path.open("rb") as file:
            for _ in range(4):  # magic number, protocol, system, object
                readers.append(RestrictedUnpickler(file, _no_storage))
                readers[-1].load()
    return any(reader.foreign or reader.odd_keys for reader in readers)


def _pickle_name(archive: zipfile.ZipFile) -> str:
    return next(name for name in archive.namelist() if name.endswith("data.pkl") and name.count("/") <= 1)


def _weights_only(path: Path) -> tuple[Any] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return (torch.load(path, map_location="cpu", weights_only=True),)
    except Exception as error:  # the restricted reader decides whether the file is foreign or broken
        log.debug("%s: weights_only refused it: %s", path, error)
        return None


def _restricted(path: Path, kind: Kind) -> tuple[Any, list[str]]:
    if kind.name == "torch_zip":
        return _read_zip(path)
    with path.open("rb") as file:
        if kind.name == "torch_legacy":
            return _read_legacy(file, path.stat().st_size)
        return plain_pickle(file.read(), _no_storage)


def _no_storage(pid: object) -> object:
    return Inert()


def _read_zip(path: Path) -> tuple[Any, list[str]]:
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        pickle_name = _pickle_name(archive)
        root = pickle_name.removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise WeightsError("was written on a big-endian machine; save it again on a usual one")
        found: dict[str, Storage] = {}

        def storage(pid: object) -> object:
            if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage"):
                return Inert()
            _, kind, key, _, count = pid[:5]
            if not isinstance(kind, StorageType) or not isinstance(key, str):
                return Inert()
            if key not in found:
                entry = archive.getinfo(f"{root}data/{key}")
                size = kind.dtype.itemsize
                if type(count) is not int or count < 0 or entry.file_size < count * size:
                    raise WeightsError(f"storage {key[:40]!r} claims {count!r:.40} values in {entry.file_size} bytes")
                data = bytearray(archive.read(entry))
                found[key] = Storage(_frombuffer(data, kind.dtype, count))
            return found[key]

        return plain_pickle(archive.read(pickle_name), storage)


def _frombuffer(data: bytearray, dtype: torch.dtype, count: int) -> Tensor:
    return torch.frombuffer(data, dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)


def _read_legacy(file: IO[bytes], size: int) -> tuple[Any, list[str]]:
    """The format of torch < 1.6: three small pickles, the object, a list of storage keys, then the raw storages."""
    foreign: list[str] = []
    found: dict[str, Storage] = {}
    budget = size

    def storage(pid: object) -> object:
        nonlocal budget
        if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage"):
            return Inert()  # ("module", class, source file, source): code, never read
        _, kind, key, _, count = pid[:5]
        if not isinstance(kind, StorageType) or not isinstance(key, str):
            return Inert()
        if key not in found:
            if type(count) is not int or count < 0 or count * kind.dtype.itemsize > budget:
                raise WeightsError(f"storage {key[:40]!r} claims {count!r:.40} values, more than the file holds")
            budget -= count * kind.dtype.itemsize
            found[key] = Storage(torch.empty(count, dtype=kind.dtype))
        view = pid[5] if len(pid) > 5 else None
        if view is not None:
            view_key, offset, view_size = view
            whole = found[key].flat
            if not 0 <= offset <= offset + view_size <= whole.numel():
                raise WeightsError(f"storage view {view_key!r:.40} reaches beyond its storage")
            return Storage(whole[offset : offset + view_size])
        return found[key]

    def load() -> Any:
        reader = RestrictedUnpickler(file, storage)
        value = reader.load()
        foreign.extend(name for name in reader.foreign if name not in foreign)
        return value

    if load() != _LEGACY_MAGIC:
        raise WeightsError("its magic number is not torch's")
    load()  # protocol version
    system = load()
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise WeightsError("was written on a big-endian machine; save it again on a usual one")
    value = load()
    keys = load()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise WeightsError("its list of storages is damaged")
    for key in keys:
        if key not in found:
            continue
        flat = found[key].flat
        (count,) = struct.unpack("<q", file.read(8))
        data = bytearray(file.read(flat.numel() * flat.element_size()))
        if count != flat.numel() or len(data) != flat.numel() * flat.element_size():
            raise WeightsError(f"storage {key[:40]!r} is cut short, the file is truncated")
        if flat.numel():
            flat.copy_(torch.frombuffer(data, dtype=flat.dtype))
    if set(found) - set(keys):
        raise WeightsError("the data of some tensors is not in the file")
    return value, foreign


def _plain(value: Any, path: Path) -> Any:
    """Copy `value` with tensors checked and everything but plain containers replaced by stubs."""
    seen: dict[int, Any] = {}

    def visit(item: Any, depth: int) -> Any:
        if item is None or isinstance(item, (str, int, float, bool, bytes, Inert)):
            return item
        if id(item) in seen:
            return seen[id(item)]
        if depth > 100:
            raise WeightsError(f"{path}: containers are nested more than 100 deep, which no checkpoint needs")
        copy: Any
        if isinstance(item, Tensor):
            copy = _check_tensor(item)
        elif isinstance(item, Array):
            copy = item.tensor if item.tensor is not None else Inert()
        elif isinstance(item, dict):
            copy = {}
            seen[id(item)] = copy
            for key, entry in item.items():
                copy[key] = visit(entry, depth + 1)
        elif isinstance(item, (list, tuple, set, frozenset)):
            copy = []
            seen[id(item)] = copy
            copy.extend(visit(entry, depth + 1) for entry in item)
        else:
            copy = Inert()
        seen[id(item)] = copy
        return copy

    return visit(value, 0)


def _check_tensor(tensor: Tensor) -> Any:
    """A detached plain CPU tensor, or a stub for kinds that hold no weights rtx could use."""
    if tensor.is_sparse or tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        return Inert()
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise WeightsError(f"a tensor of shape {tuple(tensor.shape)} repeats {tensor.untyped_storage().nbytes()} bytes")
    return tensor.detach().as_subclass(Tensor)
