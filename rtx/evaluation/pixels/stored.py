"""Classifiers on corrupted images that lie on disk, `ROOT/<corruption>/<severity>/<class>/*.JPEG`, as ImageNet-C does.

The pixels are the files' own; nothing is corrupted here. Else this is the usual sweep: one cell file for each
condition, resumed and shared between processes in the same way, with the same intervals.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope
from torch import nn

from rtx.datasets.openmmlab.class_folders import ClassFolders
from rtx.errors import BadValue, DataError
from rtx.evaluation.card import choose, protocol_card
from rtx.evaluation.finish import complete
from rtx.evaluation.models.adapter_config import config_for
from rtx.evaluation.models.adapters import Adapter
from rtx.evaluation.pixels.corrupt import Corrupt, find_steps
from rtx.evaluation.pixels.stored_files import StoredSet, check_files, find_image
from rtx.evaluation.scorers.build import build_scorer
from rtx.evaluation.sweep.batches import loaders
from rtx.evaluation.sweep.events import OnEvent
from rtx.evaluation.sweep.share import Share, default_share
from rtx.evaluation.sweep.sweep import Job, OnCell, run
from rtx.files import write_atomic
from rtx.metrics.imagenet_c import errors
from rtx.results.cell import Cell, CellFolder
from rtx.results.intervals import RESAMPLES
from rtx.results.repair import sound_cells
from rtx.types import CLEAN, SEVERITIES, Condition

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


def evaluate_stored(
    model: nn.Module,
    stored: StoredSet,
    out: Path,
    *,
    cfg: Config | None = None,
    corruptions: Sequence[str] = ("benchmark",),
    severities: Sequence[int] = SEVERITIES,
    images: str = "as_is",
    overwrite: bool = False,
    share: Share | None = None,
    on_cell: OnCell | None = None,
    on_event: OnEvent | None = None,
    resamples: int = RESAMPLES,
    **options: Any,
) -> dict[str, Any]:
    """Score a classifier on stored corrupted images.

    Args:
        model: a classifier of OpenMMLab, or an adapter (`rtx.evaluation.models.adapters.Classifier`).
        stored: see `find_stored`.
        out: the output folder.
        cfg: the classifier's config; an adapter needs none.
        corruptions: names and groups; those that are not there are left out, and the result says so.
        severities: 1 to 5.
        images: one of `STORED`.
        overwrite: evaluate again what `out` holds.
        share: how ranks share the cells.
        on_cell: called after each cell with (cell, number done here, number to do in all).
        on_event: called with what happens, see `rtx.evaluation.sweep.events`.
        resamples: resamplings of the images for the intervals of the accuracy; 0 for none.
        options: limit, seed, batch_size, workers, amp, keep_predictions, checkpoint and labels, as in
            `rtx.evaluation.evaluate.plan_evaluation`.

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
    conditions = stored.wanted(corruptions, severities)
    init_default_scope(cfg.get("default_scope", "mmpretrain"))
    if cfg.get("default_scope") != "mmpretrain":
        raise BadValue(
            f"default_scope {cfg.get('default_scope')!r}: stored class folders are for classifiers (mmpretrain)"
        )
    job = _job(cfg, model, stored, out, images, **options)
    folder = CellFolder(out, job.card, overwrite=overwrite)
    check_files(stored, conditions, out, {} if overwrite else sound_cells(folder, conditions, aside=False))
    share = share or default_share()
    summary: dict[str, Any] = {}

    def finish(cells: dict[Condition, Cell]) -> None:
        summary.update(complete(job, conditions, cells, rank=share.rank, resamples=resamples))
        scores = {Condition.from_key(key): row["metrics"]["accuracy_top1"] for key, row in summary["cells"].items()}
        found = errors(scores).to_dict()
        write_atomic(out / ERRORS, json.dumps({"preview": summary["preview"], **found}, indent=1) + "\n")
        summary["imagenet_c"] = found

    run(job, conditions, overwrite=overwrite, share=share, complete=finish, on_cell=on_cell, on_event=on_event)
    return summary


def _job(
    cfg: Config,
    model: nn.Module,
    stored: StoredSet,
    out: Path,
    images: str,
    *,
    limit: int | None = None,
    seed: int = 0,
    amp: bool = False,
    checkpoint: Path | None = None,
    labels: dict[str, Any] | None = None,
    workers: int | None = None,
    **running: Any,
) -> Job:
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
    card |= {name: "unstated" for name in ("corruption_engine_version", "corruption_seed", "channel_order")}
    card |= {"corruption_engine": "stored_files", "corruption_at": f"stored_files_{images}"}
    return Job(model, dataset, scorer, card, out, indices, amp=amp, workers=loaders(workers, model), **running)


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
