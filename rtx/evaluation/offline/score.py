"""Score predictions on disk: made elsewhere on an exported corrupted set, or stored by an earlier evaluation.

The folder holds one entry for each condition: `clean` and `<corruption>_<severity>`, or `<corruption>/<severity>` as
ImageNet-C lays them out. An entry is a file (`fog_3.json`, `fog_3.npz`, `fog_3.zip`) or a folder of files (COCO
results, label maps, VOC's own result files).
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import rtx
from rtx.corruptions import CORRUPTIONS
from rtx.datasets.manifest import MANIFEST
from rtx.errors import BadValue, unknown_name
from rtx.evaluation.offline.truth import Truth
from rtx.metrics.coco_truth import ImageId
from rtx.metrics.metric import Metric, truth_sha256
from rtx.results import arrays as evidence
from rtx.results.arrays import reading
from rtx.results.cell import Cell
from rtx.results.confidence import write_results
from rtx.results.evaluation import Evaluation
from rtx.results.folder import CELLS, PREDICTIONS, PROTOCOL, CellFolder, evidence_path, read_card
from rtx.types import CLEAN, Condition

log = logging.getLogger(__name__)

UNSTATED = "unstated"
_UNSTATED = (
    *("corruption_engine", "corruption_engine_version", "channel_order", "corruption_seed"),
    *("images_sha256", "precision", "weights_sha256"),
)


def find_predictions(root: Path, suffixes: Sequence[str]) -> dict[Condition, Path]:
    """Condition -> its file or folder, clean first.

    Raises:
        BadValue: the folder holds no condition, or one twice.
        UnknownName: an entry is named after a corruption that does not exist.
    """
    evaluated = (root.parent / PROTOCOL).is_file()
    if not root.is_dir():
        kept = f"the evaluation {root.parent} kept none; evaluate again with --keep-predictions --overwrite"
        why = kept if evaluated and root.name == PREDICTIONS else "it must hold clean/ and <corruption>_<severity>/"
        raise BadValue(f"predictions {str(root)!r}: no such folder; {why}")
    if evaluated and root.name == CELLS:
        raise BadValue(
            f"{root}: holds cells and their evidence, which says what was a hit and not what was predicted; give "
            f"{root.parent / PREDICTIONS}, which an evaluation with --keep-predictions writes"
        )
    found: dict[Condition, Path] = {}
    for path in sorted(root.iterdir()):
        name = path.name if path.is_dir() else path.stem
        if path.name.startswith(".") or (path.is_file() and path.suffix.lower() not in (*suffixes, ".zip")):
            continue
        inner = sorted(p for p in path.iterdir() if p.stem in "12345") if path.is_dir() and name in CORRUPTIONS else []
        entries = [(f"{name}_{p.stem}", p) for p in inner] or [(name, path)]
        for key, entry in entries:
            condition = _condition(key, entry)
            if condition in found:
                raise BadValue(f"{condition.key} is there twice: {found[condition]} and {entry}; leave one of them")
            found[condition] = entry
    maps = [path for path in found.values() if path.suffix.lower() == ".zip" and ".png" not in suffixes]
    if maps:
        raise BadValue(f"{maps[0]}: holds label maps of a segmenter; score them with --labels, or --cityscapes --maps")
    if not found:
        what = f"; one entry a condition: clean, fog_1, ... ({', '.join(suffixes)})"
        if other := next(iter(sorted(root.glob("*.npz"))), None):
            what = f" of this kind, but {other.name}: detections go with --coco or --voc, guesses with --class-folders"
        raise BadValue(f"{root}: holds no predictions{what}")
    names = list(CORRUPTIONS)
    return dict(sorted(found.items(), key=lambda i: (-1 if i[0] == CLEAN else names.index(i[0].corruption), i[0])))


def exported_settings(folder: Path) -> dict[str, Any]:
    """Fields of the protocol card that the manifest of an exported corrupted set (`rtx corrupt`) states.

    Raises:
        BadValue: there is no such manifest.
    """
    path = folder / MANIFEST
    with reading(path, "manifest of an exported set", "give the folder that it lies in"):
        with path.open(encoding="utf-8") as stream:
            head = json.loads(stream.readline())["settings"]
        return {
            "corruption_engine": head["engine"],
            "corruption_engine_version": head["rtx"],
            "channel_order": head["channel_order"],
            "corruption_seed": head["seed"],
            "image_key": head["image_key"],
            "jpeg_quality": head["quality"],
            "corruption_at": "original_resolution",
            **{key: head[key] for key in ("elastic_smoothing",) if key in head},
        }


def check_exported(
    folder: Path, conditions: Iterable[Condition], names: Collection[str], *, hashes: bool = True
) -> int:
    """Check that an exported set is whole where predictions are scored: every image, and every file as it was written.

    An image that was not exported has no predictions, and would count as one in which nothing was found.

    Args:
        folder: holds the manifest that `rtx corrupt` wrote.
        conditions: which are scored; clean images are not exported.
        names: of the images of the ground truth, without suffix: as much of the path as it knows.
        hashes: read every file and compare its sha256; else look for the files only.

    Returns:
        How many files were checked.

    Raises:
        BadValue: a condition or an image was not exported, or a file has changed or is gone; or an image could be
            either of two exported files.
    """
    path = folder / MANIFEST
    rows: dict[str, dict[str, Mapping[str, Any]]] = {}
    with reading(path, "manifest of an exported set", "export into a new folder"), path.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if "file" in row:
                key = Condition(row["corruption"], row["severity"]).key
                inside = PurePosixPath(row["file"]).relative_to(key).with_suffix("").as_posix()
                rows.setdefault(key, {})[inside] = row
    jobs: list[tuple[Path, str | None]] = []
    for condition in conditions:
        if condition == CLEAN:
            continue
        there = rows.get(condition.key, {})
        places = _exported_names(names, there, f"{path}: {condition.key}")
        absent = sorted(set(names) - set(places))
        if absent:
            what = (
                "was not exported" if not there else f"lacks {len(absent)} of {len(names)} images, e.g. {absent[0]!r}"
            )
            raise BadValue(f"{path}: {condition.key} {what}; run the export again, or score against what was exported")
        files = [there[places[name]] for name in sorted(names)]
        jobs += [(folder / row["file"], row["sha256"] if hashes else None) for row in files]
    with ThreadPoolExecutor(8) as pool:
        for (file, _), fault in zip(jobs, pool.map(_fault, jobs), strict=True):
            if fault:
                raise BadValue(f"{file}: {fault}; the predictions were made on other pixels, export it again")
    log.info("%s: %d exported files are %s", folder, len(jobs), "what the manifest says" if hashes else "there")
    return len(jobs)


def _exported_names(names: Iterable[str], exported: Iterable[str], place: str) -> dict[str, str]:
    """Name of an image -> its exported name, where there is one; either may start further up in the path."""
    by_stem: dict[str, list[str]] = {}
    for inside in exported:
        by_stem.setdefault(PurePosixPath(inside).name, []).append(inside)
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in sorted(names):
        same = by_stem.get(PurePosixPath(name).name, [])
        fitting = (
            [name] if name in same else [i for i in same if f"/{i}".endswith(f"/{name}") or name.endswith(f"/{i}")]
        )
        if len(fitting) > 1:
            raise BadValue(
                f"{place}: {name!r} could be {fitting[0]!r} or {fitting[1]!r}; export the evaluated images alone"
            )
        for inside in fitting:
            if inside in taken:
                raise BadValue(f"{place}: {inside!r} could be {taken[inside]!r} or {name!r}; export with their folders")
            found[name], taken[inside] = inside, name
    return found


def _fault(job: tuple[Path, str | None]) -> str:
    path, sha256 = job
    if not path.is_file():
        return "is gone"
    if sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        return "is not what was exported (sha256)"
    return ""


def score_predictions(
    root: Path,
    truth: Truth,
    out: Path,
    *,
    stated: Mapping[str, Any] | None = None,
    data: str | None = None,
    overwrite: bool = False,
    resamples: int = 0,
) -> dict[str, Any]:
    """Score every condition of a folder into cell files and a summary.

    Args:
        root: the predictions.
        truth: what they are scored against.
        out: the output folder; not inside `root`.
        stated: how the images were made, as far as it is known: fields of the protocol card such as
            `corruption_engine`, `corruption_seed` and `labels`.
        data: what tables call the ground truth, where no evaluation kept the predictions.
        overwrite: replace what other predictions left in `out`.
        resamples: resamplings of the images for intervals; 0 for none.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        BadValue: predictions are damaged or do not fit the ground truth, their conditions were made on other images, or
            `stated` says something else than the evaluation that kept the predictions.
        RunConflict: `out` holds scores of other predictions.
    """
    entries = find_predictions(root, truth.suffixes)
    images = _images(truth, entries)
    data_sha256 = truth_sha256(truth.rows(truth.images if images is None else images))
    made = _evaluation(root, data_sha256, truth.metric)
    truth.settle(next(iter(entries.values())), made.get("metric") or {})
    if not made:
        made, labels = dict.fromkeys(_UNSTATED, UNSTATED), {} if data is None else {"data": data}
        made |= {"predictions_sha256": _digest(entries), "limit": None, "labels": {"run": root.name, **labels}}
        made |= {} if images is None else {"limit": len(images), "subset": "as predicted"}
    else:
        _check_stated(root, made, stated or {})
    card = {
        **made,
        **{name: value for name, value in (stated or {}).items() if value is not None},
        "data_sha256": data_sha256,
        "metric": truth.metric.card(),
        "n_images": len(truth.images if images is None else images),
        "rtx": rtx.__version__,
    }
    folder = CellFolder(out, card, overwrite=overwrite)
    for n, (condition, entry) in enumerate(entries.items()):
        started = time.perf_counter()
        metric = truth.score(entry)
        metrics, found, flags = metric.compute(), metric.evidence(), tuple(metric.flags())
        diagnosis = metric.diagnosis()
        if not n:  # nothing is written before one condition was good
            folder.open(spare=root)
        timing = {"seconds": time.perf_counter() - started}
        cell = Cell(condition, metrics, metric.n_images, folder.card, flags, timing, diagnosis)
        cell = _with_what_was_known(cell, None if overwrite else folder.cell(condition))
        evidence.save(evidence_path(out, condition), found, key=folder.key, condition=condition.key)
        folder.write(cell)
        headline = metric.headline
        log.info("%d/%d %s: %s %.4f", n + 1, len(entries), condition.key, headline, metrics[headline])
    return write_results(Evaluation.read(out, entries), truth.metric.headline, resamples=resamples)


def _with_what_was_known(cell: Cell, there: Cell | None) -> Cell:
    """A cell with what only the sweep that made the same scores could know: its timing, flags and confidences."""
    if there is None or json.loads(there.to_json())["metrics"] != json.loads(cell.to_json())["metrics"]:
        return cell
    diagnosis = {**there.diagnosis}
    for part, blocks in cell.diagnosis.items():
        known = diagnosis.get(part, {})
        diagnosis[part] = {k: known.get(k, block) if "undefined" in block else block for k, block in blocks.items()}
    return replace(cell, timing=there.timing, flags=there.flags, diagnosis=diagnosis)


def _evaluation(root: Path, data_sha256: str, metric: Metric) -> dict[str, Any]:
    """Protocol card of the evaluation that stored these predictions; empty if none is known."""
    if root.name != PREDICTIONS or not (root.parent / PROTOCOL).is_file():
        return {}
    card = read_card(root.parent)
    if card.get("data_sha256") != data_sha256 or (card.get("metric") or {}).get("scorer") != metric.card()["scorer"]:
        log.warning("%s: was evaluated on other ground truth, so what it says of its pixels is left out", root.parent)
        return {}
    return card


def _check_stated(root: Path, made: Mapping[str, Any], stated: Mapping[str, Any]) -> None:
    """Refuse options that contradict the card of the evaluation that stored the predictions."""
    for name, value in stated.items():
        if name != "labels" and value is not None and value != made.get(name):
            raise BadValue(
                f"{name} is {value!r} in the exported set, and {made.get(name)!r} in {root.parent / PROTOCOL}, "
                "the evaluation that kept these predictions; leave --exported out, or score what was predicted on it"
            )


def _images(truth: Truth, entries: Mapping[Condition, Path]) -> frozenset[ImageId] | None:
    """The images that the stored predictions cover, if only a part of them; None for all."""
    listed = {condition: truth.listed(entry) for condition, entry in entries.items()}
    fewer = [c for c, ids in listed.items() if ids is not None and len(ids) < len(truth.images)]
    if not fewer:
        return None
    ids = listed[fewer[0]] or frozenset()
    other = next((c for c in listed if listed[c] != ids), None)
    if other is not None:
        raise BadValue(
            f"{entries[fewer[0]]}: was made on {len(ids)} of the {len(truth.images)} images, {entries[other].name} on "
            "others; all conditions must be of the same images"
        )
    whole = len(truth.images)
    log.warning("predictions of %d of the %d images: a PREVIEW, not the score of the data set", len(ids), whole)
    return ids


def _condition(key: str, place: Path) -> Condition:
    try:
        condition = Condition.from_key(key)
    except BadValue as error:
        raise BadValue(f"{place}: not named after a condition ({error})") from error
    if condition != CLEAN and condition.corruption not in CORRUPTIONS:
        raise unknown_name(
            "corruption", condition.corruption, place=f"rtx.corruptions (from {place})", choices=CORRUPTIONS
        )
    return condition


def _digest(entries: Mapping[Condition, Path]) -> str:
    digest = hashlib.sha256()
    for condition, entry in entries.items():
        files = [entry] if entry.is_file() else sorted(p for p in entry.rglob("*") if p.is_file())
        for path in files:
            name = path.relative_to(entry.parent).as_posix()
            digest.update(f"{condition.key}|{name}|".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
