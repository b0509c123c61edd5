"""Images and labels out of the archives of CIFAR, MNIST and its kin, and SVHN, without running code from a file."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rtx.errors import DataError, RtxError
from rtx.sources.reading.read import read_checkpoint

_MOST = 2**28
"""Bytes of an IDX file, unpacked; EMNIST's largest has 2/3 of that."""


@dataclass(frozen=True)
class Archive:
    """One split of an archive, in the order of its files.

    Attributes:
        pixels: uint8, (images, h, w, 3) RGB or (images, h, w) grey; it may be a view that is not contiguous.
        labels: int64 (images,), as the file has them.
        files: what was read.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    files: tuple[Path, ...]


def cifar(root: Path, split: str, *, ten: bool) -> Archive:
    """CIFAR-10 (`ten`) or CIFAR-100 in its python layout, 32x32 RGB.

    Raises:
        DataError: a file is missing, damaged, or holds other things than images and labels.
    """
    folder = "cifar-10-batches-py" if ten else "cifar-100-python"
    names = {"train": [f"data_batch_{n}" for n in range(1, 6)], "test": ["test_batch"]}[split] if ten else [split]
    key = "labels" if ten else "fine_labels"
    paths = [_existing(root, f"{folder}/{name}") for name in names]
    found = []
    for path in paths:
        try:
            held = read_checkpoint(path)
            batch = {name.decode() if isinstance(name, bytes) else name: value for name, value in held.items()}
            labels, images = np.asarray(batch[key], np.int64), np.asarray(batch["data"])
        except (RtxError, AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{path}: truncated or not a CIFAR batch ({error}); download it again") from error
        if labels.ndim != 1 or images.shape != (*labels.shape, 3072) or images.dtype != np.uint8:
            raise DataError(
                f"{path}: labels of shape {labels.shape} for {images.dtype} images of shape {images.shape}, "
                "expected (n,) and uint8 (n, 3072); download it again"
            )
        found.append((images, labels))
    pixels = np.concatenate([images for images, _ in found]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Archive(pixels, np.concatenate([labels for _, labels in found]), tuple(paths))


def idx(root: Path, split: str, *, folder: str) -> Archive:
    """An MNIST-like set, 28x28 grey: `FOLDER/raw/*-ubyte`, plain or .gz.

    Raises:
        DataError: a file is missing or damaged, or images and labels differ in number.
    """
    stem = {"train": "train", "test": "t10k"}[split]
    labels, labels_file = _idx(root, f"{folder}/raw/{stem}-labels-idx1-ubyte", 2049, header=8)
    images, images_file = _idx(root, f"{folder}/raw/{stem}-images-idx3-ubyte", 2051, header=16)
    if len(images) != len(labels) * 784:
        raise DataError(f"{root}: {len(labels)} {split} labels for {len(images) // 784} images of 28x28")
    return Archive(images.reshape(-1, 28, 28), labels.astype(np.int64), (images_file, labels_file))


def _idx(root: Path, name: str, magic: int, *, header: int) -> tuple[NDArray[np.uint8], Path]:
    path = _existing(root, name, f"{name}.gz")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(_MOST)  # a longer one has another length than its header says
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: truncated or not a gzip file ({error}); download it again") from error
    shape = np.frombuffer(raw[4 : max(header, 4)], ">u4") if len(raw) >= header else np.zeros(1)
    if (
        len(raw) < header
        or int.from_bytes(raw[:4], "big") != magic
        or len(raw) - header != int(np.prod(shape, dtype=np.int64))
    ):
        raise DataError(f"{path}: truncated or not an IDX file of kind {magic}; download it again")
    return np.frombuffer(raw, np.uint8, offset=header), path


def svhn(root: Path, split: str) -> Archive:
    """SVHN's cropped digits, 32x32 RGB; the file's 10 is the digit 0.

    Raises:
        DataError: the file is missing or damaged.
    """
    from scipy.io import loadmat

    path = _existing(root, f"{split}_32x32.mat")
    try:
        held = loadmat(path, variable_names=["X", "y"])
        images, labels = np.asarray(held["X"]), held["y"].ravel().astype(np.int64)
    except Exception as error:  # scipy raises a different class for each kind of damage
        raise DataError(f"{path}: truncated or not an SVHN file ({error}); download it again") from error
    if images.shape != (32, 32, 3, len(labels)) or images.dtype != np.uint8:
        raise DataError(f"{path}: {len(labels)} labels for {images.dtype} images of shape {images.shape}")
    labels[labels == 10] = 0
    return Archive(np.moveaxis(images, 3, 0), labels, (path,))


def _existing(root: Path, *names: str) -> Path:
    for name in names:
        if (root / name).is_file():
            return root / name
    raise DataError(f"{root}: looked for {' or '.join(names)}, and found {contents(root)}")


def contents(root: Path) -> str:
    """The first few names in a folder, for messages."""
    names = sorted(p.name for p in root.iterdir())
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "nothing"
