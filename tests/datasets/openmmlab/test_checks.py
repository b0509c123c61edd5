"""Bad data are named before any long work: what is wrong, where, and what to do."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rtx.errors import BadValue, DataError
from tests.makers import make_ade, make_coco, make_voc, voc_xml

pytest.importorskip("mmdet")
pytest.importorskip("mmseg")

from mmengine.config import Config

from rtx.datasets.openmmlab.checks import check_data
from rtx.datasets.openmmlab.with_data import with_data
from rtx.evaluation.offline.truth import LabelFolder

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
LEAF = {"coco": "maskrcnn_r50_coco", "voc": "fasterrcnn_r50_voc", "ade": "upernet_r50_ade20k"}
MAKE = {"coco": make_coco, "voc": make_voc, "ade": make_ade}
VAL_IMAGE = {
    "coco": "val2017/000000000102.jpg",
    "voc": "VOCdevkit/VOC2007/JPEGImages/2007_100001.jpg",
    "ade": "images/validation/made_10001.jpg",
}
LAYOUTS = sorted(LEAF)


def made(kind: str, root: Path) -> tuple[Path, Config]:
    """A data folder of our own and the config fitted to it, before anything is broken."""
    MAKE[kind](root)
    return root, with_data(Config.fromfile(CONFIGS / f"{LEAF[kind]}.py"), root)


def edit(path: Path, **changes: object) -> None:
    table = json.loads(path.read_text())
    path.write_text(json.dumps(table | changes))


def replace(root: Path, image: Path, size: tuple[int, int]) -> None:
    """Put a black picture in the place of an image, with annotations that say its size."""
    Image.new("RGB", size).save(image)
    if image.parent.name == "JPEGImages":
        path = image.parents[1] / "Annotations" / f"{image.stem}.xml"
        text = re.sub("<width>[0-9]+", f"<width>{size[0]}", path.read_text())
        path.write_text(re.sub("<height>[0-9]+", f"<height>{size[1]}", text))
    elif (root / "classes.json").is_file():
        path = root / "annotations" / image.parent.name / f"{image.stem}.png"
        Image.open(path).resize(size, Image.Resampling.NEAREST).save(path)
    else:
        path = root / f"annotations/instances_{image.parent.name}.json"
        rows = json.loads(path.read_text())["images"]
        for row in rows:
            row.update(dict(width=size[0], height=size[1]) if row["file_name"] == image.name else {})
        edit(path, images=rows)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_good_data_pass_and_are_counted(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    _, cfg = made(kind, tmp_path)
    with caplog.at_level(logging.INFO, "rtx.datasets.openmmlab.checks"):
        check_data(cfg)
    assert [re.sub(" images.*", "", r.getMessage()) for r in caplog.records] == [
        f"train data: {5 if kind == 'voc' else 6}",
        "val data: 4",
    ]


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path, kind: str, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        check_data(Config.fromfile(CONFIGS / f"{LEAF[kind]}.py"))
    text = str(caught.value)
    assert "does not exist" in text and str(tmp_path) in text and "http" in text and "--data-root" in text
    assert text.count("does not exist") == 1 and "\n" not in text


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_missing_image_is_named(tmp_path: Path, kind: str) -> None:
    root, cfg = made(kind, tmp_path)
    image = root / VAL_IMAGE[kind]
    if kind == "ade":  # its images are listed by the folder, so it is the label map that can be missing
        image = root / "annotations/validation/made_10001.png"
    image.unlink()
    with pytest.raises(DataError, match=f"val data: 1 of 4 .* are missing: .*{image.name}"):
        check_data(cfg)
    check_data(cfg, ["train"])


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("keep", [0, 300, -200])
def test_a_truncated_image_is_named(tmp_path: Path, kind: str, keep: int) -> None:
    root, cfg = made(kind, tmp_path)
    image = root / VAL_IMAGE[kind]
    image.write_bytes(image.read_bytes()[:keep])
    with pytest.raises(DataError, match=f"val data: 1 images are damaged: .*{image.name} "):
        check_data(cfg)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_small_image_ends_an_evaluation_only(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    root, cfg = made(kind, tmp_path)
    image = root / VAL_IMAGE[kind]
    replace(root, image, (200, 31))
    with pytest.raises(DataError, match=f"smaller than 32 pixels.*{image.name} .31 px.*"):
        check_data(cfg, ["val"])
    replace(root, image, (32, 32))
    check_data(cfg, ["val"])
    train = {"coco": "train2017", "voc": "VOCdevkit/VOC2007/JPEGImages", "ade": "images/training"}[kind]
    replace(root, min((root / train).iterdir()), (8, 8))
    with caplog.at_level(logging.WARNING):
        check_data(cfg, ["train"])
    assert "smaller than 32 pixels" in caplog.text


def test_a_missing_annotation_file_is_named(tmp_path: Path) -> None:
    root, cfg = made("coco", tmp_path)
    (root / "annotations/instances_val2017.json").unlink()
    with pytest.raises(DataError, match=r"lacks annotations/instances_val2017\.json \(looked in /"):
        check_data(cfg)
    root, cfg = made("voc", tmp_path / "voc")
    (root / "VOCdevkit/VOC2007/Annotations/2007_100002.xml").unlink()
    with pytest.raises(DataError, match=r"1 of 4 annotation files are missing: .*2007_100002\.xml"):
        check_data(cfg)


def test_every_problem_is_said_at_once(tmp_path: Path) -> None:
    root, cfg = made("coco", tmp_path)
    shutil.rmtree(root / "train2017")
    for image in (root / "val2017").iterdir():
        image.unlink()
    with pytest.raises(DataError, match=r"lacks train2017.*4 of 4 images are missing: .*102\.jpg.* and 1 more"):
        check_data(cfg)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(images=[]), "lists no image"),
        (dict(annotations=[]), "has no object; there is nothing to learn"),
        (dict(annotations=None), "has no list annotations"),
        (dict(categories=[{"id": 1, "name": "fig"}]), "has the categories fig, none of which the config knows"),
    ],
)
def test_empty_or_foreign_coco_files_are_refused(tmp_path: Path, changes: dict, message: str) -> None:
    root, cfg = made("coco", tmp_path)
    edit(root / "annotations/instances_train2017.json", **changes)
    with pytest.raises(DataError, match=message):
        check_data(cfg)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_a_broken_annotation_file_is_refused(tmp_path: Path, content: str) -> None:
    root, cfg = made("coco", tmp_path)
    (root / "annotations/instances_val2017.json").write_text(content)
    with pytest.raises(DataError, match=r"instances_val2017\.json"):
        check_data(cfg)
    root, cfg = made("voc", tmp_path / "voc")
    (root / "VOCdevkit/VOC2007/Annotations/2007_100002.xml").write_text(content)
    with pytest.raises(DataError, match=r"2007_100002\.xml is no VOC annotation"):
        check_data(cfg)


def test_labels_that_are_no_class_are_refused(tmp_path: Path) -> None:
    root, cfg = made("ade", tmp_path)
    path = root / "annotations/training/made_00002.png"
    labels = np.asarray(Image.open(path)).copy()
    labels[5, 5] = 9
    Image.fromarray(labels).save(path)
    with pytest.raises(DataError, match=r"made_00002\.png has the number 9, but the config has 4 classes"):
        check_data(cfg)
    Image.fromarray(np.dstack([labels] * 3)).save(path)
    with pytest.raises(DataError, match=r"made_00002\.png: .* must have one channel"):
        check_data(cfg)


def test_boxes_without_area_are_warned_of_and_do_no_harm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They neither stop a run nor turn a loss or a score into nan; BCCD has two."""
    import torch
    from mmdet.evaluation import VOCMetric
    from mmengine.registry import DATASETS, MODELS, init_default_scope

    root, cfg = made("voc", tmp_path)
    home = root / "VOCdevkit/VOC2007"
    for stem in ("2007_000000", "2007_100000"):  # a training and a test image
        size = Image.open(home / f"JPEGImages/{stem}.jpg").size[::-1]
        rows = [("car", (40, 40, 40, 40), False), ("dog", (10, 10, 80, 80), False)]
        (home / f"Annotations/{stem}.xml").write_text(voc_xml(f"{stem}.jpg", size, rows))
    with caplog.at_level(logging.WARNING):
        check_data(cfg)
    assert "1 boxes have no area (2007_000000); they are ignored" in caplog.text
    assert "1 boxes have no area (2007_100000); they stay in the ground truth" in caplog.text

    init_default_scope("mmdet")
    torch.manual_seed(0)
    cfg.model.backbone.update(depth=18, source=None, norm_policy="train")
    cfg.model.neck.update(in_channels=[64, 128, 256, 512], out_channels=16)
    cfg.model.rpn_head.update(in_channels=16, feat_channels=16)
    cfg.model.roi_head.bbox_roi_extractor.out_channels = 16
    cfg.model.roi_head.bbox_head.update(in_channels=16, fc_out_channels=16)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    train = DATASETS.build(cfg.train_dataloader.dataset)
    index = next(n for n in range(len(train)) if train[n]["data_samples"].img_id == "2007_000000")
    sample = train[index]
    assert sample["data_samples"].ignored_instances.bboxes.numel() == 4
    batch = model.data_preprocessor({"inputs": [sample["inputs"]], "data_samples": [sample["data_samples"]]}, True)
    losses, _ = model.parse_losses(model(**batch, mode="loss"))
    losses.backward()
    assert torch.isfinite(losses)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)

    model.eval()
    test = DATASETS.build(cfg.test_dataloader.dataset)
    metric = VOCMetric()
    metric.dataset_meta = test.metainfo
    with torch.no_grad():
        result = model.test_step({"inputs": [test[0]["inputs"]], "data_samples": [test[0]["data_samples"]]})
    metric.process({}, [item.to_dict() for item in result])
    assert np.isfinite(metric.compute_metrics(metric.results)["mAP"])


def test_coco_boxes_without_area_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root, cfg = made("coco", tmp_path)
    path = root / "annotations/instances_train2017.json"
    rows = json.loads(path.read_text())["annotations"]
    rows[1]["bbox"][2] = 0
    edit(path, annotations=rows)
    with caplog.at_level(logging.WARNING):
        check_data(cfg)
    assert "1 boxes have no area (000000000001.jpg)" in caplog.text


def test_coco_fields_that_mmdet_needs_are_named_before_work(tmp_path: Path) -> None:
    root, cfg = made("coco", tmp_path)
    path = root / "annotations/instances_train2017.json"
    rows = json.loads(path.read_text())["annotations"]
    for field, message in (
        ("area", r"annotation 1 of image 1 has no area"),
        ("bbox", r"annotation 1 of image 1 has no box"),
        ("segmentation", r"annotation 1 of image 1 has no segmentation"),
    ):
        edit(path, annotations=[{k: v for k, v in rows[0].items() if k != field}, *rows[1:]])
        with pytest.raises(DataError, match=message):
            check_data(cfg, ["train"])
    boxes = with_data(Config.fromfile(CONFIGS / "fasterrcnn_r50_coco.py"), root)
    check_data(boxes, ["train"])  # it reads no masks


def test_a_misspelt_class_is_named_before_training(tmp_path: Path) -> None:
    _, cfg = made("coco", tmp_path)
    cfg.train_dataloader.dataset.metainfo = dict(classes=("disc", "blok", "stripe"))
    with pytest.raises(DataError, match=r"train2017\.json: .* not so: blok; did you mean 'block'"):
        check_data(cfg)


def test_coco_categories_that_are_not_there_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root, cfg = made("coco", tmp_path)
    path = root / "annotations/instances_train2017.json"
    rows = json.loads(path.read_text())["annotations"]
    edit(path, annotations=[{**rows[0], "category_id": 999}, *rows[1:]])
    with caplog.at_level(logging.WARNING):
        check_data(cfg, ["train"])
    assert "the category_id of 1 annotations is not in the file, such as id 1 (999)" in caplog.text
    edit(path, annotations=[{**rows[0], "category_id": str(rows[0]["category_id"])}, *rows[1:]])
    with pytest.raises(DataError, match="annotation 1 has the category_id '5', which is text"):
        check_data(cfg, ["train"])


def test_255_that_seems_to_stand_for_a_class_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root, cfg = made("ade", tmp_path)
    folder = root / "annotations/validation"
    for path in folder.iterdir():
        labels = np.asarray(Image.open(path))
        Image.fromarray(np.where(labels > 1, 255, 1).astype(np.uint8)).save(path)
    for look in (lambda: check_data(cfg, ["val"]), lambda: LabelFolder(folder, 4, reduce_zero_label=True)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            look()
        assert re.search(r"hold class 1 and no other, and \d+% of their pixels are 255", caplog.text)


def test_a_pipe_in_place_of_an_image_is_named(tmp_path: Path) -> None:
    root, cfg = made("coco", tmp_path)
    path = root / "val2017/000000000102.jpg"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match=r"102\.jpg \(it is no file\)"):
        check_data(cfg)


def test_only_some_images_of_a_large_training_split_are_opened_but_all_are_looked_for(tmp_path: Path) -> None:
    root, cfg = made("coco", tmp_path)
    last = max((root / "train2017").iterdir())
    last.write_bytes(b"")
    check_data(cfg, ["train"], max_train_images=2)
    with pytest.raises(DataError, match="damaged"):
        check_data(cfg, ["train"])
    last.unlink()
    with pytest.raises(DataError, match="missing"):
        check_data(cfg, ["train"], max_train_images=2)


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    _, cfg = made("coco", tmp_path)
    with pytest.raises(BadValue, match="'dev' is not one of train, val"):
        check_data(cfg, ["dev"])


@pytest.mark.realdata
def test_bccds_two_empty_boxes_are_found(real_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    cfg = with_data(Config.fromfile(CONFIGS / "fasterrcnn_r50_voc.py"), real_data / "voc_bccd")
    with caplog.at_level(logging.WARNING):
        check_data(cfg)
    assert "BloodImage_00343" in caplog.text and "BloodImage_00338" in caplog.text


def test_a_turned_picture_with_the_size_that_it_is_shown_with_is_sound(tmp_path: Path) -> None:
    root, cfg = made("coco", tmp_path)
    path = root / "annotations/instances_val2017.json"
    with Image.open(root / "val2017/000000000101.jpg") as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.copy().save(root / "val2017/000000000101.jpg", exif=exif)
    with pytest.raises(DataError, match="as before the turn that its EXIF data ask for"):
        check_data(cfg, ["val"])
    images = json.loads(path.read_text())["images"]
    images[0].update(width=96, height=128)
    edit(path, images=images)
    check_data(cfg, ["val"])


def test_a_voc_size_of_nothing_is_no_size_but_leaves_training_images_out(tmp_path: Path) -> None:
    root, cfg = made("voc", tmp_path)
    home = root / "VOCdevkit/VOC2007/Annotations"
    for stem in ("2007_000000", "2007_100000"):
        path = home / f"{stem}.xml"
        path.write_text(re.sub("<(width|height)>[0-9]+", r"<\1>0", path.read_text()))
    check_data(cfg, ["val"])
    with pytest.raises(DataError, match=r"2007_000000\.jpg \(128 x 96, 0 x 0 stated\)"):
        check_data(cfg, ["train"])


def test_classes_that_were_not_asked_for_may_be_without_object(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, cfg = made("voc", tmp_path)
    with caplog.at_level(logging.WARNING):
        check_data(cfg)
        assert not caplog.text, "17 of VOC's own twenty do not occur"
        cfg.train_dataloader.dataset.dataset.datasets[0].metainfo = dict(classes=("person", "car", "dog", "cat"))
        check_data(cfg, ["train"])
    assert "train data: 1 of 4 classes are in no label and are never learnt: cat" in caplog.text


def test_files_of_a_data_set_that_rtx_does_not_know_are_said_not_to_be_looked_at(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = dict(type="CustomDataset", data_root="nowhere")
    with caplog.at_level(logging.INFO):
        check_data(Config(dict(train_dataloader=dict(dataset=node))), ["train"])
    assert "train data: a CustomDataset, whose files are not looked at before work" in caplog.text
