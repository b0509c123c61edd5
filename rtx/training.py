"""Train in a run folder that says how it was made."""

from __future__ import annotations

import json
import logging
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtx.errors import BadValue, RtxError, RunConflict, WeightsError, WeightsMismatch
from rtx.files import write_atomic
from rtx.results.command import shell_line
from rtx.results.folder import LAST_CHECKPOINT, last_checkpoint

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.hooks import Hook
    from mmengine.runner import Runner

    from rtx.evaluation.models.load import TrainedState

log = logging.getLogger(__name__)


def missing(cfg: Config) -> list[str]:
    """Everything the run needs and does not find: each entry says what, where it looked and what to do."""
    from mmengine.device import get_device

    from rtx import config as configs
    from rtx.datasets.openmmlab.checks import check_data
    from rtx.evaluation.models.load import check_one_view
    from rtx.sources.load import locate

    problems = []
    source = (cfg.model.get("backbone") or {}).get("source")
    if source and source != "random":  # to resume, too: mmengine makes the weights before it reads the checkpoint
        try:
            locate(source)
        except WeightsError as error:
            problems.append(str(error))
    checks: list[Callable[[], None]] = [
        lambda: check_one_view(cfg),
        lambda: check_data(cfg, splits=("train", "val")),
    ]
    if cfg.model.get("backbone"):
        checks.append(lambda: configs.check_statistics(cfg))
    for check in checks:
        try:
            check()
        except RtxError as error:
            problems.append(str(error))
    if (cfg.get("optim_wrapper") or {}).get("type") == "AmpOptimWrapper" and get_device() in ("cpu", "mps"):
        problems.append("a GPU: mmengine trains with mixed precision (--amp) on one alone; leave --amp away")
    if cfg.get("load_from") and not Path(cfg.load_from).is_file():
        problems.append(f"checkpoint {cfg.load_from!r} (--resume or load_from) does not exist; give a .pth file")
    return problems


def train(cfg: Config, *, hooks: Sequence[Hook] = (), clean_score: bool = False) -> Runner:
    """Train in the config's run folder.

    The folder holds the expanded config, the log, scalars (JSON lines and TensorBoard), checkpoints and
    `environment.json`.

    Args:
        cfg: an expanded config with `work_dir`.
        hooks: further hooks of the caller, no part of the config.
        clean_score: score the final weights on the clean test set, see `rtx.evaluation.clean_score`.

    Raises:
        RunConflict: the folder holds checkpoints of another config and nothing asks to resume.
        BadValue: the checkpoint to resume from holds weights and no training state, or was trained on other classes.
        WeightsMismatch: it is another network's.
        FrozenChanged: a frozen parameter or buffer moved.
    """
    from mmengine.dist import is_main_process

    from rtx.datasets.openmmlab.reading import read_safely
    from rtx.evaluation.sweep.room import RoomyRunner

    read_safely()
    work_dir = Path(cfg.work_dir)
    check_run_folder(work_dir, cfg)
    started = check_checkpoint(cfg)
    _forget_visualizers()
    start_distributed(cfg)
    if clean_score:
        from rtx.evaluation.clean_score import clean_score_hook

        hook = clean_score_hook(cfg)
        hooks = [*hooks, hook] if hook else hooks
    runner = RoomyRunner.from_cfg(cfg)
    if is_main_process():
        write_atomic(work_dir / "environment.json", json.dumps(environment(), indent=1) + "\n")
        write_atomic(work_dir / "run.json", json.dumps(identity(cfg), indent=1) + "\n")
    for hook in hooks:
        runner.register_hook(hook)
    if started is not None:
        check_started(runner, started, resumed=bool(cfg.get("resume")))
    runner.train()
    return runner


def start_distributed(cfg: Config) -> None:
    """Join the launcher's job where the config names one; on processors too, for which mmengine has no way of its own.

    Raises:
        BadValue: see `rtx.evaluation.sweep.share.start`.
    """
    import torch

    from rtx.evaluation.sweep.share import start

    launcher = cfg.get("launcher") or "none"
    start(launcher, (cfg.get("env_cfg") or {}).get("dist_cfg"))
    if launcher != "none" and not torch.cuda.is_available() and not cfg.get("model_wrapper_cfg"):
        # As mmengine wraps a model, but for the GPU's number.
        unused = bool(cfg.get("find_unused_parameters", False))
        wrapper = dict(type="MMDistributedDataParallel", device_ids=None, broadcast_buffers=False)
        cfg.model_wrapper_cfg = dict(wrapper, find_unused_parameters=unused)


def how_to_go_on(cfg: Config, words: Sequence[str]) -> str:
    """What to tell a person whose training was interrupted.

    Args:
        cfg: the config that was trained.
        words: the command, as it was typed.
    """
    work_dir = Path(cfg.work_dir)
    last = last_checkpoint(work_dir)
    if last is not None and last.is_file():
        resumed = any("--resume".startswith(word.partition("=")[0]) and len(word) > 4 for word in words)
        return f"interrupted; {last} is kept; go on with:\n  {shell_line([*words, *([] if resumed else ['--resume'])])}"
    saving = (cfg.get("default_hooks") or {}).get("checkpoint") or {}
    unit = "epoch" if saving.get("by_epoch", True) else "iteration"
    return (
        f"interrupted before the first checkpoint, which {str(work_dir)!r} gets after {unit} "
        f"{saving.get('interval', 1)}: nothing can be resumed, start again with the same command; to keep something "
        "earlier, add --cfg-options default_hooks.checkpoint.by_epoch=False default_hooks.checkpoint.interval=100:\n"
        f"  {shell_line(words)}"
    )


def _forget_visualizers() -> None:
    """Drop the visualizers of an earlier run in this process: they share one name, and would keep its folder."""
    from mmengine.visualization import Visualizer

    kinds: list[Any] = [Visualizer]
    while kinds:
        kind = kinds.pop()
        kind._instance_dict.clear()
        kinds += kind.__subclasses__()


def identity(cfg: Config) -> dict[str, Any]:
    """The identity of a run: one with the same identity may resume in its folder."""
    from rtx.evaluation.card import how_trained, plain

    def data(loader: Any) -> Any:
        return plain(loader.dataset) if loader else None

    parts = {
        "model": plain(cfg.model),
        "train_data": data(cfg.get("train_dataloader")),
        "optimiser": plain(cfg.get("optim_wrapper")),
        "schedule": plain([cfg.get("train_cfg"), cfg.get("param_scheduler")]),
        "seed": (cfg.get("randomness") or {}).get("seed"),
        **how_trained(cfg),
    }
    return json.loads(json.dumps(parts, default=str))


def check_run_folder(work_dir: Path, cfg: Config) -> None:
    """Refuse to mix two runs in one folder.

    Raises:
        RunConflict: the folder's run had another model, source, transfer or training set; or, where this one does not
            resume it, another optimiser, schedule or seed.
    """
    record = work_dir / "run.json"
    if not record.is_file():
        return
    there, now = json.loads(record.read_text(encoding="utf-8")), identity(cfg)
    changed = [name for name in now if name in there and there[name] != now[name]]
    if changed and any(work_dir.glob("*.pth")):
        what = {"model": "model, source or transfer", "train_data": "training set"}
        names = " and ".join(what.get(name, name) for name in changed)
        if cfg.get("resume") and not set(changed) & set(what):
            # A longer schedule is a reason to resume; state in the checkpoint is not reset.
            log.warning("resuming with another %s: the optimiser and its learning rate are the checkpoint's", names)
            return
        raise RunConflict(
            f"run folder {str(work_dir)!r} belongs to another run (another {names}); "
            "give another --work-dir, or remove the folder"
        )


def environment() -> dict[str, Any]:
    """Versions, machine and command: what one needs to repeat a run."""
    import torch
    from mmengine.utils.dl_utils import collect_env

    import rtx
    from rtx.evaluation.card import versions

    return {
        "rtx": rtx.__version__,
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "environment": {str(k): str(v) for k, v in collect_env().items()},
    }


def check_checkpoint(cfg: Config) -> TrainedState | None:
    """What the run starts from, None for its source alone.

    A file that mmengine would read by running its code is refused.

    Raises:
        BadValue: it holds weights and no training state.
        WeightsError: it is not there, or cannot be read safely.
    """
    from rtx.evaluation.models.load import training_state

    path = Path(cfg.load_from) if cfg.get("load_from") else None
    if cfg.get("resume") and path is None:
        path = _own_last_checkpoint(Path(cfg.work_dir))
    if path is None:
        return None
    if not path.is_file():
        raise WeightsError(f"checkpoint {str(cfg.load_from)!r} is no file that is there; give a .pth file")
    state = training_state(path)
    if cfg.get("resume") and not {"epoch", "iter"} <= set(state.meta):
        raise BadValue(
            f"checkpoint {str(path)!r} holds weights and no training state (epoch, iter), so nothing can be resumed; "
            "to start from these weights: --cfg-options load_from=FILE without --resume, or --source FILE"
        )
    return state


def check_started(runner: Runner, state: TrainedState, *, resumed: bool) -> None:
    """Hold what a run starts from against its model and training set; mmengine leaves out what does not fit.

    Raises:
        WeightsMismatch: a tensor of a checkpoint to resume does not fit, or none of other weights does.
        BadValue: a checkpoint to resume was trained on other classes, or on the same in another order.
    """
    from rtx.evaluation.models.load import check_classes, differences, shapes_of, trained_classes
    from rtx.transfer.guard import bare

    place, own = f"checkpoint {str(state.path)!r}", shapes_of(bare(runner.model).state_dict())
    theirs = {key.removeprefix("module."): shape for key, shape in state.shapes.items()}  # as mmengine reads them
    faults = differences(own, theirs)
    if faults and (resumed or not any(own.get(key) == shape for key, shape in theirs.items())):
        raise WeightsMismatch(
            f"{place} does not fit this config: {'; '.join(faults)}; give the file of a training with this config"
        )
    if resumed:
        names = getattr(runner.train_dataloader.dataset, "metainfo", {}).get("classes") or ()
        check_classes(trained_classes(state.meta), names, place)


def _own_last_checkpoint(work_dir: Path) -> Path | None:
    """What `last_checkpoint` names, made to point into its own folder: in a copied one it still names the original."""
    pointer, path = work_dir / LAST_CHECKPOINT, last_checkpoint(work_dir)
    if path is None:
        return None
    if not path.is_file():
        raise WeightsError(f"{pointer} names {str(path)!r}, which does not exist; name the file: --resume FILE")
    named = Path(pointer.read_text(encoding="utf-8").strip())
    if not (named.is_file() and path.samefile(named)):
        log.warning("%s names %s; this folder has its own %s and goes on from that", pointer, named, named.name)
        write_atomic(pointer, str(path.resolve()))
    return path
