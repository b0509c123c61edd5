"""Made evaluation folders: a model that loses a known part of its score, written the way an evaluation writes it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rtx.corruptions import BENCHMARK, CORRUPTIONS, HELD_OUT
from rtx.metrics.per_image import PixelEvidence
from rtx.results import arrays as evidence
from rtx.results import resample as resampled
from rtx.results.cell import Cell
from rtx.results.command import Command, note_command
from rtx.results.confidence import confidence_text, table_bytes
from rtx.results.evaluation import Evaluation
from rtx.results.folder import CellFolder, evidence_path
from rtx.results.intervals import Confidence, intervals
from rtx.results.summary import write_summary
from rtx.types import CLEAN, SEVERITIES, Condition

HARM = {"noise": 0.62, "blur": 0.7, "weather": 0.42, "digital": 0.5, "held_out": 0.5}


def score(clean: float, condition: Condition, robust: float, twist: float = 0.0) -> float:
    """What is left of a clean score; more of it for a more robust model, by family and corruption."""
    if condition == CLEAN:
        return clean
    family = CORRUPTIONS[condition.corruption]
    place = [*BENCHMARK, *HELD_OUT].index(condition.corruption)
    harm = HARM[family] * (0.55 + 0.09 * ((place * 7 + 3) % 11)) * (1 - robust * (1.25 if family == "noise" else 0.7))
    harm += twist * math.sin(place)
    return clean * (1 - max(0.0, min(harm, 0.97)) * (condition.severity / 5) ** 1.15)


def card(name: str, *, source: str = "resnet50_in1k_v1", transfer: str = "full", **more: Any) -> dict[str, Any]:
    """A protocol card as `rtx corrupt_eval` writes one."""
    base = {
        "corruption_engine": "imagecorruptions",
        "corruption_engine_version": "1.1.5",
        "channel_order": "rgb",
        "corruption_seed": 0,
        "corruption_at": "original_resolution",
        "image_key": "file_stem",
        "batching": "one_image_size",
        "limit": None,
        "n_images": 5000,
        "data_sha256": hashlib.sha256(b"data").hexdigest(),
        "metric": {"scorer": "coco", "scorer_version": "pycocotools 2.0.11", "n_classes": 80, "kinds": ["bbox"]},
        "precision": "fp32",
        "weights_sha256": hashlib.sha256(name.encode()).hexdigest(),
        "config_sha256": hashlib.sha256(b"config").hexdigest(),
        "source": source,
        "transfer": transfer,
        "freeze_map": {
            "backbone": {"arch": "resnet50", "trainable": 1, "frozen": 2},
            "total": {"trainable": 3, "frozen": 2},
        },
        "checkpoint_file": "epoch_12.pth",
        "checkpoint_sha256": "0" * 64,
        "device": "cpu",
        "labels": {"run": name, "config": "maskrcnn_r50_coco"},
        "versions": {"torch": "2.11.0", "numpy": "2.2.6"},
        "rtx": "0.1.0",
    }
    whole = {**base, **more}
    return {**whole, "labels": as_its_leaf(whole["labels"])}


def as_its_leaf(given: dict[str, Any]) -> dict[str, Any]:
    """The labels of the config that `given` names, and over them what is given."""
    config = str(given.get("config") or "")
    if not config:
        return given
    kind, _, rest = config.partition("_")
    stated = {
        "data": "coco_val2017",
        "method": {"maskrcnn": "Mask R-CNN", "fasterrcnn": "Faster R-CNN"}.get(kind, config),
    }
    if schedule := re.search(r"\dx", rest):
        stated["schedule"] = schedule.group()
    return {**stated, **given}


def diagnosis(left: float, ap50: float, condition: Condition) -> dict[str, Any]:
    """Error types and calibration of a detector that keeps a part `left` of its clean score."""
    blur = condition.corruption.endswith("blur")
    gains = {
        "missed": 0.1 + (0.3 if blur else 0.8) * (1 - left),
        "localisation": 0.1 + (1 - left) * (0.5 if blur else 0),
    }
    gains |= {"classification": 0.05 + 0.1 * (1 - left), "background": 0.08, "both": 0.02, "duplicate": 0.01 * left}
    errors = {"version": "rtx.errors/1", "AP50": ap50, "dAP": {**gains, "false_positive": 0.2, "false_negative": 0.3}}
    sure = {"version": "rtx.calibration/1", "D-ECE": 0.05 + 0.3 * (1 - left), "LaECE": 0.1, "gap": 0.1, "n": 9}
    return {"errors": {"bbox": errors}, "calibration": {"bbox": sure}}


def make_run(
    root: Path,
    name: str,
    *,
    clean: float = 0.38,
    robust: float = 0.2,
    twist: float = 0.0,
    metric: str = "bbox_mAP",
    conditions: tuple[Condition, ...] | None = None,
    classes: tuple[str, ...] = (),
    held_out: bool = False,
    resamples: int = 0,
    flags: tuple[str, ...] = (),
    folder: str | None = None,
    metric_card: dict[str, Any] | None = None,
    diagnosed: bool = False,
    **card_fields: Any,
) -> Path:
    """Write one evaluation folder and return it."""
    out = root / (folder or name.replace("/", "_"))
    fields = card(name, **card_fields, **({"metric": metric_card} if metric_card else {}))
    names = (*BENCHMARK, *(HELD_OUT if held_out else ()))
    wanted = conditions or (CLEAN, *(Condition(n, s) for n in names for s in SEVERITIES))
    folder_ = CellFolder(out, fields)
    folder_.open()
    cells = {}
    for condition in wanted:
        value = score(clean, condition, robust, twist)
        metrics = {metric: value, f"{metric}_50": min(1.0, 1.55 * value)}
        for part, (scale, tender) in {"s": (0.55, 0.8), "m": (1.05, 1.0), "l": (1.25, 1.1)}.items():
            metrics[f"{metric}_{part}"] = score(clean * scale, condition, robust * tender, twist)
        for index, word in enumerate(classes):
            metrics[f"{metric}/{word}"] = score(clean * (0.6 + 0.08 * index), condition, robust * (0.4 + 0.15 * index))
        found = diagnosis(value / clean, min(1.0, 1.55 * value), condition) if diagnosed else {}
        cell = Cell(condition, metrics, fields["n_images"] or 0, folder_.card, flags, {"seconds": 1.0}, found)
        folder_.write(cell)
        cells[condition] = cell
    evaluation = Evaluation(out, folder_.card, cells)
    write_summary(evaluation, metric)
    part = ("--limit", str(fields["limit"])) if fields["limit"] else ()
    words = ("rtx", "corrupt_eval", "made.py", "made.pth", *part, "--out", out.name)
    note_command(out, Command(words, "/made", wanted))
    if resamples:
        write_resamples(evaluation, metric, resamples)
    return out


def write_resamples(evaluation: Evaluation, metric: str, count: int) -> None:
    """Resampled scores: one shift shared by every model and a small one of the cell's own; and their intervals."""
    cells = evaluation.cells
    rng = np.random.default_rng(7)
    shared = rng.normal(0, 0.006, (count, 1))
    own = np.random.default_rng(len(evaluation.root.name)).normal(0, 0.002, (count, len(cells)))
    points = np.array([cell.metrics[metric] for cell in cells.values()])
    values = np.clip(points * (1 + shared + own), 0, 1)
    table = {c: np.concatenate([points[n : n + 1], values[:, n]]) for n, c in enumerate(cells)}
    write_intervals(evaluation, [intervals(table, metric, 5000, seed=0)], table_bytes(table, metric, "made"))


def make_evidence_run(root: Path, name: str, *, robust: float, images: int = 6, classes: int = 2) -> Path:
    """A segmenter's evaluation with evidence: pixel counts of each image, from which its scores come."""
    out = root / name
    out_card = card(name, n_images=images, metric={"scorer": "miou", "n_classes": classes})
    folder = CellFolder(out, out_card)
    folder.open()
    cells = {}
    for condition in (CLEAN, *(Condition(n, s) for n in BENCHMARK for s in SEVERITIES)):
        rows = []
        for image in range(images):
            for index in range(classes):
                hit = round(100 * score(0.9 - 0.03 * image - 0.2 * index, condition, robust))
                rows.append((image, index, hit, 100, 100))
        found = PixelEvidence(tuple(f"i{n}" for n in range(images)), np.array(rows, np.int64), classes)
        ones = np.ones((1, images), np.uint16)
        metrics = {metric: float(resampled.scores(found, ones, metric)[0]) for metric in found.metrics}
        cells[condition] = Cell(condition, metrics, images, folder.card, (), {"seconds": 1.0})
        folder.write(cells[condition])
        evidence.save(evidence_path(out, condition), found, key=folder.key, condition=condition.key)
    write_summary(Evaluation(out, folder.card, cells), "mIoU")
    return out


def make_family(root: Path, **more: Any) -> list[Path]:
    """Four models: two sources, fixed and full."""
    rows = [
        ("standard full", "resnet50_l2_eps0", "full", 0.402, 0.10, 0.03),
        ("standard fixed", "resnet50_l2_eps0", "fixed", 0.318, 0.16, 0.05),
        ("eps3 full", "resnet50_l2_eps3", "full", 0.391, 0.28, 0.02),
        ("eps3 fixed", "resnet50_l2_eps3", "fixed", 0.301, 0.45, 0.04),
    ]
    return [
        make_run(root, name, source=source, transfer=mode, clean=clean, robust=robust, twist=twist, **more)
        for name, source, mode, clean, robust, twist in rows
    ]


def write_intervals(evaluation: Evaluation, rows: Sequence[Confidence], table: bytes | None = None) -> None:
    """Write `confidence.json`, and `resamples.npz` beside it; what is there of the latter is kept without a table."""
    path = evaluation.root / "resamples.npz"
    if table is not None:
        path.write_bytes(table)
    text = confidence_text(evaluation, {row.metric: row for row in rows}, {}, path.read_bytes())
    (evaluation.root / "confidence.json").write_text(text, encoding="utf-8")


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def make_examples(out: Path, *, robust: float, classes: tuple[str, ...] = ("disc", HOSTILE), images: int = 3) -> None:
    """Write `examples/` with rendered scenes: squares that a less robust model finds less often."""
    from PIL import Image, ImageDraw

    root = out / "examples"
    root.mkdir()
    rows = []
    for number in range(images):
        rng = np.random.default_rng(number)
        width, height = 160, 120
        truth = []
        scene = Image.new("RGB", (width, height), tuple(int(v) for v in rng.integers(90, 170, 3)))
        pen = ImageDraw.Draw(scene)
        for index in range(4):
            x, y, side = 8 + 38 * index, int(rng.integers(10, 70)), int(rng.integers(22, 34))
            pen.rectangle((x, y, x + side, y + side), fill=tuple(int(v) for v in rng.integers(0, 255, 3)))
            truth.append({"bbox": [x, y, x + side, y + side], "label": index % 2})
        conditions = {}
        for corruption in ("gaussian_noise", "defocus_blur", "fog", "contrast", "shot_noise"):
            for level in (0, *SEVERITIES):
                condition = Condition(corruption, level) if level else CLEAN
                name = f"{number}_{condition.key}.jpg"
                noise = np.random.default_rng(level).normal(0, 12 * level, (height, width, 3))
                Image.fromarray(np.clip(np.asarray(scene) + noise, 0, 255).astype(np.uint8)).save(
                    root / name, quality=80
                )
                found = [
                    {**box, "score": 0.9, "bbox": [v + level * (1 - robust) for v in box["bbox"]]}
                    for place, box in enumerate(truth)
                    if score(1.0, condition, robust) > 0.2 + 0.2 * place
                ]
                if level > 2:
                    found.append({"bbox": [2, 90, 40, 118], "label": 0, "score": 0.5})
                conditions[condition.key] = {"image": name, "predictions": found}
        rows.append(
            {"id": f"scene {number}", "width": width, "height": height, "truth": truth, "conditions": conditions}
        )
    index = {"format": "rtx.examples/1", "task": "detection", "classes": list(classes), "images": rows}
    (root / "index.json").write_text(json.dumps(index), encoding="utf-8")


def make_map_examples(out: Path, *, robust: float) -> None:
    """Write `examples/` of a segmenter: two halves, the border moves with severity."""
    from PIL import Image

    root = out / "examples"
    root.mkdir()
    truth = np.zeros((60, 80), np.uint8)
    truth[:, 40:] = 1
    truth[:5] = 255
    Image.fromarray(truth).save(root / "truth.png")
    conditions = {}
    for level in (0, *SEVERITIES):
        found = np.zeros_like(truth)
        found[:, 40 + round(5 * level * (1 - robust)) :] = 1
        Image.fromarray(found).save(root / f"map_{level}.png")
        Image.fromarray(np.full((60, 80, 3), 120 + 15 * level, np.uint8)).save(root / f"photo_{level}.png")
        key = f"snow_{level}" if level else "clean"
        conditions[key] = {"image": f"photo_{level}.png", "map": f"map_{level}.png"}
    rows = [{"id": "halves", "width": 80, "height": 60, "truth_map": "truth.png", "conditions": conditions}]
    index = {"format": "rtx.examples/1", "task": "segmentation", "classes": ["left", "right"], "images": rows}
    (root / "index.json").write_text(json.dumps(index), encoding="utf-8")


def make_mixed(root: Path) -> list[Path]:
    """Everything that needs a banner, and a hostile name: whole, partial, preview, another precision, another set."""
    whole = make_run(root, "whole", classes=("person", HOSTILE), resamples=100)
    partial = make_run(root, HOSTILE, folder="hostile", robust=0.3, conditions=_some())
    preview = make_run(
        root, "preview", robust=0.4, limit=50, n_images=50, labels={"run": "preview", "data": "coco_val2017"}
    )
    amp = make_run(root, "amp", robust=0.35, precision="amp_fp16")
    segmenter = make_run(
        root,
        "upernet",
        metric="mIoU",
        clean=0.42,
        n_images=2000,
        labels={"run": "upernet", "data": "ade20k_val", "method": "UperNet"},
    )
    make_examples(whole, robust=0.1)
    make_examples(amp, robust=0.6)
    make_map_examples(segmenter, robust=0.3)
    return [whole, partial, preview, amp, segmenter]


def _some() -> tuple[Condition, ...]:
    return (CLEAN, *(Condition("fog", s) for s in SEVERITIES), Condition("snow", 2))
