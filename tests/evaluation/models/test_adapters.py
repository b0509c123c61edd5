"""Functions and torch modules in the sweep: the numbers of a model that is written for it, and faults by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmdet")
pytest.importorskip("mmseg")
pytest.importorskip("mmpretrain")

from PIL import Image  # noqa: E402
from torch import nn  # noqa: E402

from rtx.corruptions import corrupt  # noqa: E402
from rtx.errors import BadValue, DataError, RunConflict, UnknownName  # noqa: E402
from rtx.evaluation.evaluate import evaluate, prepare  # noqa: E402
from rtx.evaluation.models.adapters import Classifier, Detector, Segmenter  # noqa: E402
from rtx.evaluation.sweep.batches import CorruptedView  # noqa: E402
from rtx.metrics import miou  # noqa: E402
from rtx.rng import image_rng  # noqa: E402
from rtx.types import Condition  # noqa: E402
from tests.evaluation.class_folders import MEAN, NAMES, STD, make_folders, train  # noqa: E402
from tests.evaluation.models.plain_functions import by_colour, nearest_colour  # noqa: E402
from tests.evaluation.stand_in import CLASSES, PixelDetector, coco_config  # noqa: E402
from tests.makers import ADE_NAMES, VOC_NAMES  # noqa: E402

FEW: dict[str, Any] = dict(corruptions=["frost"], severities=[3], workers=0)


def test_a_function_gets_the_scores_of_the_same_model_in_openmmlabs_form(made_coco: Path, tmp_path: Path) -> None:
    theirs = evaluate(PixelDetector(), coco_config(made_coco), tmp_path / "a", **FEW)
    detector = Detector(by_colour, CLASSES, name="by colour")
    mine = evaluate(detector, made_coco, tmp_path / "b", **FEW, keep_predictions=True)
    assert {k: c["metrics"] for k, c in mine["cells"].items()} == {k: c["metrics"] for k, c in theirs["cells"].items()}
    assert (
        mine["protocol"]["labels"]["run"] == "by colour" and mine["protocol"]["corruption_at"] == "original_resolution"
    )
    assert (tmp_path / "b/predictions/frost_3.npz").is_file() and mine["P"] > 0
    shuffled = (CLASSES[2], "unicorn", CLASSES[0], CLASSES[1])
    place = {n: shuffled.index(name) for n, name in enumerate(CLASSES)}

    def renumbered(images: list[np.ndarray]) -> list[dict[str, Any]]:
        return [{**row, "labels": [place[int(n)] for n in row["labels"]]} for row in by_colour(images)]

    other = Detector(renumbered, shuffled, name="another order")
    again = evaluate(other, made_coco / "val2017", tmp_path / "c", annotations=_annotations(made_coco), **FEW)
    assert {k: c["metrics"] for k, c in again["cells"].items()} == {k: c["metrics"] for k, c in mine["cells"].items()}
    two = evaluate(
        other, made_coco, tmp_path / "d", classes=[CLASSES[2], CLASSES[0]], corruptions=["frost"], severities=[3]
    )
    assert two["protocol"]["metric"]["n_classes"] == 2


def test_an_adapter_gets_the_array_that_the_corruption_made(made_coco: Path, tmp_path: Path) -> None:
    job = prepare(Detector(by_colour, CLASSES, name="a"), made_coco, tmp_path, seed=3)
    condition = Condition("frost", 3)
    _, sample = CorruptedView(job.dataset)[(condition, 0)]
    path = Path(sample["data_samples"].img_path)
    clean = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
    expected = corrupt(clean, condition, image_rng(3, path.stem, condition))
    mine = sample["inputs"].permute(1, 2, 0).numpy()
    assert mine.flags.c_contiguous and (mine == expected).all() and (mine != clean).any()


def _annotations(root: Path) -> Path:
    return root / "annotations/instances_val2017.json"


def test_another_name_is_another_model(made_coco: Path, tmp_path: Path) -> None:
    options = {**FEW, "limit": 1}
    first = evaluate(Detector(by_colour, CLASSES, name="v1"), made_coco, tmp_path, **options)
    assert evaluate(Detector(by_colour, CLASSES, name="v1"), made_coco, tmp_path, **options)["key"] == first["key"]
    with pytest.raises(RunConflict, match='model_name: "v1" there, "v2" now'):
        evaluate(Detector(by_colour, CLASSES, name="v2"), made_coco, tmp_path, **options)
    with pytest.raises(RunConflict, match=r'model_version: null there, "thr 0\.7" now'):
        evaluate(Detector(by_colour, CLASSES, name="v1", version="thr 0.7"), made_coco, tmp_path, **options)
    with pytest.raises(BadValue, match=r"give name=\.\.\."):
        Detector(by_colour, CLASSES)


def test_voc_and_masks(made_voc: Path, made_coco: Path, tmp_path: Path) -> None:
    detector = Detector(by_colour, VOC_NAMES, name="a")
    summary = evaluate(detector, made_voc, tmp_path / "voc", classes=VOC_NAMES, **FEW)
    assert summary["metric"] == "AP50_07" and summary["P"] > 0
    with pytest.raises(BadValue, match="17 of the 20 classes of the data are none of the model's"):
        evaluate(detector, made_voc, tmp_path / "voc", **FEW)

    def with_masks(images: list[np.ndarray]) -> list[dict[str, Any]]:
        rows = by_colour(images)
        for image, row in zip(images, rows, strict=True):
            masks = torch.zeros(len(row["scores"]), 1, *image.shape[:2])
            for n, (left, top, right, bottom) in enumerate(row["boxes"].int().tolist()):
                masks[n, 0, top:bottom, left:right] = 0.9
            row["masks"] = masks
        return rows

    found = evaluate(Detector(with_masks, CLASSES, name="m", masks=True), made_coco, tmp_path / "m", **FEW)
    assert found["metrics"]["segm_mAP"]["P"] > 0
    with pytest.raises(BadValue, match="no masks; return them, or leave out masks=True"):
        evaluate(Detector(by_colour, CLASSES, name="m", masks=True), made_coco, tmp_path / "n", **FEW)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: dict(row, boxes=row["boxes"][:, :3]), r"boxes \(3, 3\), scores \(3,\).*expected \(n, 4\)"),
        (lambda row: dict(row, labels=row["labels"] + 1), r"labels 1 to 3 of 3 classes; labels are indices"),
        (lambda row: dict(row, labels=row["labels"] + 0.5), "no whole numbers"),
        (lambda row: dict(row, boxes=np.array([[60, 60, 20, 20]] * 3)), r"the box \[60, 60, 20, 20\]; boxes are left"),
        (lambda row: {"boxes": row["boxes"]}, "a dict with boxes; return a dict with boxes, scores and labels"),
        (lambda row: [1], "a list; return a dict"),
    ],
    ids=["boxes", "labels", "halves", "widths", "keys", "kind"],
)
def test_faults_of_a_detector_name_the_image(change: Any, message: str, made_coco: Path, tmp_path: Path) -> None:
    good = dict(boxes=np.array([[1, 1, 9, 9.0]] * 3), scores=np.ones(3), labels=np.array([0, 1, 2]))
    detector = Detector(lambda images: [change(good) for _ in images], CLASSES, name="a")
    with pytest.raises(BadValue, match=rf"image '.*000000000101\.jpg'.*a returned.*{message}"):
        evaluate(detector, made_coco, tmp_path, **FEW)


def test_faults_of_the_whole_answer_and_of_the_set_up(made_coco: Path, made_ade: Path, tmp_path: Path) -> None:
    for answer, message in (
        ({"boxes": 1}, "dict for 1 images"),
        ([1, 2], "2 results for 1 images"),
        ([], "0 results for 1"),
        (3, "int for 1"),
    ):
        with pytest.raises(BadValue, match=rf"returned {message}.*jpg; return a list with dict"):
            evaluate(Detector(lambda images, a=answer: a, CLASSES, name="a"), made_coco, tmp_path, **FEW)
    with pytest.raises(BadValue, match="1 of the 3 classes of the data are none of the model's, the first is 'stripe'"):
        evaluate(Detector(by_colour, CLASSES[:2], name="a"), made_coco, tmp_path, **FEW)
    with pytest.raises(BadValue, match="layout of ade; a Detector is scored on coco or yolo or cityscapes or voc"):
        prepare(Detector(by_colour, CLASSES, name="a"), made_ade, tmp_path)
    with pytest.raises(BadValue, match="does not exist"):
        prepare(Detector(by_colour, CLASSES, name="a"), made_ade / "absent", tmp_path)
    with pytest.raises(BadValue, match="classes: 'zebra' is none of the data's"):
        prepare(Detector(by_colour, (*CLASSES, "zebra"), name="a"), made_coco, tmp_path, classes=["zebra"])
    with pytest.raises(BadValue, match="each class once"):
        Detector(by_colour, ["a", "a"], name="a")
    with pytest.raises(UnknownName, match="'tensors' is not in"):
        Detector(by_colour, CLASSES, name="a", inputs="tensors")


def test_what_seems_wrong_of_every_image_is_said_once(
    made_coco: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def one(box: Any) -> Any:
        return lambda images: [dict(boxes=[box], scores=[0.5], labels=[0]) for _ in images]

    for name, box, said in (
        ("parts", [0.1, 0.1, 0.6, 0.6], "within one pixel"),
        ("far", [9e3, 9e3, 9e3, 9e3], "outside"),
    ):
        caplog.clear()
        evaluate(
            Detector(one(box), CLASSES[:1], name=name), made_coco, tmp_path / name, corruptions=["fog"],
            severities=[1], workers=0, resamples=0, classes=CLASSES[:1],
        )  # fmt: skip
        assert sum(said in record.getMessage() for record in caplog.records) == 1


def test_label_maps_and_class_scores_of_a_segmenter(made_ade: Path, tmp_path: Path) -> None:
    order = ADE_NAMES[::-1]

    def in_order(images: list[np.ndarray]) -> list[np.ndarray]:
        return [len(order) - 1 - labels for labels in nearest_colour(images)]

    summary = evaluate(Segmenter(in_order, order, name="a"), made_ade, tmp_path / "a", **FEW)
    total = miou.PixelCounts.empty(len(ADE_NAMES))
    for path in sorted((made_ade / "images/validation").glob("*.jpg")):
        label = np.asarray(Image.open(made_ade / f"annotations/validation/{path.stem}.png")).astype(int) - 1
        total += miou.count(nearest_colour([np.asarray(Image.open(path))])[0], np.where(label < 0, 255, label), 4)[0]
    assert summary["P"] == pytest.approx(miou.scores(total)["mIoU"], abs=2e-3), "but for the decoder"
    assert summary["P"] > 0.5 > 0 and summary["cells"]["clean"]["flags"] == []

    def as_scores(images: list[np.ndarray]) -> list[torch.Tensor]:
        found = [torch.nn.functional.one_hot(torch.from_numpy(m), 4).permute(2, 0, 1).float() for m in in_order(images)]
        found[0][1, :5] = float("nan")
        return found

    scored = evaluate(Segmenter(as_scores, order, name="b"), made_ade, tmp_path / "b", **FEW)
    assert scored["P"] < summary["P"] and scored["cells"]["clean"]["flags"] == ["4 images with non-finite predictions"]
    for wrong, message in ((lambda m: m[:-1], "a map of shape"), (lambda m: m + 9, "labels 9 to")):
        bad = Segmenter(lambda images, w=wrong: [w(m) for m in in_order(images)], order, name="c")
        with pytest.raises(BadValue, match=rf"image '.*made_10000\.jpg'.*{message}"):
            evaluate(bad, made_ade, tmp_path / "c", **FEW)


class Net(nn.Module):
    """A few convolutions, with the normalisation inside."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 12, 5, 2), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 16, 5, 2), nn.ReLU()
        )
        self.head = nn.Linear(16, len(NAMES))
        self.raw = False

    def forward(self, x: Any) -> Any:
        if not self.raw:
            assert x.dtype == torch.float32 and 0 <= x.min() and x.max() <= 1
            x = (255 * x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        return self.head(self.body(x).mean((2, 3)))


def test_a_torch_module_as_classifier(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net()
    net.raw = True
    train(net, 60)
    net.raw = False
    net.train()
    root = make_folders(tmp_path / "val")
    one = evaluate(Classifier(net, NAMES, resize=72, crop=64), root, tmp_path / "a", **FEW)
    assert one["metric"] == "accuracy_top1" and one["protocol"]["corruption_at"] == "network_input"
    assert one["P"] > 0.4 and net.training, "evaluated in evaluation mode, and given back as it came"
    hits = []
    net.eval()
    for path in sorted(root.rglob("*.png")):
        image = Image.open(path).convert("RGB")
        scale = 72 / min(image.size)
        small = cv2.resize(np.asarray(image), tuple(round(side * scale) for side in image.size))
        top, left = (round((side - 64) / 2) for side in small.shape[:2])
        x = torch.from_numpy(small[top : top + 64, left : left + 64].copy()).permute(2, 0, 1)[None].float() / 255
        hits.append(int(net(x).argmax()) == NAMES.index(path.parent.name))
    assert one["P"] == np.mean(hits)
    more = (*NAMES[:3], "n99", *NAMES[3:])
    wide = Classifier(lambda images: np.zeros((len(images), 7)), more, name="z", resize=72, crop=64)
    assert evaluate(wide, root, tmp_path / "b", **FEW)["P"] == pytest.approx(1 / 6), "ties go to the first class"
    with torch.no_grad():
        net.head.bias[0] += 1
    with pytest.raises(RunConflict, match="weights_sha256"):
        evaluate(Classifier(net, NAMES, resize=72, crop=64), root, tmp_path / "a", **FEW)
    with pytest.raises(DataError, match="1 folders are named after no class of the model, the first is 'n06'"):
        evaluate(Classifier(net, (*NAMES[:5], "x"), resize=72, crop=64), root, tmp_path / "c", **FEW)
    with pytest.raises(BadValue, match=r"image '.*n01/000\.png'.*scores of shape \(6,\); expected one for each of 7"):
        evaluate(Classifier(net, more, resize=72, crop=64), root, tmp_path / "c", **FEW)
    assert json.loads((tmp_path / "a/protocol.json").read_text())["metric"]["threshold"] is None


def test_bfloat16_is_a_number_like_any_other(made_coco: Path, tmp_path: Path) -> None:
    def short(images: list[np.ndarray]) -> list[dict[str, Any]]:
        return [{**row, "scores": (row["scores"] * 0 + 0.5).bfloat16()} for row in by_colour(images)]

    def full(images: list[np.ndarray]) -> list[dict[str, Any]]:
        return [{**row, "scores": row["scores"].float()} for row in short(images)]

    scores = [
        evaluate(Detector(fn, CLASSES, name="a"), made_coco, tmp_path / fn.__name__, **FEW)["P"] for fn in (short, full)
    ]
    assert scores[0] == scores[1] > 0


def test_names_as_labels_and_a_class_named_twice(made_coco: Path, tmp_path: Path) -> None:
    row = dict(boxes=[[1, 1, 9, 9.0]], scores=[0.5], labels=["block"])
    with pytest.raises(
        BadValue, match=r"101\.jpg'.*the label 'block', which is no number; return indices into classes"
    ):
        evaluate(Detector(lambda images: [row for _ in images], CLASSES, name="a"), made_coco, tmp_path, **FEW)
    with pytest.raises(BadValue, match="classes: 'N/A' is there 3 times of 5"):
        Detector(by_colour, ["disc", "N/A", "block", "N/A", "N/A"], name="a")
    with pytest.raises(BadValue, match="classes: there is none"):
        Detector(by_colour, [], name="a")
