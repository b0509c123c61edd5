"""The demo's steps, each of which leaves a stamp, so that a second run keeps what is finished."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import rtx
from rtx.demo import plan as demo_plan
from rtx.demo import scenes, scenes_coco, scenes_looks, source_task
from rtx.demo.plan import MODES, DemoSettings, demo_config
from rtx.demo.screen import Report, Screen
from rtx.errors import RunConflict
from rtx.results.folder import INSIDE_RUN
from rtx.sources.catalog.rows import find
from rtx.sources.load import how_to_install

STAMP = "demo_step.txt"
BATCH = 8
STEPS = 3 + 2 * len(MODES)


@dataclass(frozen=True)
class Demo:
    """One demo in its folder.

    Attributes:
        out: the folder; everything in it is the demo's.
        plan: the amounts.
        seed: of scenes, weights, data order and corruptions.
    """

    out: Path
    plan: DemoSettings
    seed: int

    @property
    def data_root(self) -> Path:
        """The scenes in COCO layout."""
        return self.out / "data"

    @property
    def weights(self) -> Path:
        """Of the source classifier, where the demo trains one."""
        return self.out / "source" / "source_r18.pth"

    @property
    def source(self) -> str:
        """Real ImageNet weights where their package is installed, else the demo's own classifier."""
        return source_task.IMAGENET if source_task.has_imagenet() else f"resnet18:{self.weights.resolve()}"

    def claim(self, *, fresh: bool) -> None:
        """Make the folder; empty it where a demo with another seed, other amounts or other code filled it.

        Raises:
            RunConflict: the folder holds something that no demo wrote.
        """
        digest = hashlib.sha256()
        for module in (scenes, scenes_looks, scenes_coco, source_task, demo_plan):
            digest.update(Path(str(module.__file__)).read_bytes())
        made_by = {"rtx": rtx.__version__, "code": digest.hexdigest()[:16], "seed": self.seed, **asdict(self.plan)}
        made_by["source"] = self.source.partition(":")[0]
        text = json.dumps(made_by, indent=1) + "\n"
        mark = self.out / "demo.json"
        if self.out.exists() and (not self.out.is_dir() or (any(self.out.iterdir()) and not mark.is_file())):
            raise RunConflict(f"demo folder {str(self.out)!r} holds something else; give another --out, or empty it")
        if mark.is_file() and (fresh or mark.read_text(encoding="utf-8") != text):
            shutil.rmtree(self.out)
        self.out.mkdir(parents=True, exist_ok=True)
        mark.write_text(text, encoding="utf-8")

    def run(self, screen: Screen) -> dict[str, dict[str, Any]]:
        """All steps; transfer mode -> summary of its evaluation."""
        self._step(screen, "data", "scenes in COCO layout", "rendered", self._render)
        real = source_task.has_imagenet()
        title = "source: EfficientNet-Lite0 from ImageNet" if real else "source: ResNet-18 on single rendered objects"
        self._step(screen, "source", title, "steps", self._find_source if real else self._train_source)
        summaries = {}
        for mode in MODES:
            self._step(screen, mode, f"Mask R-CNN, {mode} transfer", "steps", partial(self._transfer, mode))
            summaries[mode] = self._evaluate(screen, mode)
        return summaries

    def _step(self, screen: Screen, folder: str, title: str, unit: str, work: Callable[[Report], str]) -> None:
        """Do a step, unless its stamp says that it is done; without a stamp, what lies there is half done."""
        stamp = self.out / folder / STAMP
        if stamp.is_file():
            screen.skip(title, f"{stamp.read_text(encoding='utf-8')}, kept from an earlier run")
            return
        shutil.rmtree(stamp.parent, ignore_errors=True)
        stamp.parent.mkdir(parents=True)
        with screen.step(title, unit) as (report, result):
            result.append(work(report))
        stamp.write_text(result[-1], encoding="utf-8")

    def _render(self, report: Report) -> str:
        counts = {"train": self.plan.train_scenes, "val": self.plan.val_scenes}
        scenes_coco.write_scenes(self.data_root, counts, seed=self.seed, progress=report)
        return f"{counts['train']} to train on, {counts['val']} to evaluate on"

    def _find_source(self, report: Report) -> str:
        from rtx.sources.load import load_source

        loaded = load_source(source_task.IMAGENET, source_task.ARCH)
        return f"{len(loaded.state_dict)} tensors of its installed package, sha256 {loaded.sha256[:12]}"

    def _train_source(self, report: Report) -> str:
        accuracy = source_task.train_source(
            self.weights, seed=self.seed, crops=self.plan.crops, epochs=self.plan.epochs, progress=report
        )
        chance = 1 / len(scenes.SOURCE_CLASSES)
        return (
            f"names {100 * accuracy:.0f} % of held-out objects right (chance {100 * chance:.0f} %); "
            f"no ImageNet weights: {how_to_install(find(source_task.IMAGENET))}"
        )

    def _config(self, mode: str) -> Any:
        work_dir = self.out / mode
        return demo_config(
            self.plan, mode, source=self.source, data_root=self.data_root, work_dir=work_dir, seed=self.seed
        )

    def _transfer(self, mode: str, report: Report) -> str:
        from mmengine.hooks import Hook

        from rtx.training import train

        class ReportSteps(Hook):
            def after_train_iter(
                self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
            ) -> None:
                report(runner.iter + 1, runner.max_iters)

        runner = train(self._config(mode), hooks=[ReportSteps()])
        backbone = list(runner.model.backbone.parameters())
        training = sum(p.numel() for p in backbone if p.requires_grad) / sum(p.numel() for p in backbone)
        return f"{self.plan.iterations} steps, {100 * training:.0f} % of the backbone trained"

    def checkpoint(self, mode: str) -> Path:
        """The trained detector's weights."""
        return self.out / mode / f"iter_{self.plan.iterations}.pth"

    def _evaluate(self, screen: Screen, mode: str) -> dict[str, Any]:
        from rtx.evaluation.evaluate import evaluate
        from rtx.evaluation.models.load import load_model

        with screen.step(f"evaluation, {mode} transfer", "cells") as (report, result):
            cfg = self._config(mode)
            fresh = 0

            def on_cell(cell: Any, done: int, todo: int) -> None:
                nonlocal fresh
                fresh = done
                report(done, todo)

            summary = evaluate(
                load_model(cfg, self.checkpoint(mode)),
                cfg,
                self.out / mode / INSIDE_RUN,
                corruptions=self.plan.corruptions,
                severities=self.plan.severities,
                seed=self.seed,
                batch_size=BATCH,
                workers=1,
                keep_predictions=True,
                checkpoint=self.checkpoint(mode),
                labels={"run": mode, "config": demo_plan.LEAF, "data": "rendered scenes", "schedule": "demo"},
                overwrite=None,  # the folder is the demo's own: cells of another engine or scorer (an update) make room
                on_cell=on_cell,
            )
            cells = len(summary["cells"])
            kept = f", {cells - fresh} kept from an earlier run" if fresh < cells else ""
            result.append(f"{cells} cells of {summary['n_images']} scenes{kept}")
        return summary

    def report(self, screen: Screen) -> Path:
        """The report over all transfers; the path of its page."""
        from rtx.reports.build import build
        from rtx.reports.runs.runs import load_runs

        with screen.step("report", "figures") as (_, result):
            runs = load_runs([self.out / mode / INSIDE_RUN for mode in MODES], names=MODES)
            made = build(runs, self.out / "report", title="The demo: two transfers of one source")
            result.append(f"{len(made.summary['files'])} files")
        return made.page
