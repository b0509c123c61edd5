"""What may be compared: each field of a card has a tag, and the tags decide the key and the comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mmpretrain")

from rtx.evaluation.evaluate import prepare
from rtx.evaluation.models.adapters import Detector
from rtx.evaluation.offline.score import exported_settings, score_predictions
from rtx.evaluation.offline.truth import CocoFile
from rtx.evaluation.pixels.stored import Stored
from rtx.evaluation.pixels.stored_files import find_stored
from rtx.results.protocol import CONTEXT, FIELDS, MODEL, PIXELS, differing, protocol_key
from rtx.results.published_files import import_file
from tests.evaluation.pixels.stored_world import make_stored, shade_model
from tests.evaluation.stand_in import CLASSES, PixelDetector, coco_config

SWEPT: dict[str, Any] = {"corruption_engine": "rtx", "corruption_seed": 0, "data_sha256": "x", "metric": {}}


def live(coco: Path, root: Path) -> dict[str, Any]:
    return prepare(PixelDetector(), coco_config(coco), root, limit=2).card


def adapter(coco: Path, root: Path) -> dict[str, Any]:
    model = Detector(lambda images: [dict(boxes=[], scores=[], labels=[]) for _ in images], CLASSES, name="none")
    return prepare(model, coco, root).card


def stored_files(coco: Path, root: Path) -> dict[str, Any]:
    make_stored(root / "c", ("fog",), per_class=1)
    pixels = Stored(find_stored(root / "c"))
    return prepare(shade_model(), pixels.files.base, root / "out", limit=2, pixels=pixels).card


def offline(coco: Path, root: Path) -> dict[str, Any]:
    (root / "found").mkdir()
    (root / "found/clean.json").write_text("[]")
    names = ("engine", "rtx", "channel_order", "seed", "image_key", "quality")
    (root / "manifest.jsonl").write_text(json.dumps({"settings": dict.fromkeys(names, 1)}))
    truth = CocoFile(coco / "annotations/instances_val2017.json", kinds=["bbox"])
    return score_predictions(root / "found", truth, root / "out", stated=exported_settings(root))["protocol"]


def imported(coco: Path, root: Path) -> dict[str, Any]:
    path = root / "mask_rcnn_r50_fpn_1x_results.json"
    path.write_text(json.dumps({"fog": {str(s): {"bbox": {"AP": 0.5}} for s in range(6)}}))
    return import_file(path).card


@pytest.mark.parametrize("kind", [live, adapter, stored_files, offline, imported])
def test_every_field_of_a_card_has_a_tag(kind: Any, made_coco: Path, tmp_path: Path) -> None:
    card = kind(made_coco, tmp_path)
    assert len(card) > 10 and sorted(set(card) - set(FIELDS)) == []


@pytest.mark.parametrize("name", FIELDS)
def test_the_tag_says_what_a_field_decides(name: str) -> None:
    tag, other = FIELDS[name].tag, {**SWEPT, name: "other"}
    assert tag in (MODEL, PIXELS, CONTEXT)
    assert (protocol_key(other) != protocol_key(SWEPT)) == (tag != CONTEXT)
    assert differing(other, SWEPT) == ([name] if tag == PIXELS else [])


def test_a_field_without_a_tag_makes_another_key_and_no_comparison() -> None:
    other = {**SWEPT, "new": 1}
    assert protocol_key(other) != protocol_key(SWEPT) and differing(other, SWEPT) == ["new"]


def test_files_of_another_jpeg_quality_are_other_pixels() -> None:
    exported = {**SWEPT, "jpeg_quality": 85}
    assert differing(exported, dict(exported)) == []
    for other in ({**SWEPT, "jpeg_quality": 95}, SWEPT):
        assert differing(exported, other) == ["jpeg_quality"]
    assert differing({**SWEPT, "jpeg_quality": None}, SWEPT) == []  # lossless files hold the sweep's own pixels


def test_a_card_equals_the_one_that_was_read_from_its_file() -> None:
    card = {**SWEPT, "metric": {"topk": (1, 5)}}
    assert differing(card, json.loads(json.dumps(card))) == []
