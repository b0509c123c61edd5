"""A pickle reader that can only ever make tensors and plain containers.

The pure-Python unpickler of the standard library is used, since its opcodes can be overridden: a global that is not in
`rtx.sources.reading.pickled.KNOWN` becomes an inert stub, nothing but those few functions is ever called, and object
state is dropped. The C unpickler also lets a file allocate gigabytes with one memo opcode.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import IO, Any, ClassVar

from rtx.errors import WeightsError
from rtx.sources.reading.pickled import KEY_TYPES, KNOWN, TORCH_DTYPES, Array, Dtype, Inert, StorageType, is_dangerous


class RestrictedUnpickler(pickle._Unpickler):  # type: ignore[misc,name-defined,valid-type]
    """Reads one pickle; `find_storage` turns a persistent id into a `Storage`.

    Attributes:
        foreign: the globals that were replaced by stubs, "module.name", in the order seen.
        odd_keys: whether dictionary entries were left out because their key is no plain value.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined]
    stack: list[Any]
    readline: Callable[[], bytes]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: IO[bytes], find_storage: Callable[[Any], object]) -> None:
        """Read from `file`; text of Python 2 pickles is taken as latin-1, which cannot fail."""
        super().__init__(file, encoding="latin1")
        self.find_storage = find_storage
        self.foreign: list[str] = []
        self.odd_keys = False

    def persistent_load(self, pid: Any) -> object:
        """A storage of the archive, or a stub for a stored module class."""
        return self.find_storage(pid)

    def find_class(self, module: str, name: str) -> object:
        """One of the few functions above, or a stub. Nothing is imported."""
        known = KNOWN.get((module, name))
        if known is not None:
            return known
        if module in ("torch", "torch.cuda", "torch.storage") and name in TORCH_DTYPES:
            return StorageType(TORCH_DTYPES[name])
        origin = f"{module}.{name}"[:200]
        if is_dangerous(module, name):
            raise WeightsError(f"names {origin!r}, which no checkpoint needs and which could run code; nothing was run")
        if origin not in self.foreign:
            self.foreign.append(origin)
        return type("Foreign", (Inert,), {"origin": origin})

    def get_extension(self, code: int) -> None:
        """Extension codes stand for globals registered in this process; no checkpoint needs them."""
        raise pickle.UnpicklingError(f"extension code {code}")

    def _call(self, func: object, args: object) -> object:
        if not isinstance(args, tuple):
            raise pickle.UnpicklingError("arguments that are no tuple")
        if isinstance(func, Inert) or (isinstance(func, type) and issubclass(func, Inert)):
            return Inert()
        if any(func is known for known in KNOWN.values()):
            return func(*args)  # type: ignore[operator]
        raise pickle.UnpicklingError(f"a call of {type(func).__name__}")

    def load_reduce(self) -> None:
        """REDUCE: call only what we know."""
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args)

    def load_newobj(self) -> None:
        """NEWOBJ: as a call."""
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args)

    def load_newobj_ex(self) -> None:
        """NEWOBJ_EX: as a call, keyword arguments dropped."""
        self.stack.pop()
        self.load_newobj()

    def load_inst(self) -> None:
        """INST: protocol 0 construction."""
        module = self.readline()[:-1].decode("ascii", "replace")
        name = self.readline()[:-1].decode("ascii", "replace")
        self.append(self._call(self.find_class(module, name), tuple(self.pop_mark())))

    def load_obj(self) -> None:
        """OBJ: protocol 1 construction."""
        args = self.pop_mark()
        if not args:
            raise pickle.UnpicklingError("an object without class")
        self.append(self._call(args[0], tuple(args[1:])))

    def load_build(self) -> None:
        """BUILD: state is for numpy arrays and dtypes only; all other state is dropped."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, (Array, Dtype)):
            target.set_state(state)

    def load_setitem(self) -> None:
        """SETITEM: plain keys into plain dictionaries."""
        value = self.stack.pop()
        key = self.stack.pop()
        self._set(self.stack[-1], [key, value])

    def load_setitems(self) -> None:
        """SETITEMS: as SETITEM."""
        items = self.pop_mark()
        self._set(self.stack[-1], items)

    def load_dict(self) -> None:
        """DICT: as SETITEMS into a new dictionary."""
        items = self.pop_mark()
        target: dict[object, object] = {}
        self._set(target, items)
        self.append(target)

    def _set(self, target: object, items: list[object]) -> None:
        if not isinstance(target, dict):
            return
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(key, KEY_TYPES):
                target[key] = value
            else:
                self.odd_keys = True

    def load_append(self) -> None:
        """APPEND: to plain lists."""
        value = self.stack.pop()
        self._extend([value])

    def load_appends(self) -> None:
        """APPENDS: to plain lists."""
        self._extend(self.pop_mark())

    def _extend(self, values: list[object]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def load_additems(self) -> None:
        """ADDITEMS: a set becomes a list, so that nothing is hashed."""
        self._extend(self.pop_mark())

    def load_empty_set(self) -> None:
        """EMPTY_SET."""
        self.append([])

    def load_frozenset(self) -> None:
        """FROZENSET."""
        self.append(self.pop_mark())

    for _opcode, _method in (
        (pickle.REDUCE, load_reduce), (pickle.NEWOBJ, load_newobj), (pickle.NEWOBJ_EX, load_newobj_ex),
        (pickle.INST, load_inst), (pickle.OBJ, load_obj), (pickle.BUILD, load_build), (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems), (pickle.DICT, load_dict), (pickle.APPEND, load_append),
        (pickle.APPENDS, load_appends), (pickle.ADDITEMS, load_additems), (pickle.EMPTY_SET, load_empty_set),
        (pickle.FROZENSET, load_frozenset),
    ):  # fmt: skip
        dispatch[_opcode[0]] = _method


def plain_pickle(data: bytes, find_storage: Callable[[Any], object]) -> tuple[object, list[str]]:
    """Read one pickle from memory: the object and the foreign globals."""
    reader = RestrictedUnpickler(io.BytesIO(data), find_storage)
    return reader.load(), reader.foreign
