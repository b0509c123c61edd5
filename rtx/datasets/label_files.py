"""Labels out of the archives of CIFAR, MNIST and its kin, and SVHN, without running code from a file."""

from __future__ import annotations

import gzip
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import DataError

_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"asks for {module}.{name}")
        return super().find_class(module, name)


def cifar_labels(root: Path, split: str, *, ten: bool) -> NDArray[np.int64]:
    """Labels (images,) int64 of CIFAR-10 (`ten`) or CIFAR-100 in its python layout.

    Raises:
        DataError: a file is missing, damaged, or holds other things than images and labels.
    """
    folder = "cifar-10-batches-py" if ten else "cifar-100-python"
    names = {"train": [f"data_batch_{n}" for n in range(1, 6)], "test": ["test_batch"]}[split] if ten else [split]
    key = b"labels" if ten else b"fine_labels"
    found = []
    for path in (_existing(root, f"{folder}/{name}") for name in names):
        try:
            with path.open("rb") as file:
                batch = _ArraysOnly(file, encoding="bytes").load()
            labels, images = np.asarray(batch[key], np.int64), np.asarray(batch[b"data"])
        except Exception as error:  # pickle raises a different class for each kind of damage
            raise DataError(f"{path}: truncated or not a CIFAR batch ({error}); download it again") from error
        if images.shape != (*labels.shape, 3072):
            raise DataError(
                f"{path}: labels of shape {labels.shape} for images of shape {images.shape}; download it again"
            )
        found.append(labels)
    return np.concatenate(found)


def idx_labels(root: Path, split: str, *, folder: str) -> NDArray[np.int64]:
    """Labels (images,) int64 of an MNIST-like set: `FOLDER/raw/*-labels-idx1-ubyte`, plain or .gz.

    Raises:
        DataError: a file is missing or damaged, or images and labels differ in number.
    """
    stem = {"train": "train", "test": "t10k"}[split]
    labels = _idx(root, f"{folder}/raw/{stem}-labels-idx1-ubyte", 2049, header=8)
    images = _idx(root, f"{folder}/raw/{stem}-images-idx3-ubyte", 2051, header=16)
    if len(images) != len(labels) * 784:
        raise DataError(f"{root}: {len(labels)} {split} labels for {len(images) // 784} images of 28x28")
    return labels.astype(np.int64)


def _idx(root: Path, name: str, magic: int, *, header: int) -> NDArray[np.uint8]:
    path = _existing(root, name, f"{name}.gz")
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: truncated or not a gzip file ({error}); download it again") from error
    shape = np.frombuffer(raw[4 : max(header, 4)], ">u4") if len(raw) >= header else np.zeros(1)
    if (
        len(raw) < header
        or int.from_bytes(raw[:4], "big") != magic
        or len(raw) - header != int(np.prod(shape, dtype=np.int64))
    ):
        raise DataError(f"{path}: truncated or not an IDX file of kind {magic}; download it again")
    return np.frombuffer(raw, np.uint8, offset=header)


def svhn_labels(root: Path, split: str) -> NDArray[np.int64]:
    """Labels (images,) int64 of SVHN's cropped digits; the file's 10 is the digit 0.

    Raises:
        DataError: the file is missing or damaged.
    """
    from scipy.io import loadmat

    path = _existing(root, f"{split}_32x32.mat")
    try:
        labels: NDArray[np.int64] = loadmat(path, variable_names=["y"])["y"].ravel().astype(np.int64)
    except Exception as error:  # scipy raises a different class for each kind of damage
        raise DataError(f"{path}: truncated or not an SVHN file ({error}); download it again") from error
    labels[labels == 10] = 0
    return labels


def _existing(root: Path, *names: str) -> Path:
    for name in names:
        if (root / name).is_file():
            return root / name
    raise DataError(f"{root}: looked for {' or '.join(names)}, and found {_some(root)}")


def _some(root: Path) -> str:
    names = sorted(p.name for p in root.iterdir())
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "nothing"
