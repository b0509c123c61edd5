"""A target is read in its published layout, held against its row, and what differs is said before any work."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rtx.cli.main import main
from rtx.datasets import classification, target_data
from rtx.datasets.classification import find_target
from rtx.datasets.target_data import caltech_split_of, check_target, open_target
from rtx.errors import DataError, UnknownName
from tests.datasets.target_worlds import PUBLISHED, caltech, cifar, folders, mnist, picture, svhn
from tests.sources.watch import watched


def test_a_truncated_image_is_found_where_all_are_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folders(tmp_path, 3)
    for path in root.glob("*/*/a.jpg"):
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(path)
    assert main(["targets", "check", "folder", str(root), "--decode"]) == 0
    assert "every image was decoded" in capsys.readouterr().out
    cut = root / "test/c001/a.jpg"
    cut.write_bytes(cut.read_bytes()[:-40])
    assert main(["targets", "check", "folder", str(root)]) == 0
    assert "looked for, not opened: --decode" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"1 image cannot be decoded: image .*c001/a.jpg"):
        check_target(find_target("folder"), root, decode=True)
    mnist(tmp_path / "m", [*range(10)])
    assert main(["targets", "check", "mnist", str(tmp_path / "m"), "--subset"]) == 0
    assert "opened" not in capsys.readouterr().out, "an archive is read whole"


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
    with pytest.raises(DataError, match="holds 4 classes, pets has 37"):
        check_target(find_target("pets"), folders(tmp_path / "few", 4))
    with pytest.raises(DataError, match="no folder 'test'"):
        check_target(find_target("folder"), tmp_path / "other")
    with pytest.raises(DataError, match=r"1 of 10 classes have no train image, the first is class 9 \(9\)"):
        check_target(mnist_row, mnist(tmp_path / "nine", list(range(9))), subset=True)
    with pytest.raises(DataError, match="labels run from 0 to 10"):
        check_target(mnist_row, mnist(tmp_path / "ten", list(range(11))), subset=True)


def test_ten_is_the_digit_zero_in_svhn(tmp_path: Path) -> None:
    svhn(tmp_path, [*range(1, 11), 10])
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
    path, trace = root / "cifar-10-batches-py/data_batch_1", tmp_path / "owned"
    text = f"touch {trace}".encode()
    binary = b"\x80\x02cposix\nsystem\nX%b%btR." % (len(text).to_bytes(4, "little"), text)
    for code, said in ((binary, ""), (b"cposix\nsystem\n(S'touch owned'\ntR.", "plain text")):
        path.write_bytes(code)
        with pytest.raises(DataError, match=f"data_batch_1.*{said}"):
            check_target(find_target("cifar10"), root, subset=True)
        assert not trace.exists()


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


def small(monkeypatch: pytest.MonkeyPatch, name: str, n: int, **counts: int | None) -> None:
    """Give the row of a target n classes."""
    row = replace(find_target(name), classes=n, **{"train": None, "test": None, **counts})
    monkeypatch.setitem(classification.TARGETS, name, row)


def torchvision_lists(name: str, root: Path, split: str) -> tuple[list[str], list[tuple[str, int]]]:
    """What torchvision's own readers list, with the splits of `rtx` put together."""
    vision: Any = pytest.importorskip("torchvision.datasets")
    classes = dict(aircraft="FGVCAircraft", cars="StanfordCars", dtd="DTD", flowers="Flowers102", food="Food101")
    reader = getattr(vision, {**classes, "pets": "OxfordIIITPet", "sun397": "SUN397"}[name])
    parts = {
        "aircraft": ["trainval"],
        "pets": ["trainval"],
        "dtd": ["train", "val"],
        "flowers": ["train", "val"],
    }.get(name, ["train"])
    rows: list[tuple[str, int]] = []
    for part in parts if split == "train" else ["test"]:
        held = reader(str(root)) if name == "sun397" else reader(str(root), split=part)
        if name == "cars":
            rows += [(str(path), int(label)) for path, label in held._samples]
        else:
            files = held._images if name == "pets" else held._image_files
            rows += [(str(path), int(label)) for path, label in zip(files, held._labels, strict=True)]
    return list(held.classes), rows


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"birdsnap"}))
@pytest.mark.parametrize("split", ["train", "test"])
def test_published_lists_are_those_of_torchvision(
    tmp_path: Path, name: str, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    PUBLISHED[name](tmp_path, 4)
    small(monkeypatch, name, 4)
    if name == "flowers":  # its reader asks for the checksums of the published files first
        monkeypatch.setattr("torchvision.datasets.flowers102.check_integrity", lambda *_: True)
    data = open_target(name, tmp_path, split)
    classes, rows = torchvision_lists(name, tmp_path, split)
    found = [(str(data.path(n)), int(data.labels[n])) for n in range(len(data))]
    if name == "sun397":  # torchvision does not apply the split
        image = {"train": "sun_1", "test": "sun_2"}[split]
        assert sorted(found) == sorted(row for row in rows if image in row[0])
    else:
        assert found == rows
    assert name == "flowers" or list(data.classes) == classes
    assert data.image(0).shape == (36, 40, 3)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_splits_are_disjoint_and_complete(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PUBLISHED[name](tmp_path, 4)
    small(monkeypatch, name, 4)
    train, test = (open_target(name, tmp_path, split) for split in ("train", "test"))
    assert not set(train.names) & set(test.names)
    assert len(set(train.names)) == len(train) and len(set(test.names)) == len(test)
    counts = check_target(find_target(name), tmp_path)
    assert counts["train"].tolist() == [{"dtd": 2, "flowers": 2, "birdsnap": 2}.get(name, 1)] * 4
    assert counts["test"].tolist() == [1] * 4
    gone = test.path(1)
    gone.unlink()
    if name == "birdsnap":  # what is there counts: many of its links are dead
        with pytest.raises(DataError, match="1 of 4 classes have no test image"):
            open_target(name, tmp_path, "test")
    else:
        with pytest.raises(DataError, match=f"1 of 4 listed images are missing, the first is {gone}"):
            open_target(name, tmp_path, "test")


def test_a_list_of_another_form_is_an_error_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PUBLISHED["aircraft"](tmp_path, 4)
    small(monkeypatch, "aircraft", 4)
    (tmp_path / "fgvc-aircraft-2013b/data/images_variant_test.txt").write_text("0000900 Zeppelin\n")
    with pytest.raises(DataError, match=r"lists of aircraft do not have the published form.*Zeppelin"):
        open_target("aircraft", tmp_path, "test")
    with pytest.raises(DataError, match=r"looked for dtd/dtd/labels/train1.txt, or for train/<class>/"):
        open_target("dtd", tmp_path, "train")


def test_caltech_takes_the_first_thirty_of_a_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, "caltech101", 3)
    caltech(tmp_path, [31, 32, 50])
    train, test = (open_target("caltech101", tmp_path, split) for split in ("train", "test"))
    assert np.bincount(train.labels).tolist() == [30] * 3 and np.bincount(test.labels).tolist() == [1, 2, 20]
    assert train.names[29].endswith("k000/image_0030.jpg") and test.names[0].endswith("k000/image_0031.jpg")
    assert "BACKGROUND_Google" not in train.classes

    def drawn(seed: int, split: str = "train") -> set[str]:
        return set(open_target("caltech101", tmp_path, split, caltech_split="random", split_seed=seed).names)

    assert drawn(1) == drawn(1) != drawn(2)
    assert not drawn(1) & drawn(1, "test") and drawn(1) | drawn(1, "test") == {*train.names, *test.names}
    with pytest.raises(UnknownName, match="Caltech split 'last'"):
        open_target("caltech101", tmp_path, "train", caltech_split="last")


@pytest.mark.parametrize("text", ["last", "first:3", "random:", "random:x", "random:-1"])
def test_a_caltech_split_is_named_with_its_own_seed(text: str) -> None:
    assert caltech_split_of("random:7") == ("random", 7) and caltech_split_of("random") == ("random", 0)
    with pytest.raises(UnknownName, match=f"Caltech split '{text}'.*random:SEED"):
        caltech_split_of(text)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_every_image_is_rgb(tmp_path: Path, mode: str) -> None:
    for split in ("train", "test"):
        picture(tmp_path / split / "a" / "1.jpg", mode=mode)
    data = open_target("folder", tmp_path, "train")
    image, expected = data.image(0), np.asarray(Image.open(data.path(0)).convert("RGB"), np.int16)
    assert image.shape == (36, 40, 3) and image.dtype == np.uint8
    assert abs(image - expected).max() <= 2


def test_archives_give_the_pixels_that_torchvision_gives(tmp_path: Path) -> None:
    vision: Any = pytest.importorskip("torchvision.datasets")
    labels = [*range(10), 4]
    kmnist, ten = mnist(tmp_path / "k", labels, "KMNIST"), cifar(tmp_path / "c", labels)
    digits = svhn(tmp_path, [(label or 10) for label in labels])
    for path in (kmnist / "KMNIST/raw").iterdir():  # torchvision reads the plain files
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    kuzushiji = vision.KMNIST(str(kmnist))
    for name, root in (("kmnist", kmnist), ("cifar10", ten), ("svhn", digits)):
        data = open_target(name, root, "train", subset=True)
        assert data.image(7).shape[2] == 3 and data.image(7).dtype == np.uint8
        assert data.labels.dtype == np.int64 and data.labels[:11].tolist() == labels
        assert len(set(data.names)) == len(data)
    assert np.array_equal(open_target("kmnist", kmnist, "train", subset=True).image(7)[..., 1], kuzushiji.data[7])


def test_the_identity_is_that_of_the_data(tmp_path: Path) -> None:
    for place in ("one", "two"):
        for split in ("train", "test"):
            for name in "ab":
                picture(tmp_path / place / split / name / "1.png")
    memo = tmp_path / "memo"
    first, second = (open_target("folder", tmp_path / place, "train") for place in ("one", "two"))
    known = first.identity(memo)
    assert known == second.identity(memo) != open_target("folder", tmp_path / "one", "test").identity(memo)
    path = tmp_path / "two/train/b/1.png"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert open_target("folder", tmp_path / "two", "train").identity(memo) != known, "another file of the same size"
    path.unlink()
    with pytest.raises(DataError, match=r"b/1\.png"):
        second.identity(memo)
    labels = list(range(10))
    a, b = (
        open_target("mnist", mnist(tmp_path / n, held), "train", subset=True)
        for n, held in zip("xy", (labels, labels[::-1]), strict=True)
    )
    assert a.identity(memo) != b.identity(memo)


def test_files_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "test"):
        picture(tmp_path / "d" / split / "a" / "1.png")
    read: list[Path] = []
    original = target_data.file_sha256
    monkeypatch.setattr(target_data, "file_sha256", lambda path: (read.append(path), original(path))[1])
    data = open_target("folder", tmp_path / "d", "train")
    assert data.identity(tmp_path / "m") == data.identity(tmp_path / "m") and len(read) == 1
    os.utime(data.path(0), ns=(1, 1))
    assert data.identity(tmp_path / "m") == data.identity(tmp_path / "other") and len(read) == 3


def test_an_archive_is_read_once_and_again_where_a_file_changed(tmp_path: Path) -> None:
    root = mnist(tmp_path, list(range(10)))
    first, second = (open_target("mnist", root, "train", subset=True) for _ in range(2))
    assert first.archive is second.archive
    path = root / "MNIST/raw/train-labels-idx1-ubyte.gz"
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[-10:] = bytes(reversed(range(10)))
    path.write_bytes(gzip.compress(bytes(raw)))
    assert open_target("mnist", root, "train", subset=True).labels.tolist() == list(range(9, -1, -1))
    assert first.labels.tolist() == list(range(10))


def test_other_labels_of_the_same_files_are_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PUBLISHED["aircraft"](tmp_path, 4)
    small(monkeypatch, "aircraft", 4)
    before = open_target("aircraft", tmp_path, "train")
    path = tmp_path / "fgvc-aircraft-2013b/data/images_variant_trainval.txt"
    lines = path.read_text().splitlines()
    swapped = [f"{lines[n].split(' ', 1)[0]} {lines[other].split(' ', 1)[1]}" for n, other in enumerate((1, 0, 2, 3))]
    path.write_text("\n".join(swapped) + "\n")
    after = open_target("aircraft", tmp_path, "train")
    assert after.names == before.names and after.identity(tmp_path / "m") != before.identity(tmp_path / "m")


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    for split in ("train", "test"):
        picture(tmp_path / split / "a" / "1.jpg")
    path = tmp_path / "train/a/1.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"1\.jpg: the file is truncated"):
        open_target("folder", tmp_path, "train").image(0)


@pytest.mark.realdata
def test_real_subsets(real_data: Path) -> None:
    counts = check_target(find_target("cifar10"), real_data / "cls_cifar10", subset=True)
    assert (counts["train"].sum(), counts["test"].sum()) == (2280, 380)
    for name, train, test in (("mnist", 6000, 1000), ("fashion_mnist", 8000, 1500), ("kmnist", 4000, 1000)):
        counts = check_target(find_target(name), real_data / f"cls_{name}", subset=True)
        assert (counts["train"].sum(), counts["test"].sum()) == (train, test)
    counts = check_target(find_target("folder"), real_data / "cls_caltech101")
    assert (counts["train"].sum(), counts["test"].sum(), len(counts["train"])) == (400, 200, 40)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02c_codecs\nencode\nq\x00X%sq\x01%s"
        % (struct.pack("<I", 10**6) + b"a" * 10**6, b"h\x00h\x01\x85R" * 1500),
        b"\x80\x02}r\xff\xff\xff\x7f",
    ],
    ids=["copies", "memo"],
)
def test_an_archive_of_a_megabyte_takes_no_gigabyte(tmp_path: Path, content: bytes) -> None:
    root = cifar(tmp_path, list(range(10)))
    (root / "cifar-10-batches-py/data_batch_1").write_bytes(content + b".")
    with watched(memory=2**29), pytest.raises(DataError, match="download it again"):
        check_target(find_target("cifar10"), root, subset=True)
