"""Every use of a VOC folder sees the same years, images, class names and objects, or all refuse it for one reason."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mmdet")

from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from rtx.datasets import voc
from rtx.datasets.layouts import find_images
from rtx.datasets.openmmlab.checks import check_data
from rtx.datasets.openmmlab.with_data import with_data
from rtx.errors import DataError
from rtx.evaluation.models.folders import read_voc
from rtx.evaluation.offline.voc import VocFolder
from tests.makers import make_voc

LEAF = Config.fromfile(Path(__file__).resolve().parents[2] / "configs" / "fasterrcnn_r50_voc.py")
OWN = ("yeast", "cell")
Seen = dict[str, Any]


def built(cfg: Config) -> Seen:
    """What mmdet reads through a config."""
    init_default_scope("mmdet")
    node = dict(cfg.test_dataloader.dataset, pipeline=[])
    dataset = DATASETS.build(node)
    rows = [dataset.get_data_info(n) for n in range(len(dataset))]
    names = dataset.metainfo["classes"]
    return {
        "images": [row["img_id"] for row in rows],
        "files": {str(Path(row["img_path"]).resolve()) for row in rows},
        "classes": tuple(names),
        "objects": {
            row["img_id"]: sorted(
                (names[i["bbox_label"]], *i["bbox"], bool(i["ignore_flag"])) for i in row["instances"]
            )
            for row in rows
        },
    }


def config(root: Path) -> Seen:
    return built(with_data(LEAF, root))


def check(root: Path) -> Seen:
    cfg = with_data(LEAF, root)
    check_data(cfg, ["val"])
    return built(cfg)


def adapter(root: Path) -> Seen:
    held = read_voc(root, annotations=None, wanted=None, known=())
    rows = zip(held.rows, held.truth, strict=True)
    return {
        "images": [row["img_id"] for row in held.rows],
        "files": {str(Path(row["img_path"]).resolve()) for row in held.rows},
        "classes": held.classes,
        "objects": {row["img_id"]: objects(truth, held.classes) for row, truth in rows},
    }


def objects(truth: Any, names: tuple[str, ...]) -> list[Any]:
    rows = zip(truth.boxes.tolist(), truth.labels, truth.difficult, strict=True)
    return sorted((names[label], *map(int, box), bool(difficult)) for box, label, difficult in rows)


def score(root: Path) -> Seen:
    truth = VocFolder(root)
    rows = {t.image_id: objects(t, truth.classes) for t in truth.truth}
    return {"images": list(rows), "classes": truth.classes, "objects": rows}


def export(root: Path) -> Seen:
    found = find_images(root)
    stems = [voc.read_stems(root / path) for path in found.labels if path.suffix == ".txt"]
    assert sorted(path.stem for path in found.labels if path.suffix == ".xml") == sorted(stems[0])
    return {"images": list(stems[0]), "files": {str((root / path).resolve()) for path in found.images}}


USERS: tuple[Callable[[Path], Seen], ...] = (config, check, adapter, score, export)


def lists(root: Path, year: str = "2007") -> Path:
    return root / "VOCdevkit" / f"VOC{year}" / "ImageSets" / "Main"


def rewrite(root: Path, edit: Callable[[str], str]) -> Path:
    path = lists(make_voc(root)) / "test.txt"
    path.write_bytes(edit(path.read_text()).encode())
    return root


def one_year(root: Path) -> Path:
    return make_voc(root) / "VOCdevkit" / "VOC2007"


def dotted(root: Path) -> Path:
    rewrite(root, lambda text: text.replace("2007_100000", "2007.10 a"))
    home = root / "VOCdevkit" / "VOC2007"
    for folder, suffix in (("JPEGImages", ".jpg"), ("Annotations", ".xml")):
        (home / folder / f"2007_100000{suffix}").rename(home / folder / f"2007.10 a{suffix}")
    return root


def unlisted(root: Path) -> Path:
    """A class that no list leads to."""
    make_voc(root, names=OWN)
    home = root / "VOCdevkit" / "VOC2007" / "Annotations"
    text = (home / "2007_100000.xml").read_text()
    (home / "stray.xml").write_text(text.replace("yeast", "stray").replace("cell", "stray"))
    return root


def trained_class(root: Path) -> Path:
    """A class with objects in training images only."""
    make_voc(root, names=OWN)
    for path in (root / "VOCdevkit" / "VOC2007" / "Annotations").glob("2007_1*.xml"):
        path.write_text(path.read_text().replace("yeast", "cell"))
    return root


def fractions(root: Path) -> Path:
    make_voc(root)
    path = root / "VOCdevkit" / "VOC2007" / "Annotations" / "2007_100001.xml"
    path.write_text(path.read_text().replace("</xmin>", ".7</xmin>").replace("</ymax>", ".2</ymax>"))
    return root


def two_years(root: Path, first: str = "test") -> Path:
    return make_voc(root, years={"2007": {"trainval": 3, first: 2}, "2012": {"trainval": 3, "val": 3}})


def older_year(root: Path) -> Path:
    return make_voc(root, years={"2010": {"train": 3, "val": 2}, "2012": {"train": 3, "val": 3}})


GOOD: dict[str, Callable[[Path], Path]] = {
    "2007": make_voc,
    "2012": lambda root: make_voc(root, years={"2012": {"train": 4, "val": 3}}),
    "both": two_years,
    "2012 before others": older_year,
    "devkit": lambda root: make_voc(root) / "VOCdevkit",
    "one year": one_year,
    "byte order mark": lambda root: rewrite(root, lambda text: "\ufeff" + text),
    "blank lines": lambda root: rewrite(root, lambda text: "\n" + text.replace("\n", "\n \n")),
    "CRLF": lambda root: rewrite(root, lambda text: text.replace("\n", "\r\n")),
    "flags": lambda root: rewrite(root, lambda text: text.replace("\n", "  1\n", 1).replace("2\n", "2 -1\n")),
    "no last newline": lambda root: rewrite(root, str.strip),
    "dots and blanks in names": dotted,
    "own classes": lambda root: make_voc(root, names=OWN),
    "labels in no list": unlisted,
    "class of training images": trained_class,
    "fractions": fractions,
}


@pytest.mark.parametrize("kind", GOOD)
def test_every_use_sees_the_same(kind: str, tmp_path: Path) -> None:
    root = GOOD[kind](tmp_path)
    seen = [use(root) for use in USERS]
    for key in ("images", "files", "classes", "objects"):
        values = [each[key] for each in seen if key in each]
        assert len(values) > 1 and values[0] and all(value == values[0] for value in values), key
    if kind == "2012 before others":
        assert all("2012" in name for name in seen[0]["images"])
    if kind in ("labels in no list", "class of training images"):
        assert seen[0]["classes"] == ("cell", "yeast")


def annotation(root: Path, edit: Callable[[str], str]) -> Path:
    make_voc(root)
    path = root / "VOCdevkit" / "VOC2007" / "Annotations" / "2007_100002.xml"
    path.write_text(edit(path.read_text()))
    return root


def mixed(root: Path) -> Path:
    return make_voc(root, names=("person", "cell"))


def no_lists(root: Path) -> Path:
    make_voc(root)
    shutil.rmtree(lists(root))
    return root


def with_list(text: str | bytes) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        (lists(make_voc(root)) / "test.txt").write_bytes(text.encode() if isinstance(text, str) else text)
        return root

    return make


# Message -> how it is made, and whether an export, which reads no labels, refuses it too.
BAD: dict[str, tuple[Callable[[Path], Path], bool]] = {
    r"test\.txt: line 3 names 'a', as line 1 does": (with_list("a\nb\na\n"), True),
    r"test\.txt lists no image": (with_list("\n \n"), True),
    r"test\.txt cannot be read": (with_list(b"\xff\xd8\xff\x00"), True),
    r"test\.txt: line 1 is '/etc/passwd'": (with_list("/etc/passwd\n"), True),
    r"test\.txt: line 2 is '\.\./a'": (with_list("a\n../a\n"), True),
    r"has no VOC data set": (lambda root: (root / "VOCdevkit").mkdir() or root, True),
    r"has no ImageSets/Main/test\.txt or val\.txt": (no_lists, True),
    r"class 'cell' .* is not one of VOC's twenty, others are": (mixed, False),
    r"100002\.xml is no VOC annotation \(object 1: it has no name": (
        lambda root: annotation(root, lambda text: text.replace("<name>", "<nom>").replace("</name>", "</nom>")),
        False,
    ),
    r"100002\.xml is no VOC annotation \(object 1: bndbox/ymax is 'nan'": (
        lambda root: annotation(root, lambda text: re.sub("<ymax>[0-9]+", "<ymax>nan", text, count=1)),
        False,
    ),
    r"100002\.xml is no VOC annotation \(its size": (
        lambda root: annotation(root, lambda text: text.replace("<width>", "<width>wide ")),
        False,
    ),
    r"100002\.xml is no VOC annotation \(object 1: .*'yes'": (
        lambda root: annotation(root, lambda text: text.replace("<difficult>0", "<difficult>yes")),
        False,
    ),
    r"100002\.xml is no VOC annotation": (lambda root: annotation(root, lambda text: text[:90]), False),
}


@pytest.mark.parametrize("message", BAD)
def test_or_all_refuse_it(message: str, tmp_path: Path) -> None:
    make, export_too = BAD[message]
    root = make(tmp_path)
    for use in USERS if export_too else USERS[:-1]:
        with pytest.raises(DataError, match=message):
            use(root)


def test_what_a_list_asks_for_and_the_folder_lacks_is_named(tmp_path: Path) -> None:
    home = make_voc(tmp_path) / "VOCdevkit" / "VOC2007"
    image = home / "JPEGImages" / "2007_100001.jpg"
    image.unlink()
    assert image in [tmp_path / path for path in find_images(tmp_path).images], "an export fails on it by name"
    for use in (check, adapter):
        with pytest.raises(DataError, match=r"1 of 4 images are missing: .*2007_100001\.jpg"):
            use(tmp_path)
    (home / "Annotations" / "2007_100001.xml").unlink()
    for use in (check, adapter, score):
        with pytest.raises(DataError, match=r"test\.txt: 1 of 4 annotation files are missing: .*2007_100001\.xml"):
            use(tmp_path)


def test_the_twenty_names_are_mmdets() -> None:
    from mmdet.datasets import VOCDataset

    assert voc.NAMES == VOCDataset.METAINFO["classes"]


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    root = make_voc(tmp_path)
    listing = root / "VOCdevkit/VOC2007/ImageSets/Main/test.txt"
    listing.write_text(listing.read_text() + "x" * 260)
    with pytest.raises(DataError, match=r"line 5 is 'xxx.*must be the name of an image"):
        voc.read_evaluated(root)
