"""Training in detectron2 with rtx's guard, and its corruption evaluation as a hook.

    python -m rtx.bridges.detectron2_train --config-file configs/detectron2/fasterrcnn_r50_voc.yaml --num-gpus 8 \
        RTX.SOURCE resnet50_l2_eps3 RTX.TRANSFER fixed

A trainer of one's own takes the hooks `FrozenGuard` and `CorruptionEval`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import DefaultTrainer, HookBase, default_argument_parser, default_setup, hooks, launch
from detectron2.evaluation import COCOEvaluator, PascalVOCDetectionEvaluator
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from rtx.bridges.detectron2 import load_config
from rtx.bridges.detectron2_model import detector_of
from rtx.errors import DataError
from rtx.evaluation.evaluate import evaluate
from rtx.evaluation.sweep.share import buffers_of_rank_0
from rtx.results.folder import INSIDE_RUN
from rtx.results.summary import with_interval
from rtx.transfer.guard import FrozenGuardHook

log = logging.getLogger("rtx.bridges.detectron2_train")  # also where this is run as a command


def test_set(name: str) -> tuple[dict[str, Any], list[str]]:
    """Where a data set of detectron2 lies, as `rtx.evaluate` is told it, and its class names.

    Raises:
        DataError: it is neither COCO nor VOC.
    """
    facts = MetadataCatalog.get(name)
    if not hasattr(facts, "thing_classes"):
        DatasetCatalog.get(name)  # a COCO file that a user registered says its classes once it is read
    classes = list(getattr(facts, "thing_classes", ()))
    if hasattr(facts, "json_file"):
        return dict(data=facts.image_root, annotations=facts.json_file), classes
    if hasattr(facts, "dirname"):
        return dict(data=facts.dirname), classes
    raise DataError(f"data set {name!r} of detectron2: rtx evaluates those of COCO and VOC; register a COCO file")


class FrozenGuard(HookBase):
    """rtx's guard in detectron2's trainer: training ends if a tensor moved that was declared frozen.

    Goes before the checkpointer, so that a broken model is not saved.

    Args:
        period: compare every so many iterations, and after training in any case.
    """

    def __init__(self, period: int) -> None:
        self.period, self.guard = period, FrozenGuardHook()

    def before_train(self) -> None:
        """Take the fingerprints."""
        self.guard.start(self.trainer.model)
        log.info("frozen guard: %d tensors fingerprinted", len(self.guard.before))

    def after_step(self) -> None:
        """Compare."""
        if self.period > 0 and (self.trainer.iter + 1) % self.period == 0:
            self.guard.check(self.trainer.model)

    def after_train(self) -> None:
        """Compare, and say so."""
        self.guard.check(self.trainer.model)
        log.info("frozen guard: %d frozen tensors are bit-identical after training", len(self.guard.before))


class CorruptionEval(HookBase):
    """Evaluates under corruption, into `<OUTPUT_DIR>/corruption_eval/` and with a period into `iter_<n>/` there.

    Args:
        cfg: of the trainer; its first test set, and what `RTX` says of the evaluation.
        shifts: see `rtx.evaluate`.
    """

    def __init__(self, cfg: CfgNode, shifts: dict[str, str] | None = None) -> None:
        self.cfg, self.shifts = cfg, shifts
        self.data, self.classes = test_set(cfg.DATASETS.TEST[0])

    def after_step(self) -> None:
        """Evaluate where the period says so, not at the last step."""
        done, period = self.trainer.iter + 1, self.cfg.RTX.EVAL_PERIOD
        if period > 0 and done % period == 0 and done < self.trainer.max_iter:
            self._evaluate(f"iter_{done}")

    def after_train(self) -> None:
        """Evaluate what training ends with."""
        if self.trainer.iter + 1 >= self.trainer.max_iter:
            self._evaluate(f"iter_{self.trainer.max_iter}" if self.cfg.RTX.EVAL_PERIOD > 0 else "")

    def _evaluate(self, part: str) -> None:
        options, out = self.cfg.RTX, Path(self.cfg.OUTPUT_DIR) / INSIDE_RUN / part
        model = self.trainer.model
        training = model.training
        model.eval()
        try:
            with buffers_of_rank_0(model):
                summary = evaluate(
                    detector_of(model, self.cfg, self.classes),
                    self.data["data"],
                    out,
                    annotations=self.data.get("annotations"),
                    classes=self.classes,
                    labels=dict(run=Path(self.cfg.OUTPUT_DIR).name, method=self.cfg.MODEL.META_ARCHITECTURE),
                    shifts=self.shifts,
                    overwrite=None,
                    corruptions=options.CORRUPTIONS,
                    severities=options.SEVERITIES,
                    limit=options.LIMIT or None,
                    resamples=options.RESAMPLES,
                    batch_size=1,
                )
        finally:
            model.train(training)
        for key in ("P", "mPC", "rPC"):
            if summary[key] is not None:
                self.trainer.storage.put_scalar(
                    f"corrupted/{summary['metric']}/{key}", summary[key], smoothing_hint=False
                )
        shown = [with_interval(summary, key) for key in ("P", "mPC", "rPC")]
        log.info(
            "under corruption: %s P %s, %s %s, rPC %s (%s)",
            summary["metric"],
            shown[0],
            summary["label"],
            *shown[1:],
            out,
        )


class Trainer(DefaultTrainer):
    """detectron2's default trainer with the guard, the usual evaluators of COCO and VOC, and `CorruptionEval`."""

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> Any:
        """What detectron2's own `train_net.py` takes for these data sets."""
        if MetadataCatalog.get(dataset_name).get("evaluator_type") == "pascal_voc":
            return PascalVOCDetectionEvaluator(dataset_name)
        return COCOEvaluator(dataset_name, output_dir=str(Path(cfg.OUTPUT_DIR) / "inference"))

    def build_hooks(self) -> list[Any]:
        """The default ones, the guard in front of the checkpointer, the evaluation behind all but the writer."""
        found = [hook for hook in super().build_hooks() if hook is not None]
        periods = [p for p in (self.cfg.SOLVER.CHECKPOINT_PERIOD, self.cfg.TEST.EVAL_PERIOD) if p > 0]
        place = next((n for n, hook in enumerate(found) if isinstance(hook, hooks.PeriodicCheckpointer)), len(found))
        found.insert(place, FrozenGuard(min(periods, default=0)))
        if self.cfg.RTX.CORRUPTIONS:
            found.insert(-1 if isinstance(found[-1], hooks.PeriodicWriter) else len(found), CorruptionEval(self.cfg))
        return found


def run(args: Any) -> Any:
    """Train or, with `--eval-only`, evaluate what `args` of `default_argument_parser` ask for."""
    cfg = load_config(args.config_file, args.opts)
    cfg.freeze()
    default_setup(cfg, args)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="rtx", enable_propagation=True)
    if args.eval_only:
        model = Trainer.build_model(cfg)
        DetectionCheckpointer(model, save_dir=cfg.OUTPUT_DIR).resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
        return Trainer.test(cfg, model)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


if __name__ == "__main__":
    arguments = default_argument_parser().parse_args()
    launch(
        run,
        arguments.num_gpus,
        num_machines=arguments.num_machines,
        machine_rank=arguments.machine_rank,
        dist_url=arguments.dist_url,
        args=(arguments,),
    )
