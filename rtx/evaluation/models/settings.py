"""The settings of a torch module that no weight holds: thresholds, sizes, flags, in it and in all of its parts."""

from __future__ import annotations

import hashlib
import logging
import re
import types
from collections.abc import Iterator, Mapping, Sequence, Set
from enum import Enum
from functools import partial
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import nn

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_DEVICE = re.compile(r"(cpu|cuda|mps|xpu)(:\d+)?")
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_DEEPEST = 6
_CACHES = {"MultiScaleRoIAlign": frozenset({"scales", "map_levels"})}  # torchvision's: made by the first forward pass


def settings_sha256(module: nn.Module) -> str:
    """Sha256 over the plain attributes of a module and of all of its parts, and over how it prints.

    Values are numbers, strings, arrays, containers and simple objects of them, functions and classes by name. Devices,
    paths, parameters, buffers, hooks and the training flag are no part of it, so the same model gives the same value in
    every process and on every device.
    """
    digest = hashlib.sha256(_ADDRESS.sub("", repr(module)).encode())
    for name, part in sorted(module.named_modules(), key=lambda item: item[0]):
        skipped = _OF_EVERY_MODULE | _CACHES.get(type(part).__name__, frozenset())
        own = {key: value for key, value in vars(part).items() if key not in skipped}
        digest.update(f"{name}|{type(part).__qualname__}|{_text(own, 0)}\n".encode())
    return digest.hexdigest()


def _text(value: Any, depth: int) -> str:
    """A value as text that is the same in every process."""
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, str):
        return "<device>" if _DEVICE.fullmatch(value) else repr(value)
    if value is None or isinstance(value, (bool, int, float, complex, bytes, torch.dtype, slice, range)):
        return repr(value)
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return _array_text(value)
    kind = type(value).__qualname__
    if depth < _DEEPEST and not isinstance(value, (torch.device, PurePath, nn.Module)):
        return f"{kind}({','.join(_parts(value, depth + 1))})"
    return kind


def _parts(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from sorted(f"{_text(key, depth)}:{_text(row, depth)}" for key, row in value.items())
    elif isinstance(value, Set):
        yield from sorted(_text(row, depth) for row in value)
    elif isinstance(value, Sequence):
        yield from (_text(row, depth) for row in value)
    elif isinstance(value, partial):
        yield from (_text(row, depth) for row in (value.func, value.args, value.keywords))
    elif isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
        yield f"{value.__module__}.{value.__qualname__}"
    elif isinstance(value, (logging.Logger, types.ModuleType, types.MethodType)):
        yield str(getattr(value, "__name__", getattr(value, "name", "")))
    elif hasattr(value, "__dict__"):
        yield _text(vars(value), depth)


def _array_text(value: torch.Tensor | np.ndarray[Any, Any]) -> str:
    if isinstance(value, torch.Tensor):
        if value.is_meta or value.is_sparse or value.is_quantized:
            return f"tensor{tuple(value.shape)}"
        flat = value.detach().cpu().contiguous().reshape(-1)
        data = flat.view(torch.uint8).numpy().tobytes()
    elif value.dtype == object:
        return _text(value.tolist(), _DEEPEST - 1)
    else:
        data = np.ascontiguousarray(value).tobytes()
    return f"{value.dtype}{tuple(value.shape)}{hashlib.sha256(data).hexdigest()}"
