"""Autocast on the CPU for OpenMMLab's models, parts of which know no bfloat16 there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch.autograd import Function

_MARK = "rtx_float32_on_cpu"


def prepare_cpu_autocast() -> None:
    """Under autocast on the CPU, run in float32 what has no bfloat16 there, and what makes boxes.

    mmcv's NMS and RoIAlign stop with "expected scalar type Float but found BFloat16". mmdet makes anchors and boxes in
    the type of the network's output; the 8 bits of bfloat16 would move a box by up to 2 pixels at 1000. Outside of
    autocast on the CPU nothing changes. Called again, it sees to what was imported since.
    """
    for kind in _classes("mmcv.ops."):
        if issubclass(kind, Function):
            kind.forward = staticmethod(_in_float32(kind.forward))  # type: ignore[method-assign]
    for kind in _classes("mmdet.models."):
        if "predict_by_feat" in vars(kind):
            kind.predict_by_feat = _in_float32(kind.predict_by_feat)  # type: ignore[attr-defined]
        if "forward" in vars(kind) and any(base.__name__ == "BaseRoIExtractor" for base in kind.__mro__[1:]):
            kind.forward = _in_float32(kind.forward)  # type: ignore[attr-defined]


def _classes(prefix: str) -> list[type]:
    """The classes of the loaded modules of a package, each once. The package's own names hide some of its modules."""
    modules = [(name, module) for name, module in sys.modules.items() if name.startswith(prefix)]
    return [
        kind
        for name, module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and kind.__module__ == name
    ]


def _in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which under autocast on the CPU is given float32 and computes in it."""
    if hasattr(function, _MARK):
        return function

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        if not torch.is_autocast_enabled("cpu"):
            return function(*args, **options)
        with torch.autocast("cpu", enabled=False):
            return function(*map(_float32, args), **{name: _float32(value) for name, value in options.items()})

    setattr(call, _MARK, True)
    return call


def _float32(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() and value.device.type == "cpu" else value
    return type(value)(map(_float32, value)) if type(value) in (list, tuple) else value
