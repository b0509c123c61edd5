"""The safetensors format: 8 bytes of header length, a JSON header, raw little-endian tensors. No code, no pickles."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rtx.errors import WeightsError

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_HEADER_LIMIT = 100_000_000


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        WeightsError: the header is no valid one, or a tensor does not lie inside the file.
    """
    header, start = _header(path)
    size = path.stat().st_size - start
    left = size
    tensors = {}
    with path.open("rb") as file:
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            try:
                dtype, shape, (begin, end) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
                valid = all(type(n) is int and n >= 0 for n in (*shape, begin, end)) and begin <= end <= size
                valid = valid and end - begin == math.prod(shape) * dtype.itemsize
            except (KeyError, TypeError, ValueError):
                valid = False
            if not valid:
                raise WeightsError(f"{path}: safetensors entry {name[:80]!r} does not describe data in the file")
            left -= end - begin
            if left < 0:
                raise WeightsError(f"{path}: safetensors entries overlap, which no writer of the format does")
            file.seek(start + begin)
            data = bytearray(end - begin)
            file.readinto(data)
            flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            tensors[name] = flat.reshape(shape)
    return tensors


def _header(path: Path) -> tuple[dict[str, Any], int]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_HEADER_LIMIT, path.stat().st_size - 8):
            raise WeightsError(f"{path}: no valid safetensors header")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise WeightsError(f"{path}: the safetensors header is no valid JSON") from error
    if not isinstance(header, dict):
        raise WeightsError(f"{path}: the safetensors header is no JSON object")
    return header, 8 + length


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors, sorted by name, so that equal content gives equal bytes.

    Raises:
        WeightsError: a tensor has an element type that the format lacks.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    offset = 0
    order = sorted(tensors)
    for name in order:
        tensor = tensors[name]
        if tensor.dtype not in _NAMES:
            raise WeightsError(f"{name}: {tensor.dtype} cannot be written to safetensors")
        size = tensor.numel() * tensor.element_size()
        entry = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        header[name] = entry
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            flat = tensors[name].detach().cpu().contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
