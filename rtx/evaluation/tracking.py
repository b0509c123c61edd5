"""Scores where people look: TensorBoard, MLflow or Weights & Biases, through mmengine's visualiser back ends.

A tracker is a convenience beside the files: one that fails says so once and is silent from then on; the run goes on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.visualization.vis_backend import BaseVisBackend

from rtx.errors import printable, unknown_name
from rtx.evaluation.sweep.events import CellDone, Event

log = logging.getLogger(__name__)

TRACKERS = {"tensorboard": "TensorboardVisBackend", "mlflow": "MLflowVisBackend", "wandb": "WandbVisBackend"}


def backend(name: str, folder: Path, run: str) -> dict[str, Any]:
    """The config of a back end, which cannot end a run.

    Args:
        name: a key of `TRACKERS`.
        folder: where it keeps its files.
        run: the name that people see.

    Raises:
        UnknownName: there is no such tracker.
    """
    if name not in TRACKERS:
        raise unknown_name("tracker", name, place="rtx.evaluation.tracking.TRACKERS", choices=TRACKERS)
    options: dict[str, dict[str, Any]] = {
        "tensorboard": {},
        "mlflow": dict(exp_name="rtx", run_name=run, **_mlflow_store(folder)),
        "wandb": dict(init_kwargs=dict(project="rtx", name=run)),
    }
    more = options[name]
    return dict(type="NeverFails", save_dir=str(folder), inner=dict(type=TRACKERS[name], save_dir=str(folder), **more))


def _mlflow_store(folder: Path) -> dict[str, Any]:
    """Where MLflow keeps things: what its own variable names, else a database in the folder, without copies of files.

    mmengine would have plain files written, which MLflow 3 refuses, and not look at the variable.
    """
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return {"tracking_uri": uri}
    place = folder.resolve()
    artifacts = (place / "artifacts").as_uri()
    return {"tracking_uri": f"sqlite:///{place}/mlflow.db", "artifact_location": artifacts, "artifact_suffix": ()}


@VISBACKENDS.register_module()
class NeverFails(BaseVisBackend):
    """A back end around another one, whose errors become one warning.

    Args:
        save_dir: where files go.
        inner: config of the other one.
    """

    def __init__(self, save_dir: str, inner: dict[str, Any]) -> None:
        self.inner: Any = None
        self.name = inner["type"]
        self.dead = False
        super().__init__(save_dir)
        self._try("start", lambda: setattr(self, "inner", VISBACKENDS.build(inner)))

    def _init_env(self) -> None:
        """Nothing: the other one opens its files when it gets its first value."""

    def _try(self, what: str, action: Any) -> None:
        if self.dead:
            return
        try:
            action()
        except (Exception, SystemExit) as error:
            self.dead = True
            words = printable(str(error).splitlines()[0] if str(error) else "")
            log.warning(
                "tracker %s: cannot %s (%s: %s); the run goes on without it",
                self.name,
                what,
                type(error).__name__,
                words,
            )

    @property
    def experiment(self) -> Any:
        """What the library offers; None after a failure."""
        return None if self.dead else self.inner.experiment

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Settings of the run."""
        self._try("take the config", lambda: self.inner.add_config(config, **kwargs))

    def add_graph(self, model: Any, data_batch: Any, **kwargs: Any) -> None:
        """Structure of a model."""
        self._try("take the graph", lambda: self.inner.add_graph(model, data_batch, **kwargs))

    def add_image(self, name: str, image: Any, step: int = 0, **kwargs: Any) -> None:
        """One image."""
        self._try("take an image", lambda: self.inner.add_image(name, image, step, **kwargs))

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """One number."""
        self._try("take a number", lambda: self.inner.add_scalar(name, value, step, **kwargs))

    def add_scalars(
        self, scalar_dict: dict[str, Any], step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Several numbers of one step."""
        self._try("take numbers", lambda: self.inner.add_scalars(scalar_dict, step, file_path, **kwargs))

    def close(self) -> None:
        """The end."""
        self._try("close", lambda: self.inner.close())


class Tracker:
    """Trackers of one evaluation or run; a context manager.

    Args:
        names: keys of `TRACKERS`.
        folder: of the results; trackers that keep files get `tracking/` in it.
        run: the name that people see.
    """

    def __init__(self, names: Sequence[str], folder: Path, run: str) -> None:
        self.folder = folder
        self.backends = [VISBACKENDS.build(backend(name, folder / "tracking", run)) for name in names]

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *ended: object) -> None:
        for one in self.backends:
            one.close()

    def identity(self, values: Mapping[str, Any]) -> None:
        """What the run is: protocol, labels, hashes."""
        for one in self.backends:
            one.add_config(Config({**values, "work_dir": str(self.folder)}))  # MLflow's back end reads it at the end

    def scalars(self, values: Mapping[str, Any], step: int = 0) -> None:
        """The values that are numbers."""
        numbers = {k: float(v) for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        for one in self.backends:
            one.add_scalars(numbers, step=step)

    def __call__(self, event: Event) -> None:
        """Take the scores of a cell: every metric as `<corruption>/<metric>`, its severity as the step."""
        if isinstance(event, CellDone):
            if event.done == 1:
                self.identity(event.cell.protocol)
            where = event.cell.condition
            self.scalars({f"{where.corruption}/{k}": v for k, v in event.cell.metrics.items()}, round(where.severity))

    def summary(self, summary: Mapping[str, Any]) -> None:
        """P, and mPC, rPC and mCE where the grid is whole: a mean over less would pass for them in another tool."""
        names = ("P", "mPC", "rPC") if summary["complete"] else ("P",)
        stored = summary.get("imagenet_c") or {}
        self.scalars(
            {**{name: summary[name] for name in names}, "mCE": stored.get("mCE") if stored.get("complete") else None}
        )


def with_trackers(cfg: Config, names: Sequence[str], run: str) -> Config:
    """A training config whose visualiser reports to trackers too; its TensorBoard is taken over, not doubled."""
    visualizer = cfg.setdefault("visualizer", Config(dict(type="Visualizer", name="visualizer")))
    # mmengine knows back ends by their type if they have no name, and takes one of each.
    new = [{**backend(name, Path(cfg.work_dir) / "tracking", run), "name": name} for name in names]
    kinds = {one["inner"]["type"] for one in new}
    kept = [b for b in visualizer.get("vis_backends") or [dict(type="LocalVisBackend")] if b["type"] not in kinds]
    visualizer.vis_backends = [*kept, *new]
    return cfg
