"""Classifiers on corrupted images that lie on disk, `ROOT/<corruption>/<severity>/<class>/*.JPEG`, as ImageNet-C does.

The pixels are the files' own; nothing is corrupted here. Else this is the usual sweep: one cell file for each
condition, resumed and shared between processes in the same way, with the same intervals.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope
from torch import nn

from rtx.corruptions import CORRUPTIONS, expand
from rtx.errors import BadValue, DataError, RunConflict
from rtx.evaluation.adapted import config_for
from rtx.evaluation.adapters import Adapter
from rtx.evaluation.card import choose, protocol_card
from rtx.evaluation.class_listing import SUFFIXES, class_folders, labelled_images
from rtx.evaluation.mce import errors
from rtx.evaluation.runs import read_run
from rtx.evaluation.scorers import build_scorer
from rtx.evaluation.scores import Cell, CellFolder, write_atomic
from rtx.evaluation.share import Share, default_share
from rtx.evaluation.summary import write_summary
from rtx.evaluation.sweep import Job, run
from rtx.targets.class_folders import ClassFolders
from rtx.targets.corrupt import Corrupt, find_steps
from rtx.types import CLEAN, SEVERITIES, Condition

log = logging.getLogger(__name__)

FILES = "files.json"
ERRORS = "imagenet_c.json"
STORED = ("as_is", "resize")
"""What becomes of a stored image: cropped from the middle only, as ImageNet-C is used, or treated as a clean one."""


@TRANSFORMS.register_module()
class LoadStored(Corrupt):
    """Loads the file of the present condition instead of corrupting one.

    Args:
        folders: condition key -> folder of its class folders.
        base: where the listed images lie.
        clean: steps for a clean image, the loader first.
        stored: steps for a stored one.
    """

    def __init__(
        self, folders: Mapping[str, str], base: str, clean: Sequence[dict[str, Any]], stored: Sequence[dict[str, Any]]
    ) -> None:
        super().__init__()
        self.folders, self.base = {key: Path(folder) for key, folder in folders.items()}, Path(base)
        self.clean, self.stored = Compose(list(clean)), Compose(list(stored))
        crops = [step.get("crop_size") for step in stored if _bare(step) == "CenterCrop"]
        sides = [max(crop) if isinstance(crop, list | tuple) else int(crop) for crop in crops if crop is not None]
        self.least = max(sides, default=0) if not any(_bare(step).startswith("Resize") for step in stored) else 0

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load and prepare the image.

        Raises:
            DataError: this condition has no such image.
            BadValue: a stored image is smaller than what the network takes.
        """
        relative = Path(results["img_path"]).relative_to(self.base)
        path = find_image(self.folders[self.condition.key], relative)
        if path is None:
            raise DataError(
                f"{self.folders[self.condition.key] / relative}: this image of {self.base} is missing under "
                f"{self.condition.key}; complete the folder"
            )
        steps = self.clean if self.condition == CLEAN else self.stored
        out: dict[str, Any] | None = steps({**results, "img_path": str(path)})
        assert out is not None
        if self.condition != CLEAN and self.least and min(out["ori_shape"][:2]) < self.least:
            raise BadValue(
                f"image {str(path)!r} is {out['ori_shape'][1]} x {out['ori_shape'][0]} pixels, the network takes "
                f"{self.least}; --stored resize treats stored images as clean ones"
            )
        # The name of the listed image, so that every condition scores the same ones.
        out["img_path"] = results["img_path"]
        return out


@dataclass(frozen=True)
class StoredSet:
    """Corrupted images on disk.

    Attributes:
        folders: condition -> folder of its class folders, in canonical order; clean first where it is there.
        base: the folder whose images the others must hold too.
        classes: folder names in the model's order.
    """

    folders: dict[Condition, Path]
    base: Path
    classes: tuple[str, ...]


def find_stored(root: Path, clean: Path | None = None, classes: Sequence[str] | None = None) -> StoredSet:
    """Look which conditions a folder holds.

    Args:
        root: holds `<corruption>/<severity>`, or folders that do (ImageNet-C's `noise`, `blur` ...).
        clean: class folders of the clean images.
        classes: folder names in the model's order; sorted when None, as for ImageNet's.

    Raises:
        DataError: there is no such folder or condition.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; it must hold <corruption>/<severity>/<class>/<image>")
    found: dict[Condition, Path] = {}
    for name in CORRUPTIONS:
        places = [p for p in (root / name, *sorted(root.glob(f"*/{name}"))) if p.is_dir()]
        if len(places) > 1:
            raise DataError(f"{root}: {name} is there twice, {places[0]} and {places[1]}; leave one of them")
        for level in SEVERITIES:
            if places and (places[0] / str(level)).is_dir():
                found[Condition(name, level)] = places[0] / str(level)
    if not found:
        raise DataError(
            f"{root}: holds no <corruption>/<severity> folder; corruptions are named {', '.join(CORRUPTIONS)}"
        )
    base = next(iter(found.values()))
    folders = {CLEAN: clean, **found} if clean is not None else found
    if clean is not None and not clean.is_dir():
        raise DataError(f"{clean}: no such folder; give the class folders of the clean images")
    return StoredSet(folders, base, tuple(classes) if classes else class_folders(base))


def find_image(folder: Path, relative: Path) -> Path | None:
    """The image of that class and name, whatever its suffix."""
    path = folder / relative
    if path.is_file():
        return path
    others = (path.with_suffix(suffix) for end in SUFFIXES for suffix in (end, end.upper()))
    return next((other for other in others if other.is_file()), None)


def files_sha256(folder: Path) -> tuple[str, set[str]]:
    """Sha256 over names and sizes of all files of a condition, and the names without suffix."""
    digest, names = hashlib.sha256(), set()
    for where, inner, files in os.walk(folder, followlinks=True):
        inner.sort()
        for name in sorted(files):
            path = Path(where, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                relative = path.relative_to(folder)
                digest.update(f"{relative.as_posix()}|{path.stat().st_size}\n".encode())
                names.add(relative.with_suffix("").as_posix())
    return digest.hexdigest(), names


def evaluate_stored(
    model: nn.Module,
    stored: StoredSet,
    out: Path,
    *,
    cfg: Config | None = None,
    corruptions: Sequence[str] = ("benchmark",),
    severities: Sequence[int] = SEVERITIES,
    images: str = "as_is",
    limit: int | None = None,
    seed: int = 0,
    batch_size: int = 1,
    workers: int = 2,
    amp: bool = False,
    keep_predictions: bool = False,
    checkpoint: Path | None = None,
    labels: dict[str, Any] | None = None,
    overwrite: bool = False,
    share: Share | None = None,
    **watching: Any,
) -> dict[str, Any]:
    """Score a classifier on stored corrupted images.

    Args:
        model: a classifier of OpenMMLab, or an adapter (`rtx.evaluation.adapters.Classifier`).
        stored: see `find_stored`.
        out: the output folder.
        cfg: the classifier's config; an adapter needs none.
        corruptions: names and groups; those that are not there are left out, and the result says so.
        severities: 1 to 5.
        images: one of `STORED`.
        limit: a seeded subset of so many images, labelled PREVIEW.
        seed: of that subset.
        batch_size: images a forward pass.
        workers: loader processes.
        amp: autocast the forward pass.
        keep_predictions: write each cell's predictions too.
        checkpoint: the file the weights came from, for the card.
        labels: names shown in tables.
        overwrite: evaluate again what `out` holds.
        share: how ranks share the cells.
        watching: `on_cell` and `on_event` of `rtx.evaluation.sweep.run`.

    Returns:
        The summary, with ImageNet-C's errors under `imagenet_c`.

    Raises:
        DataError: a condition lacks images of another one, or a file cannot be read.
        BadValue: the config is no classifier's, or the classes are not those of the folders.
        RunConflict: `out` belongs to another protocol, or files of a finished cell have changed.
    """
    if images not in STORED:
        raise BadValue(f"stored images {images!r}: must be {' or '.join(STORED)}")
    if cfg is None:
        if not isinstance(model, Adapter):
            raise BadValue("a model that is no adapter needs its config")
        cfg = config_for(model, stored.base)
        stored = StoredSet(stored.folders, stored.base, model.classes)
    wanted = {Condition(name, level) for name in expand(corruptions) for level in severities} | {CLEAN}
    conditions = [c for c in stored.folders if c in wanted]
    if not conditions:
        raise DataError(f"{stored.base}: none of the wanted conditions is there; see --corruptions and --severities")
    job = _job(
        cfg, model, stored, out, images, limit, seed, amp, checkpoint, labels, batch_size, workers, keep_predictions
    )
    folder = CellFolder(out, job.card, overwrite=overwrite)
    _check_files(stored, conditions, out, {} if overwrite else folder.read(conditions))
    cells = run(job, conditions, overwrite=overwrite, share=share or default_share(), **watching)
    card, _ = read_run(out)
    summary = write_summary(out, cells, job.scorer.headline, card)
    found = errors({condition: cell.metrics["accuracy_top1"] for condition, cell in cells.items()}).to_dict()
    write_atomic(out / ERRORS, json.dumps({"preview": summary["preview"], **found}, indent=1) + "\n")
    return {**summary, "imagenet_c": found}


def _job(
    cfg: Config,
    model: nn.Module,
    stored: StoredSet,
    out: Path,
    images: str,
    limit: int | None,
    seed: int,
    amp: bool,
    checkpoint: Path | None,
    labels: dict[str, Any] | None,
    batch_size: int,
    workers: int,
    keep: bool,
) -> Job:
    init_default_scope(cfg.get("default_scope", "mmpretrain"))
    if cfg.get("default_scope") != "mmpretrain":
        raise BadValue(
            f"default_scope {cfg.get('default_scope')!r}: stored class folders are for classifiers (mmpretrain)"
        )
    own = copy.deepcopy(cfg)
    own.test_dataloader.dataset = stored_dataset(cfg, stored, images)
    dataset = DATASETS.build(own.test_dataloader.dataset)
    dataset.full_init()
    # The pixels of the cells are told apart by their conditions; the card holds what they share.
    for key in ("folders", "base"):
        own.test_dataloader.dataset.pipeline[0].pop(key)
    scorer = build_scorer(cfg.test_evaluator, dataset)
    indices = choose(dataset, limit, seed)
    card = protocol_card(
        own,
        model,
        dataset,
        indices,
        scorer.card(),
        seed=seed,
        limit=limit,
        amp=amp,
        checkpoint=checkpoint,
        labels=labels,
    )
    card |= {
        "corruption_engine": "stored_files",
        "corruption_engine_version": "unstated",
        "corruption_seed": "unstated",
    }
    card |= {"channel_order": "unstated", "corruption_at": f"stored_files_{images}"}
    return Job(
        model,
        dataset,
        scorer,
        card,
        out,
        indices,
        batch_size=batch_size,
        workers=workers,
        amp=amp,
        keep_predictions=keep,
    )


def stored_dataset(cfg: Config, stored: StoredSet, images: str) -> dict[str, Any]:
    """The data set config over the base folder, whose first step is `LoadStored`.

    Raises:
        BadValue: the config's test pipeline has no image loader or does not pack.
    """
    pipeline = list(cfg.test_dataloader.dataset.get("pipeline") or [])
    loader, end = find_steps(pipeline)
    clean, rest = pipeline[loader:end], pipeline[end:]
    kept = clean if images == "resize" else [step for step in clean if not _bare(step).startswith("Resize")]
    step = dict(
        type="LoadStored",
        folders={c.key: str(folder) for c, folder in stored.folders.items()},
        base=str(stored.base),
        clean=clean,
        stored=kept,
    )
    meta = dict(classes=list(stored.classes))
    return dict(type=ClassFolders.__name__, data_root=str(stored.base), metainfo=meta, pipeline=[step, *rest])


def _bare(step: Mapping[str, Any]) -> str:
    kind = step.get("type", "")
    name = kind if isinstance(kind, str) else kind.__name__
    return name.replace("/", ".").rpartition(".")[2]


def _check_files(
    stored: StoredSet, conditions: Sequence[Condition], out: Path, cells: Mapping[Condition, Cell]
) -> None:
    """Every condition must hold the images of the base, and those of finished cells must be what they were."""
    listed = labelled_images(stored.base, stored.classes)
    wanted = {path.relative_to(stored.base).with_suffix("").as_posix() for path, _ in listed}
    path = out / FILES
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for condition in conditions:
        sha256, names = files_sha256(stored.folders[condition])
        absent = sorted(wanted - names)
        if absent:
            raise DataError(
                f"{stored.folders[condition]}: lacks {len(absent)} of the {len(wanted)} images of {stored.base}, the "
                f"first is {absent[0]!r}; complete the folder"
            )
        if condition in cells and known.get(condition.key, sha256) != sha256:
            raise RunConflict(
                f"{stored.folders[condition]}: files have changed since {condition.key} was evaluated; --overwrite "
                "evaluates everything again"
            )
        known[condition.key] = sha256
    write_atomic(path, json.dumps(known, indent=1, sort_keys=True) + "\n")
