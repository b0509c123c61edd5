"""A target's folder is held against its row, and what differs is said before any work."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from rtx.datasets.classification import MEAN_PER_CLASS, TARGETS, check_target, find_target
from rtx.errors import DataError, UnknownName


def mnist(root: Path, labels: list[int]) -> Path:
    (root / "MNIST/raw").mkdir(parents=True)
    for stem in ("train", "t10k"):
        n = len(labels)
        files = {
            "labels-idx1": struct.pack(">ii", 2049, n) + bytes(labels),
            "images-idx3": struct.pack(">iiii", 2051, n, 28, 28) + bytes(784 * n),
        }
        for kind, raw in files.items():
            (root / "MNIST/raw" / f"{stem}-{kind}-ubyte.gz").write_bytes(gzip.compress(raw))
    return root


def cifar(root: Path, labels: list[int]) -> Path:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    batch = {b"data": np.zeros((len(labels), 3072), np.uint8), b"labels": labels}
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(pickle.dumps(batch))
    return root


def folders(root: Path, classes: int, splits: tuple[str, ...] = ("train", "test")) -> Path:
    for split in splits:
        for n in range(classes):
            (root / split / f"c{n:03d}").mkdir(parents=True)
            (root / split / f"c{n:03d}" / "a.jpg").write_bytes(b"")
    return root


def test_the_five_unbalanced_targets_are_scored_by_class() -> None:
    by_class = {name for name, row in TARGETS.items() if row.metric == MEAN_PER_CLASS}
    assert by_class == {"aircraft", "caltech101", "caltech256", "flowers", "pets"}
    assert find_target("dtd").classes == 47
    with pytest.raises(UnknownName, match="did you mean 'caltech101'"):
        find_target("caltech10l")


def test_counts_of_each_layout(tmp_path: Path) -> None:
    labels = [*range(10), 3]
    for name, root, train in (
        ("mnist", mnist(tmp_path / "m", labels), 11),
        ("cifar10", cifar(tmp_path / "c", labels), 55),
        ("pets", folders(tmp_path / "f", 37), 37),
        ("folder", folders(tmp_path / "v", 4, ("train", "val")), 4),
    ):
        counts = check_target(find_target(name), root, subset=True)
        assert counts["train"].sum() == train and (counts["test"] >= 1).all(), name
    with pytest.raises(DataError, match=r"11 train images, mnist has 60000.*--subset"):
        check_target(find_target("mnist"), tmp_path / "m")


def test_what_does_not_fit_is_an_error(tmp_path: Path) -> None:
    mnist_row = find_target("mnist")
    with pytest.raises(DataError, match="no such folder"):
        check_target(mnist_row, tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"looked for MNIST/raw/train-labels.*found train"):
        check_target(mnist_row, folders(tmp_path / "other", 2, ("train",)))
    with pytest.raises(DataError, match=r"looked for KMNIST/raw/.*found MNIST"):
        check_target(find_target("kmnist"), mnist(tmp_path / "digits", list(range(10))), subset=True)
    with pytest.raises(DataError, match="holds 4 class folders, pets has 37"):
        check_target(find_target("pets"), folders(tmp_path / "few", 4))
    with pytest.raises(DataError, match="no folder 'test'"):
        check_target(find_target("folder"), tmp_path / "other")
    with pytest.raises(DataError, match="1 of 10 classes have no train image, the first is class 9"):
        check_target(mnist_row, mnist(tmp_path / "nine", list(range(9))), subset=True)
    with pytest.raises(DataError, match="labels run from 0 to 10"):
        check_target(mnist_row, mnist(tmp_path / "ten", list(range(11))), subset=True)


def test_ten_is_the_digit_zero_in_svhn(tmp_path: Path) -> None:
    for split in ("train", "test"):
        savemat(tmp_path / f"{split}_32x32.mat", {"y": np.array([*range(1, 11), 10])[:, None]})
    assert check_target(find_target("svhn"), tmp_path, subset=True)["test"].tolist() == [2, *[1] * 9]


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_truncated_file_is_named(tmp_path: Path, name: str) -> None:
    root = mnist(tmp_path, list(range(10))) if name == "mnist" else cifar(tmp_path, list(range(10)))
    path = root / {"mnist": "MNIST/raw/train-labels-idx1-ubyte.gz", "cifar10": "cifar-10-batches-py/data_batch_3"}[name]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=f"{path.name}: truncated"):
        check_target(find_target(name), root, subset=True)


def test_a_batch_runs_no_code(tmp_path: Path) -> None:
    root = cifar(tmp_path, list(range(10)))
    (root / "cifar-10-batches-py/data_batch_1").write_bytes(b"cposix\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(DataError, match=r"posix\.system"):
        check_target(find_target("cifar10"), root, subset=True)


@pytest.mark.parametrize("labels", [5, [[n] for n in range(10)], list(range(9))])
def test_a_batch_has_one_label_an_image(tmp_path: Path, labels: object) -> None:
    root = cifar(tmp_path, list(range(10)))
    batch = {b"data": np.zeros((10, 3072), np.uint8), b"labels": labels}
    (root / "cifar-10-batches-py/data_batch_2").write_bytes(pickle.dumps(batch))
    with pytest.raises(DataError, match="data_batch_2: labels of shape"):
        check_target(find_target("cifar10"), root, subset=True)


@pytest.mark.parametrize("damage", [(b"latin1", b"lativ1"), (b"\x95", b"\x95\xff\xff\xff\xff\xff\xff\xff\xff")])
def test_a_damaged_batch_is_an_error_of_the_data(tmp_path: Path, damage: tuple[bytes, bytes]) -> None:
    path = cifar(tmp_path, list(range(10))) / "cifar-10-batches-py/data_batch_1"
    batch = pickle.loads(path.read_bytes())
    whole = pickle.dumps(batch, protocol=2 if damage[0] == b"latin1" else 4)
    assert damage[0] in whole
    path.write_bytes(whole.replace(*damage, 1))
    with pytest.raises(DataError, match="data_batch_1: truncated or not a CIFAR batch"):
        check_target(find_target("cifar10"), tmp_path, subset=True)


@pytest.mark.realdata
def test_real_subsets(real_data: Path) -> None:
    counts = check_target(find_target("cifar10"), real_data / "cls_cifar10", subset=True)
    assert (counts["train"].sum(), counts["test"].sum()) == (2280, 380)
    for name, train, test in (("mnist", 6000, 1000), ("fashion_mnist", 8000, 1500), ("kmnist", 4000, 1000)):
        counts = check_target(find_target(name), real_data / f"cls_{name}", subset=True)
        assert (counts["train"].sum(), counts["test"].sum()) == (train, test)
    counts = check_target(find_target("folder"), real_data / "cls_caltech101")
    assert (counts["train"].sum(), counts["test"].sum(), len(counts["train"])) == (400, 200, 40)
