"""The values a restricted pickle can hold, and the few functions it may call; see `rtx/sources/reading/unpickle.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from rtx.errors import WeightsError

TORCH_DTYPES: Mapping[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}
_NUMPY_DTYPES: Mapping[str, torch.dtype] = {
    "f8": torch.float64, "f4": torch.float32, "f2": torch.float16, "i8": torch.int64, "i4": torch.int32,
    "i2": torch.int16, "i1": torch.int8, "u1": torch.uint8, "b1": torch.bool,
}  # fmt: skip
# Globals that no checkpoint has an honest use for. They would only become stubs, but a file that names one is an
# attack or is damaged, and its weights deserve no trust either.
_DANGEROUS_MODULES = frozenset(
    "os posix nt subprocess sys shutil socket runpy importlib ctypes webbrowser pty code codeop commands marshal "
    "pickle _pickle timeit pydoc bdb pdb cProfile profile trace signal urllib http requests ssl ftplib smtplib "
    "tempfile zipimport pkgutil pip venv ensurepip distutils setuptools linecache site sqlite3 antigravity".split()
)
_DANGEROUS = frozenset(
    (module, name)
    for module in ("builtins", "__builtin__")
    for name in ("eval", "exec", "execfile", "compile", "open", "file", "__import__", "input", "breakpoint", "globals")
) | {
    ("io", "open"), ("_io", "open"), ("io", "FileIO"), ("_io", "FileIO"), ("io", "open_code"), ("_io", "open_code"),
    ("torch", "load"), ("torch.serialization", "load"), ("torch.jit", "load"), ("torch.hub", "load"),
    ("torch.hub", "load_state_dict_from_url"), ("torch.hub", "download_url_to_file"),
    ("torch.jit._serialization", "load"), ("numpy", "load"), ("numpy", "fromfile"),
    ("numpy.testing._private.utils", "runstring"),
}  # fmt: skip


def is_dangerous(module: str, name: str) -> bool:
    """Whether a global can only be meant to run, read or write something."""
    return module.split(".")[0] in _DANGEROUS_MODULES or (module, name) in _DANGEROUS


# Other dictionary keys never name a weight, and nested tuples can take exponential time to hash.
KEY_TYPES = (str, int, float, bool, bytes)


class Inert:
    """Stands for a global of the file that rtx does not know; it accepts everything and does nothing."""

    origin = "?"

    def __new__(cls, *args: object, **kwargs: object) -> Inert:
        """Ignore all arguments."""
        return object.__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Ignore all arguments."""

    def __call__(self, *args: object, **kwargs: object) -> Inert:
        """Stand for whatever the real object would have returned."""
        return self

    def __repr__(self) -> str:
        return f"<inert {self.origin}>"


class Container(dict):  # type: ignore[type-arg]
    """A dictionary that takes the place of OrderedDict and its like and keeps no other state."""

    __slots__ = ()


class Array:
    """A numpy array of a pickle, filled by its state."""

    __slots__ = ("tensor",)

    def __init__(self, *args: object) -> None:
        """Empty until `set_state`; the arguments of numpy's `_reconstruct` say nothing of use."""
        self.tensor: Tensor | None = None

    def set_state(self, state: object) -> None:
        """Read numpy's (version, shape, dtype, fortran order, bytes)."""
        if not (isinstance(state, tuple) and len(state) == 5):
            raise WeightsError("a numpy array of the file has a state that numpy does not write")
        self.fill(state[4], state[2], state[1], fortran=bool(state[3]))

    def fill(self, data: object, dtype: object, shape: object, *, fortran: bool) -> None:
        """Make the tensor; arrays of strings and objects hold no weights and stay empty."""
        kind = dtype.torch if isinstance(dtype, Dtype) else None
        if isinstance(data, str):  # bytes of a Python 2 pickle
            data = data.encode("latin1")
        if kind is None or not isinstance(data, (bytes, bytearray)) or not isinstance(shape, (tuple, list)):
            return
        count = _count(shape)
        if len(data) != count * kind.itemsize:
            raise WeightsError(f"a numpy array of shape {shape!s:.80} comes with {len(data)} bytes")
        flat = torch.frombuffer(bytearray(data), dtype=kind) if count else torch.empty(0, dtype=kind)
        turned = flat.reshape(tuple(reversed(shape))).permute(*reversed(range(len(shape))))
        self.tensor = turned if fortran and shape else flat.reshape(tuple(shape))


class Dtype:
    """A numpy dtype; only little-endian numbers become tensors."""

    __slots__ = ("code", "order")

    def __init__(self, code: object = "", *args: object) -> None:
        """Keep the type code, e.g. "f4"."""
        self.code = code if isinstance(code, str) else ""
        self.order = "<"

    def set_state(self, state: object) -> None:
        """Read the byte order."""
        if isinstance(state, tuple) and len(state) > 1 and isinstance(state[1], str):
            self.order = state[1]

    @property
    def torch(self) -> torch.dtype | None:
        """The same type in torch, or None."""
        return None if self.order == ">" else _NUMPY_DTYPES.get(self.code.lstrip("<|="))


class Storage:
    """A flat buffer of one type."""

    __slots__ = ("flat",)

    def __init__(self, flat: Tensor) -> None:
        """Wrap a one-dimensional tensor."""
        self.flat = flat


class StorageType:
    """Names the element type of a storage, e.g. torch.FloatStorage."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: torch.dtype) -> None:
        """Keep the element type."""
        self.dtype = dtype


def _count(shape: Sequence[int]) -> int:
    if not isinstance(shape, (tuple, list)) or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
        raise WeightsError(f"a tensor of the file has the impossible shape {shape!r:.80}")
    return math.prod(shape)


def _rebuild_tensor(storage: object, offset: int, size: Sequence[int], stride: Sequence[int], *_: object) -> object:
    if not isinstance(storage, Storage):
        return Inert()
    count = _count(size)
    _count(stride)
    if type(offset) is not int or offset < 0 or len(size) != len(stride):
        raise WeightsError(f"a tensor of the file has the impossible offset {offset!r:.40}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else offset
    available = storage.flat.numel()
    if count > available or last >= max(available, 1):
        raise WeightsError(f"a tensor of shape {tuple(size)!s:.80} reaches beyond its {available} stored values")
    return (
        torch.as_strided(storage.flat, tuple(size), tuple(stride), offset)
        if count
        else (torch.empty(tuple(size), dtype=storage.flat.dtype))
    )


def _encode(text: object = "", *_: object) -> bytes:
    # How protocols 0 to 2 write bytes.
    return text.encode("latin1") if isinstance(text, str) else b""


def _array_from_buffer(data: object = b"", dtype: object = None, shape: object = (), order: object = "C") -> Array:
    array = Array()
    array.fill(data, dtype, shape, fortran=order == "F")
    return array


def _first(value: object, *_: object) -> object:
    return value


def _mapping(*args: object) -> Container:
    # OrderedDict and Counter pickle their items as a first argument or later by SETITEMS; defaultdict's is a factory.
    items = args[0] if args else ()
    pairs = list(items.items()) if isinstance(items, dict) else items if isinstance(items, (list, tuple)) else ()
    return Container(
        (pair[0], pair[1])
        for pair in pairs
        if isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], KEY_TYPES)
    )


def _items(value: object = (), *_: object) -> list[object]:
    return list(value) if isinstance(value, (list, tuple)) else []


_REBUILDERS: frozenset[Callable[..., object]] = frozenset({_rebuild_tensor, _first})


def _rebuild_from_type(func: object = None, kind: object = None, args: object = (), *_: object) -> object:
    if func in _REBUILDERS and callable(func) and isinstance(args, tuple):
        return func(*args)
    return Inert()


KNOWN: Mapping[tuple[str, str], Callable[..., object]] = {
    ("collections", "OrderedDict"): _mapping,
    ("collections", "defaultdict"): _mapping,
    ("collections", "Counter"): _mapping,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
    ("torch", "Size"): _items,
    **{
        (module, name): function
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name, function in (("_reconstruct", Array), ("scalar", lambda *_: Inert()))
    },
    ("numpy", "dtype"): Dtype,
    ("numpy.core.numeric", "_frombuffer"): _array_from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _array_from_buffer,
    ("_codecs", "encode"): _encode,
    **{
        (module, name): _items
        for module in ("builtins", "__builtin__")
        for name in ("set", "frozenset", "list", "tuple")
    },
    **{(module, name): _mapping for module in ("builtins", "__builtin__") for name in ("dict",)},
}
