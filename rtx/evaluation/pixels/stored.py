"""Classifiers on corrupted images that lie on disk, `ROOT/<corruption>/<severity>/<class>/*.JPEG`, as ImageNet-C does.

The pixels are the files' own; nothing is corrupted here. Else this is the usual sweep: one cell file for each
condition, resumed and shared between processes in the same way, with the same intervals.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import TRANSFORMS

from rtx.datasets.openmmlab.class_folders import ClassFolders
from rtx.errors import BadValue, DataError
from rtx.evaluation.pixels.corrupt import Corrupt, find_steps
from rtx.evaluation.pixels.made import view_steps
from rtx.evaluation.pixels.random_steps import step_name
from rtx.evaluation.pixels.stored_files import StoredSet, check_files, check_stamps, find_image
from rtx.evaluation.protocol import Protocol
from rtx.evaluation.sweep.forward import Job
from rtx.files import write_atomic
from rtx.metrics.imagenet_c import errors
from rtx.results.evaluation import sound_cells
from rtx.results.folder import IMAGENET_C, CellFolder
from rtx.types import CLEAN, Condition

STORED = ("as_is", "resize")
"""How a stored image is prepared: cropped from the middle only, as ImageNet-C is used, or treated as a clean one."""


@TRANSFORMS.register_module()
class LoadStored(Corrupt):
    """Loads the file of the present condition instead of corrupting one.

    Args:
        data_prefix: condition key -> folder of its class folders.
        data_root: where the listed images lie.
        clean: steps for a clean image, the loader first.
        stored: steps for a stored one.
    """

    def __init__(
        self,
        data_prefix: Mapping[str, str],
        data_root: str,
        clean: Sequence[Any],
        stored: Sequence[Any],
    ) -> None:
        super().__init__()
        self.folders, self.base = {key: Path(folder) for key, folder in data_prefix.items()}, Path(data_root)
        self.clean, self.stored = Compose(list(clean)), Compose(list(stored))
        crops = [step["crop_size"] if isinstance(step, dict) else step.crop_size for step in stored if _crops(step)]
        sides = [max(crop) if isinstance(crop, list | tuple) else int(crop) for crop in crops]
        self.least = max(sides, default=0) if not any(_name(step).startswith("Resize") for step in stored) else 0

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


def _name(step: Any) -> str:
    return step_name(step) if isinstance(step, dict) else type(step).__name__


def _crops(step: Any) -> bool:
    return _name(step) == "CenterCrop" and (not isinstance(step, dict) or step.get("crop_size") is not None)


@dataclass(frozen=True)
class Stored:
    """The pixels of class folders on disk, for classifiers; what `rtx.evaluation.pixels.made.Made` does for others.

    Attributes:
        files: which folders, see `rtx.evaluation.pixels.stored_files.find_stored`.
        images: one of `STORED`.

    Raises:
        BadValue: `images` is none of them.
    """

    files: StoredSet
    images: str = "as_is"

    def __post_init__(self) -> None:
        """Refuse another treatment of the images."""
        if self.images not in STORED:
            raise BadValue(f"stored images {self.images!r}: must be {' or '.join(STORED)}")

    def conditions(self, protocol: Protocol) -> tuple[Condition, ...]:
        """Those of the wanted cells whose folder is there."""
        return self.files.wanted(protocol.corruptions, protocol.severities)

    def config(self, cfg: Config) -> Config:
        """The config with its test set over the base folder, whose first step is `LoadStored`.

        Raises:
            BadValue: it is no classifier's, or its test pipeline has no image loader or does not pack.
        """
        self._check_scope(cfg.get("default_scope"))
        pipeline = list(cfg.test_dataloader.dataset.get("pipeline") or [])
        loader, end = find_steps(pipeline)
        clean = pipeline[loader:end]
        kept = (
            clean if self.images == "resize" else [step for step in clean if not step_name(step).startswith("Resize")]
        )
        step = dict(type=LoadStored.__name__, **self._places(), clean=clean, stored=kept)
        out = copy.deepcopy(cfg)
        out.test_dataloader.dataset = dict(
            type=ClassFolders.__name__,
            data_root=str(self.files.base),
            metainfo=dict(classes=list(self.files.classes)),
            pipeline=[step, *pipeline[end:]],
        )
        return out

    def _places(self) -> dict[str, Any]:
        folders = {condition.key: str(folder) for condition, folder in self.files.folders.items()}
        return dict(data_prefix=folders, data_root=str(self.files.base))

    def _check_scope(self, scope: str | None) -> None:
        if scope != "mmpretrain":
            raise BadValue(f"default_scope {scope!r}: stored class folders are for classifiers (mmpretrain)")

    def dataset(self, cfg: Config, protocol: Protocol) -> Any:
        """That test set."""
        return cfg.test_dataloader.dataset

    def pipeline(self, load: Any, preparation: Sequence[Any], scope: str, protocol: Protocol) -> list[Any]:
        """The steps of an adapter: `LoadStored` does them all.

        Raises:
            BadValue: it is no classifier.
        """
        self._check_scope(scope)
        clean = [load, *view_steps(protocol), *preparation]
        kept = clean if self.images == "resize" else [step for step in clean if not _name(step).startswith("Resize")]
        return [LoadStored(**self._places(), clean=clean, stored=kept)]

    def card(self, scope: str, protocol: Protocol) -> dict[str, Any]:
        """Fields of the protocol card: the files do not say how their pixels came about."""
        unstated = dict.fromkeys(("corruption_engine_version", "corruption_seed", "channel_order"), "unstated")
        return {**unstated, "corruption_engine": "stored_files", "corruption_at": f"stored_files_{self.images}"}

    def check(self, job: Job, *, overwrite: bool) -> Job:
        """Check that every condition holds the images of the base, and that those of finished cells are what they were.

        Returns:
            The job, which before each cell checks that its images are still those.

        Raises:
            DataError: a condition lacks images of another one.
            RunConflict: the folder belongs to another protocol, or files of a finished cell have changed.
        """
        folder = CellFolder(job.out, job.card, overwrite=overwrite)
        cells = {} if overwrite else sound_cells(folder, job.conditions, aside=False)
        files = replace(self.files, classes=job.dataset.metainfo["classes"])
        stamps = check_files(files, job.conditions, job.out, cells)

        def unchanged(cell: str) -> None:
            check_stamps(files, stamps, cell)
            if job.unchanged:
                job.unchanged(cell)

        return replace(job, unchanged=unchanged)

    def finish(self, summary: Mapping[str, Any], out: Path) -> dict[str, Any]:
        """Write ImageNet-C's errors into `imagenet_c.json`."""
        scores = {Condition.from_key(key): row["metrics"]["accuracy_top1"] for key, row in summary["cells"].items()}
        found = errors(scores).to_dict()
        write_atomic(out / IMAGENET_C, json.dumps({"preview": summary["preview"], **found}, indent=1) + "\n")
        return {"imagenet_c": found}
