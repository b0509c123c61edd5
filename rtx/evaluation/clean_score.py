"""The score on clean images that training ends with, as a cell of the run's own evaluation folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner, ValLoop
from torch import nn

from rtx.errors import BadValue
from rtx.evaluation.card import plain, weights_sha256
from rtx.evaluation.evaluate import belongs_to_another, evaluate, prepare, tested_set
from rtx.evaluation.hook import check_trained_on, tested_model
from rtx.evaluation.models.load import training_meta
from rtx.evaluation.pixels.corrupt import insert_corrupt, usual_place
from rtx.evaluation.protocol import Protocol
from rtx.evaluation.scorers.build import build_scorer
from rtx.evaluation.sweep.batches import shape_groups
from rtx.evaluation.sweep.forward import Job, padding_divisor, timing_of
from rtx.evaluation.sweep.scoring import ScoredCell, complete, score
from rtx.evaluation.sweep.sweep import run
from rtx.results.folder import INSIDE_RUN, last_checkpoint, run_config, stored_conditions
from rtx.results.summary import with_interval
from rtx.transfer.guard import bare
from rtx.types import CLEAN, Condition

log = logging.getLogger(__name__)

CLEAN_ONLY: dict[str, Any] = dict(corruptions=(), severities=(0,))


def clean_score_hook(cfg: Config) -> CleanScoreHook | None:
    """The hook for a config; None, with a line of log that says why, where its test set cannot be scored."""
    if not cfg.get("test_dataloader") or not cfg.get("test_evaluator"):
        reason = "the config has no test_dataloader or no test_evaluator"
    elif any(h.get("type") == "CorruptionEvalHook" and not h.get("interval") for h in cfg.get("custom_hooks") or []):
        return None  # it ends in the same folder, with the clean cell among others
    else:
        try:
            return CleanScoreHook(cfg)
        except Exception as error:  # data sets and evaluators of the config's own may raise anything
            reason = f"{type(error).__name__}: {error}"
    log.warning("training ends without a clean score: %s", reason)
    return None


class CleanScoreHook(Hook):
    """Scores the weights that training ends with, into `<work_dir>/corruption_eval/`.

    The cell is the one that `rtx corrupt_eval <work_dir>` would write, which finds it there. Where the last validation
    puts the same images through the same weights in the same way, its predictions are scored; else the test set is
    evaluated after training.

    Args:
        cfg: the expanded config.

    Raises:
        BadValue, UnknownName: a test set or evaluator that rtx cannot score.
    """

    # After checkpoints are saved, so that a failure here cannot cost the weights.
    priority = "LOWEST"

    def __init__(self, cfg: Config) -> None:
        place = usual_place(cfg.get("default_scope", "mmdet"))
        # What the evaluation itself will build, so that what it refuses shows before training.
        dataset = tested_set(cfg, insert_corrupt(cfg.test_dataloader.dataset, dict(type="Corrupt"), place))
        self.scorer = build_scorer(cfg.test_evaluator, dataset)
        self.dataset = dataset
        self._same_data = validates_on_test_set(cfg)
        self._seen = ""  # hash of the weights whose validation was taken
        self._started = self._seconds = 0.0

    def before_train(self, runner: Runner) -> None:
        """Refuse a training whose score would be of other classes; see `rtx.evaluation.hook.check_trained_on`."""
        check_trained_on(runner, self.dataset)

    def before_val(self, runner: Runner) -> None:
        """Begin to score where this is the validation of the final weights."""
        self._seen = ""
        if self._same_data and runner.iter >= runner.max_iters and _predicts_alike(runner, self.dataset):
            self.scorer.reset()
            self._seen = weights_sha256(bare(runner.model))
            self._started = time.perf_counter()

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Take the predictions of a batch."""
        if self._seen:
            self.scorer.process(outputs or [])

    def after_val(self, runner: Runner) -> None:
        """Note how long it took."""
        self._seconds = time.perf_counter() - self._started

    def after_train(self, runner: Runner) -> None:
        """Write the cell and the summary.

        Raises:
            RtxError: the test set cannot be evaluated, or the folder not be written; the weights are saved by then.
        """
        barrier()  # rank 0 has saved the weights by then, so that all ranks name the same checkpoint
        with tested_model(runner) as model:
            self._write(runner, model)

    def _write(self, runner: Runner, model: nn.Module) -> None:
        out = Path(runner.work_dir) / INSIDE_RUN
        path = last_checkpoint(Path(runner.work_dir))
        saved = path is not None and path.is_file() and training_meta(path).get("iter") == runner.iter
        labels = {"run": Path(runner.work_dir).name}
        with suppress(BadValue):  # no config lies there, or another one, too
            labels["config"] = run_config(Path(runner.work_dir)).stem
        options = {**CLEAN_ONLY, "checkpoint": path if saved else None, "labels": labels}
        job = prepare(model, runner.cfg, out, **options)
        overwrite = belongs_to_another(job)
        if overwrite and set(stored_conditions(out)) - {CLEAN}:
            log.warning(
                "%s holds corrupted cells of other weights or another protocol, which stay; no clean score was "
                "written: rtx corrupt_eval %s --overwrite replaces them",
                out,
                runner.work_dir,
            )
            return
        if self._seen == job.card["weights_sha256"] and self.scorer.n_images == len(job.indices):
            summary = self._from_validation(job, overwrite=overwrite)
        else:
            summary = evaluate(model, runner.cfg, out, overwrite=overwrite, **options)
        runner.logger.info("clean: %s P %s (%s)", summary["metric"], with_interval(summary, "P"), out)

    def _from_validation(self, job: Job, *, overwrite: bool) -> dict[str, Any]:
        """Write the cell from predictions that are there; no image goes through the model."""
        job = replace(job, scorer=self.scorer)
        summary: dict[str, Any] = {}

        def passes(
            job: Job, conditions: Iterable[Condition], batches: Any, key: str, tell: Any
        ) -> Generator[ScoredCell, None, None]:
            n_images = len(job.indices)
            timing = timing_of(n_images, self._seconds, job.batch_size, job.workers)
            for condition in conditions:
                yield score(self.scorer, condition, n_images, job.card, key=key, timing=timing)

        def finish(cells: Any) -> None:
            summary.update(complete(job, cells, resamples=Protocol().resamples))

        run(job, job.conditions, overwrite=overwrite, passes=passes, complete=finish)
        return summary


def validates_on_test_set(cfg: Config) -> bool:
    """Whether the config validates on its test set as an evaluation sees it: every image once, fp32."""
    val, test = plain(cfg.get("val_dataloader")), plain(cfg.get("test_dataloader"))
    if not val or not test or val.get("dataset") != test.get("dataset") or (cfg.get("val_cfg") or {}).get("fp16"):
        return False
    sampler = val.get("sampler") or {}
    plain_order = sampler.get("type") == "DefaultSampler" and not sampler.get("shuffle", True)
    odd = ("batch_sampler", "drop_last", "num_batch_per_epoch", "collate_fn")
    return plain_order and not any(val.get(name) for name in odd)


def _predicts_alike(runner: Runner, dataset: Any) -> bool:
    """Whether the validation at hand predicts as an evaluation of these weights does.

    In one process, with the weights themselves, and in batches that pad no image further than it is padded alone.
    """
    if runner.world_size > 1 or type(runner.val_loop) is not ValLoop:
        return False
    if any(isinstance(hook, EMAHook) for hook in runner.hooks):
        return False
    if int(plain(runner.cfg.val_dataloader).get("batch_size", 1)) == 1:
        return True
    return len(shape_groups(dataset, range(len(dataset)), padding_divisor(bare(runner.model)))) == 1
