"""Hashes that tell models, configs and images from others, wherever they lie."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from rtx.errors import DataError
from rtx.evaluation.sweep.batches import path_in
from rtx.files import code_sha256, file_sha256

_READERS, _AT_ONCE, _A_TASK = 4, 1024, 32


def images_sha256(dataset: Any, indices: Sequence[int]) -> str:
    """Sha256 over names and content of the evaluated images.

    Files are read whole: a picture that was replaced by one of its size is another picture, and every cell reads each
    of them anyway. One that is on no local disk is known by its name alone.

    Raises:
        DataError: a file name is not UTF-8, so that no noise can be made from it.
    """
    digest = hashlib.sha256()
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(indices), _AT_ONCE):
            rows = [(n, dataset.get_data_info(n)) for n in indices[start : start + _AT_ONCE]]
            for part in pool.map(_digests, [rows[n : n + _A_TASK] for n in range(0, len(rows), _A_TASK)]):
                digest.update(part)
    return digest.hexdigest()


def _digests(rows: Sequence[tuple[int, Mapping[str, Any]]]) -> bytes:
    return b"".join(_image_digest(path_in(info, n), info) for n, info in rows)


def _image_digest(path: str, info: Mapping[str, Any]) -> bytes:
    """Sha256 over the name and the content of one image."""
    name = Path(path).name
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"image {os.fsencode(path)!r}: its name is not UTF-8, and the name decides the noise; rename it"
        ) from error
    pixels = info.get("img")
    content = file_sha256(Path(path)) if os.path.isfile(path) else None
    if content is None and isinstance(pixels, np.ndarray):  # a set that holds its images in memory
        content = hashlib.sha256(f"{pixels.dtype}{pixels.shape}".encode() + pixels.tobytes()).hexdigest()
    return hashlib.sha256(json.dumps([name, content]).encode()).digest()


def own_code(cfg: Any) -> dict[str, str]:
    """Module -> sha256 of its source file, of a package of all its source files.

    Frameworks are left out: their versions are on the card. So is what such a module imports itself.

    Args:
        cfg: the expanded config.
    """
    names = (cfg.get("custom_imports") or {}).get("imports") or ()
    hashes = {name: code_sha256(name) for name in sorted({names} if isinstance(names, str) else set(names))}
    return {name: digest for name, digest in hashes.items() if digest is not None}
