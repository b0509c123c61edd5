"""Made folders of classification targets: archives, class folders, and each published layout with two classes."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat


def picture(path: Path, seed: int = 0, mode: str = "RGB", size: tuple[int, int] = (40, 36)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def mnist(root: Path, labels: Sequence[int], folder: str = "MNIST") -> Path:
    (root / folder / "raw").mkdir(parents=True)
    n = len(labels)
    pixels = np.random.default_rng(n).integers(0, 256, (n, 28, 28), np.uint8)
    for stem in ("train", "t10k"):
        files = {
            "labels-idx1": struct.pack(">ii", 2049, n) + bytes(labels),
            "images-idx3": struct.pack(">iiii", 2051, n, 28, 28) + pixels.tobytes(),
        }
        for kind, raw in files.items():
            (root / folder / "raw" / f"{stem}-{kind}-ubyte.gz").write_bytes(gzip.compress(raw))
    return root


def cifar(root: Path, labels: Sequence[int]) -> Path:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 3072), np.uint8)
    batch = {b"data": pixels, b"labels": list(labels)}
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(pickle.dumps(batch))
    return root


def svhn(root: Path, labels: Sequence[int]) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3, len(labels)), np.uint8)
    for split in ("train", "test"):
        savemat(root / f"{split}_32x32.mat", {"X": pixels, "y": np.array(labels)[:, None]})
    return root


def folders(root: Path, classes: int, splits: tuple[str, ...] = ("train", "test")) -> Path:
    for split in splits:
        for n in range(classes):
            (root / split / f"c{n:03d}").mkdir(parents=True)
            (root / split / f"c{n:03d}" / "a.jpg").write_bytes(b"")
    return root


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def aircraft(root: Path, n: int) -> None:
    data = root / "fgvc-aircraft-2013b/data"
    names = [f"{n}-{k} x" for k in range(n)]
    write(data / "variants.txt", *names)
    write(data / "images_variant_trainval.txt", *(f"{k:07d} {name}" for k, name in enumerate(names)))
    write(data / "images_variant_test.txt", *(f"{k + 900:07d} {name}" for k, name in reversed(list(enumerate(names)))))
    for k in range(n):
        picture(data / f"images/{k:07d}.jpg", k)
        picture(data / f"images/{k + 900:07d}.jpg", k)


def birdsnap(root: Path, n: int) -> None:
    for k in range(n):
        for image in ("1", "2", "3"):
            picture(root / f"birdsnap/images/Bird_{k:03d}/{image}.jpg", k)
    write(root / "birdsnap/test_images.txt", "path", *(f"Bird_{k:03d}/2.jpg" for k in range(n)), "Bird_000/gone.jpg")


def cars(root: Path, n: int) -> None:
    base = root / "stanford_cars"
    (base / "devkit").mkdir(parents=True)
    savemat(base / "devkit/cars_meta.mat", {"class_names": np.array([f"Car {k}" for k in range(n)], object)})
    kind = [("bbox_x1", "O"), ("class", "O"), ("fname", "O")]
    for split, file in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        rows = np.array([(1, n - k, f"{k + 1:05d}.jpg") for k in range(n)], kind)
        savemat(base / file, {"annotations": rows})
        for k in range(n):
            picture(base / f"cars_{split}/{k + 1:05d}.jpg", k)


def dtd(root: Path, n: int) -> None:
    base = root / "dtd/dtd"
    for split in ("train", "val", "test"):
        write(base / f"labels/{split}1.txt", *(f"t{k:02d}/t{k:02d}_{split}.jpg" for k in reversed(range(n))))
        for k in range(n):
            picture(base / f"images/t{k:02d}/t{k:02d}_{split}.jpg", k)


def flowers(root: Path, n: int) -> None:
    base = root / "flowers-102"
    ids = np.arange(1, 3 * n + 1).reshape(n, 3)  # one image of each class in each of the three lists
    for image in ids.ravel():
        picture(base / f"jpg/image_{image:05d}.jpg", image)
    savemat(base / "imagelabels.mat", {"labels": np.repeat(np.arange(1, n + 1, dtype=np.uint8), 3)})
    savemat(base / "setid.mat", {"trnid": ids[:, 0], "valid": ids[:, 1], "tstid": ids[::-1, 2]})


def food(root: Path, n: int) -> None:
    for split, image in (("train", 1), ("test", 2)):
        held = {f"dish_{k:03d}": [f"dish_{k:03d}/{image}"] for k in reversed(range(n))}
        write(root / f"food-101/meta/{split}.json", json.dumps(held))
        for k in range(n):
            picture(root / f"food-101/images/dish_{k:03d}/{image}.jpg", k)


def pets(root: Path, n: int) -> None:
    base = root / "oxford-iiit-pet"
    for split, image in (("trainval", 1), ("test", 2)):
        rows = [(f"Pet_x_{k:02d}", k) for k in reversed(range(n))]
        write(base / f"annotations/{split}.txt", *(f"{name}_{image} {k + 1} 1 1" for name, k in rows))
        for name, _ in rows:
            picture(base / f"images/{name}_{image}.jpg", image)


def sun397(root: Path, n: int) -> None:
    base = root / "SUN397"
    names = [f"/a/abbey{k:03d}/inside" if k % 2 else f"/b/bar{k:03d}" for k in range(n)]
    write(base / "ClassName.txt", *names)
    for split, image in (("Training_01", "1"), ("Testing_01", "2")):
        write(root / f"Partitions/{split}.txt", *(f"{name}/sun_{image}.jpg" for name in names))
        for k, name in enumerate(names):
            picture(base / f"{name[1:]}/sun_{image}.jpg", k)


PUBLISHED: dict[str, Callable[[Path, int], None]] = {
    row.__name__: row for row in (aircraft, birdsnap, cars, dtd, flowers, food, pets, sun397)
}


def caltech(root: Path, sizes: Sequence[int]) -> Path:
    """Flat class folders beside the one that is no class; the files are empty."""
    for name, size in [(f"k{n:03d}", size) for n, size in enumerate(sizes)] + [("BACKGROUND_Google", 3)]:
        folder = root / "101_ObjectCategories" / name
        folder.mkdir(parents=True)
        for n in range(size):
            (folder / f"image_{n + 1:04d}.jpg").write_bytes(b"")
    return root
