"""A pickle reader that can only ever make tensors and plain containers.

It is the pure-Python unpickler of the standard library with its opcodes overridden: a global that is not in `KNOWN`
becomes an inert stub and nothing is imported, only the few functions of `KNOWN` are called, and object state is
dropped. The C unpickler lets a file allocate gigabytes with one memo opcode. torch's `weights_only` reader was tried
in its place (2.11): it hangs on dictionary keys that take exponential time to hash, allocates what a file asks for, and
does not know the opcodes of protocols 3 to 5, nor foreign dictionaries and lists.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from rtx.errors import WeightsError

TORCH_DTYPES: Mapping[str, torch.dtype] = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}  # fmt: skip
_NUMPY_DTYPES: Mapping[str, torch.dtype] = {
    "f8": torch.float64, "f4": torch.float32, "f2": torch.float16, "i8": torch.int64, "i4": torch.int32,
    "i2": torch.int16, "i1": torch.int8, "u1": torch.uint8, "b1": torch.bool,
}  # fmt: skip
# Globals that no checkpoint has an honest use for. They would only become stubs, but a file that names one is an
# attack or is damaged, and its weights deserve no trust either.
_DANGEROUS_MODULES = frozenset(
    "os posix nt subprocess sys shutil socket runpy importlib ctypes webbrowser pty code commands marshal pickle "
    "_pickle timeit pdb cProfile urllib http requests ftplib smtplib tempfile pip".split()
)
_DANGEROUS = frozenset(
    (module, name)
    for module in ("builtins", "__builtin__")
    for name in ("eval", "exec", "execfile", "compile", "open", "file", "__import__", "input", "breakpoint", "globals")
) | {("io", "open"), ("_io", "open"), ("torch", "load"), ("torch.serialization", "load"), ("torch.hub", "load")}

# Other dictionary keys never name a weight, and nested tuples can take exponential time to hash.
KEY_TYPES = (str, int, float, bool, bytes)
ODD_KEY = "key or set member of type "
"""How `RestrictedUnpickler.foreign` names the keys that were left out; their type follows."""


@dataclass(frozen=True)
class Inert:
    """Stands for something of the file that rtx does not make: a foreign object, function or class."""

    origin: str = "?"


@dataclass
class Array:
    """A numpy array, made empty and filled by its state; arrays of strings and objects stay empty."""

    tensor: Tensor | None = None


@dataclass
class Dtype:
    """A numpy dtype: its code, e.g. "f4", and its byte order."""

    code: object
    order: object = "<"


@dataclass(frozen=True)
class Storage:
    """The values of a torch storage, one-dimensional."""

    flat: Tensor


class RestrictedUnpickler(pickle._Unpickler):  # type: ignore[misc,name-defined,valid-type]
    """Reads one pickle.

    Attributes:
        foreign: the globals that were replaced by stubs, "module.name", and the types of the dictionary keys that were
            left out, in the order seen.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined]
    stack: list[Any]
    read: Callable[[int], bytes]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: Any, find_storage: Callable[[Any], object], copied: int) -> None:
        """Start reading.

        Args:
            file: has `read` and `readline`; never returns more than it holds.
            find_storage: turns a persistent id into a `Storage` or a stub.
            copied: bytes that calls of functions may make in all, which bounds what a file can make of itself.
        """
        # Text of Python 2 pickles is taken as latin-1, which cannot fail.
        super().__init__(file, encoding="latin1")
        self.persistent_load = find_storage  # type: ignore[method-assign,assignment]  # how pickle takes it
        self.left = copied
        self.foreign: list[str] = []

    def take(self, size: int) -> None:
        """Account for `size` bytes that a call makes.

        Raises:
            WeightsError: all calls together make more than a checkpoint of this size holds.
        """
        self.left -= size
        if self.left < 0:
            raise WeightsError("copies its data again and again, which no checkpoint does; this looks like a bomb")

    def find_class(self, module: str, name: str) -> object:
        """A function of `KNOWN`, the element type of a storage, or a stub.

        Raises:
            WeightsError: the global can only be meant to run, read or write something.
        """
        if (module, name) in KNOWN:
            return KNOWN[module, name]
        if module in ("torch", "torch.cuda", "torch.storage") and name in TORCH_DTYPES:
            return TORCH_DTYPES[name]
        origin = f"{module}.{name}"[:200]
        if module.split(".")[0] in _DANGEROUS_MODULES or (module, name) in _DANGEROUS:
            raise WeightsError(f"names {origin!r}, which no checkpoint needs and which could run code; nothing was run")
        self.leave_out(origin)
        return Inert(origin)

    def leave_out(self, name: str) -> None:
        """Add a name to `foreign`."""
        if name not in self.foreign:
            self.foreign.append(name)

    def plain_pairs(self, pairs: Iterable[Sequence[object]]) -> dict[object, object]:
        """The pairs whose key is of one of `KEY_TYPES`."""
        plain: dict[object, object] = {}
        for key, value in pairs:
            if isinstance(key, KEY_TYPES):
                plain[key] = value
            else:
                self.leave_out(ODD_KEY + type(key).__name__)
        return plain

    def get_extension(self, code: int) -> None:
        """Extension codes stand for globals registered in this process; no checkpoint needs them."""
        raise pickle.UnpicklingError(f"extension code {code}")

    def call(self, func: object, args: object) -> object:
        """The result of a function of `KNOWN`; a stub stays one."""
        if isinstance(func, Inert):
            return func
        if not isinstance(args, tuple) or not any(func is known for known in KNOWN.values()):
            raise pickle.UnpicklingError(f"a call of {type(func).__name__}")
        return func(self, *args)  # type: ignore[operator]

    def load_reduce(self) -> None:
        """REDUCE and NEWOBJ: a call."""
        args = self.stack.pop()
        self.stack[-1] = self.call(self.stack[-1], args)

    def load_newobj_ex(self) -> None:
        """NEWOBJ_EX: a call, its keyword arguments dropped."""
        self.stack.pop()
        self.load_reduce()

    def load_old(self) -> None:
        """INST and OBJ: how protocols 0 and 1 made instances; no checkpoint is that old."""
        raise WeightsError("makes objects the way Python 1 did, which no checkpoint does; nothing was run")

    def load_build(self) -> None:
        """BUILD: state is for numpy arrays and dtypes only; all other state is dropped."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Array):
            if not (isinstance(state, tuple) and len(state) == 5):
                raise WeightsError("a numpy array of the file has a state that numpy does not write")
            target.tensor = _array(self, state[4], state[2], state[1], "F" if state[3] else "C").tensor
        elif isinstance(target, Dtype) and isinstance(state, tuple) and len(state) > 1:
            target.order = state[1]

    def load_setitem(self) -> None:
        """SETITEM: plain keys into plain dictionaries; others are left out."""
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self) -> None:
        """SETITEMS: as SETITEM."""
        self._set(self.pop_mark())

    def load_dict(self) -> None:
        """DICT: as SETITEMS into a new dictionary."""
        items = self.pop_mark()
        self.append({})
        self._set(items)

    def _set(self, items: list[object]) -> None:
        if isinstance(self.stack[-1], dict):
            self.stack[-1].update(self.plain_pairs(zip(items[::2], items[1::2], strict=True)))

    def load_append(self) -> None:
        """APPEND: to plain lists."""
        value = self.stack.pop()
        self._extend([value])

    def load_appends(self) -> None:
        """APPENDS to plain lists; ADDITEMS, for a set is a list here, so that nothing is hashed."""
        self._extend(self.pop_mark())

    def _extend(self, values: list[object]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def load_empty_set(self) -> None:
        """EMPTY_SET: a list."""
        self.append([])

    def load_frozenset(self) -> None:
        """FROZENSET: a list."""
        items = self.pop_mark()  # before `append`, which it replaces
        self.append(items)

    def load_bytearray8(self) -> None:
        """BYTEARRAY8: bytes, as far as the file has them; the original allocates what the file claims."""
        self.append(self.read(struct.unpack("<Q", self.read(8))[0]))

    for _opcode, _method in (
        (pickle.REDUCE, load_reduce), (pickle.NEWOBJ, load_reduce), (pickle.NEWOBJ_EX, load_newobj_ex),
        (pickle.INST, load_old), (pickle.OBJ, load_old), (pickle.BUILD, load_build), (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems), (pickle.DICT, load_dict), (pickle.APPEND, load_append),
        (pickle.APPENDS, load_appends), (pickle.ADDITEMS, load_appends), (pickle.EMPTY_SET, load_empty_set),
        (pickle.FROZENSET, load_frozenset), (pickle.BYTEARRAY8, load_bytearray8),
    ):  # fmt: skip
        dispatch[_opcode[0]] = _method


def _count(shape: Sequence[int]) -> int:
    if not isinstance(shape, (tuple, list)) or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
        raise WeightsError(f"a tensor of the file has the impossible shape {shape!r:.80}")
    return math.prod(shape)


def _tensor(
    reader: RestrictedUnpickler, storage: object, offset: int, size: Sequence[int], stride: Sequence[int], *_: object
) -> object:
    """A view of a storage, after checking that it lies inside."""
    if not isinstance(storage, Storage):
        return Inert()
    count = _count(size)
    _count(stride)
    if type(offset) is not int or offset < 0 or len(size) != len(stride):
        raise WeightsError(f"a tensor of the file has the impossible offset {offset!r:.40}")
    if not count:
        return torch.empty(tuple(size), dtype=storage.flat.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    available = storage.flat.numel()
    if count > available or last >= available:
        raise WeightsError(f"a tensor of shape {tuple(size)!s:.80} reaches beyond its {available} stored values")
    return torch.as_strided(storage.flat, tuple(size), tuple(stride), offset)


def _array(
    reader: RestrictedUnpickler, data: object, dtype: object, shape: Any, order: object = "C", *_: object
) -> Array:
    """A numpy array from its bytes, in C or Fortran order; little-endian numbers only."""
    if isinstance(data, str):  # bytes of a Python 2 pickle
        data = _encode(reader, data)
    kind = None
    if isinstance(dtype, Dtype) and isinstance(dtype.code, str) and dtype.order != ">":
        kind = _NUMPY_DTYPES.get(dtype.code.lstrip("<|="))
    if kind is None or not isinstance(data, bytes) or not isinstance(shape, (tuple, list)):
        return Array()
    count = _count(shape)
    if len(data) != count * kind.itemsize:
        raise WeightsError(f"a numpy array of shape {shape!s:.80} comes with {len(data)} bytes")
    reader.take(len(data))
    flat = torch.frombuffer(bytearray(data), dtype=kind) if count else torch.empty(0, dtype=kind)
    if order != "F":
        return Array(flat.reshape(tuple(shape)))
    return Array(flat.reshape(tuple(reversed(shape))).permute(*reversed(range(len(shape)))))


def _encode(reader: RestrictedUnpickler, text: object = "", codec: object = "latin1", *_: object) -> bytes:
    # How protocols 0 to 2 write bytes.
    if codec not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes in an encoding of the name {str(codec)[:20]!r}")
    if not isinstance(text, str):
        return b""
    reader.take(len(text))
    return text.encode("latin1")


def _mapping(reader: RestrictedUnpickler, *args: object) -> dict[object, object]:
    # OrderedDict and Counter pickle their items as a first argument or later by SETITEMS; defaultdict's is a factory.
    items = args[0] if args else ()
    pairs = list(items.items()) if isinstance(items, dict) else items if isinstance(items, (list, tuple)) else ()
    reader.take(100 * len(pairs))
    return reader.plain_pairs(p if isinstance(p, (list, tuple)) and len(p) == 2 else (p, None) for p in pairs)


def _members(reader: RestrictedUnpickler, values: object = (), *_: object) -> object:
    """The members of a set, as a list."""
    return list(reader.plain_pairs((value, None) for value in values)) if isinstance(values, (list, tuple)) else []


def _first(reader: RestrictedUnpickler, value: object = (), *_: object) -> object:
    """The tensor of a parameter, or the items of a list, a tuple or a torch.Size."""
    return value


_NUMPY = ("numpy.core", "numpy._core")
_BUILTINS = ("builtins", "__builtin__")
KNOWN: Mapping[tuple[str, str], Callable[..., object]] = {
    **{("collections", name): _mapping for name in ("OrderedDict", "defaultdict", "Counter")},
    **{(module, "dict"): _mapping for module in _BUILTINS},
    **{(module, name): _first for module in _BUILTINS for name in ("list", "tuple")},
    **{(module, name): _members for module in _BUILTINS for name in ("set", "frozenset")},
    ("torch", "Size"): _first,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    # A tensor subclass, as a plain tensor.
    ("torch._tensor", "_rebuild_from_type_v2"): lambda reader, func=None, kind=None, args=(), *_: reader.call(
        func, args
    ),
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): lambda reader, code="", *_: Dtype(code),
    **{(f"{module}.multiarray", "_reconstruct"): lambda reader, *_: Array() for module in _NUMPY},
    **{(f"{module}.numeric", "_frombuffer"): _array for module in _NUMPY},
}
"""(module, name) of a global -> what is called in its place, with the reader and the file's arguments."""
