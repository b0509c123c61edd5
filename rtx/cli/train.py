"""`rtx train CONFIG`: transfer a source backbone to a target, in a run folder that says how it was made."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtx.errors import BadValue, RtxError, RunConflict, WeightsError

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.hooks import Hook
    from mmengine.runner import Runner

HELP = "train a detector or segmenter from a source backbone"
log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments, named as OpenMMLab's own training tools name them."""
    from rtx.cli.options import add_config_arguments

    parser.add_argument("config", help="config file")
    parser.add_argument("--work-dir", help="run folder; default: work_dirs/<config>[_<source>][_<transfer>]")
    parser.add_argument(
        "--resume", nargs="?", const="auto", metavar="CHECKPOINT", help="go on from the last or a given checkpoint"
    )
    parser.add_argument("--amp", action="store_true", help="automatic mixed precision")
    parser.add_argument(
        "--auto-scale-lr", action="store_true", help="scale the learning rate with the total batch size"
    )
    parser.add_argument("--seed", type=int, help="seed of initialisation and data order")
    parser.add_argument("--deterministic", action="store_true", help="deterministic CUDA kernels (slower)")
    parser.add_argument(
        "--corrupt-eval",
        nargs="?",
        type=int,
        const=0,
        metavar="N",
        help="score under corruption when training ends, and every N epochs (validations in a schedule of steps)",
    )
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train, after everything that the run needs was found."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    cfg = prepare(args)
    # One process of a job looks; the launcher ends the others when it gives up.
    first = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0
    problems = missing(cfg) if first else []
    if problems:
        lines = "\n".join(f"  {number}. {problem}" for number, problem in enumerate(problems, 1))
        raise BadValue(
            f"{args.config}: {len(problems)} thing{'s are' if len(problems) > 1 else ' is'} missing:\n{lines}"
        )
    train(cfg)
    return 0


def prepare(args: argparse.Namespace) -> Config:
    """The expanded config that the arguments ask for.

    Raises:
        BadValue: the config does not exist, or cannot do what a flag asks for.
    """
    from rtx import config as configs
    from rtx.cli.options import apply_config_arguments

    if not Path(args.config).is_file():
        raise BadValue(f"config {args.config!r} does not exist; configs/ holds rtx's own")
    cfg = apply_config_arguments(configs.load(args.config), args)
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif not cfg.get("work_dir"):
        cfg.work_dir = str(Path("work_dirs") / default_name(args))
    if args.amp:
        cfg.optim_wrapper.type = "AmpOptimWrapper"
        cfg.optim_wrapper.loss_scale = "dynamic"
    if args.auto_scale_lr:
        if not cfg.get("auto_scale_lr", {}).get("base_batch_size"):
            raise BadValue(f"--auto-scale-lr: {args.config} has no auto_scale_lr.base_batch_size; add it to the config")
        cfg.auto_scale_lr.enable = True
    if args.seed is not None or args.deterministic:
        cfg.randomness = dict(cfg.get("randomness") or {}, deterministic=args.deterministic)
        if args.seed is not None:
            cfg.randomness.seed = args.seed
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == "auto" else args.resume
    if not any(hook.get("type") == configs.GUARD for hook in cfg.get("custom_hooks") or []):
        cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), dict(type=configs.GUARD)]
        _import_too(cfg, "rtx.transfer")
    if args.corrupt_eval is not None:
        hook = dict(type="CorruptionEvalHook", interval=args.corrupt_eval)
        cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), hook]
        _import_too(cfg, "rtx.evaluation.loop")
    return cfg


_WEIGHTS = {".pth", ".pt", ".ckpt", ".tar", ".safetensors", ".pkl", ".bin"}


def default_name(args: argparse.Namespace) -> str:
    """Run folder name: the config and what was changed about it, so that two transfers do not share a folder.

    Example:
        >>> args = dict(config="configs/a.py", source="weights/x.pth", transfer="blocks:3", norm=None)
        >>> default_name(argparse.Namespace(**args))
        'a_x_blocks3'
    """
    parts = [Path(args.config).stem]
    if args.source:
        parts.append(Path(args.source).stem if Path(args.source).suffix in _WEIGHTS else args.source)
    parts += [part.replace(":", "") for part in (args.transfer, args.norm) if part]
    return "_".join(parts)


def missing(cfg: Config) -> list[str]:
    """Everything the run needs and does not find: each entry says what, where it looked and what to do."""
    from rtx import config as configs
    from rtx.sources.load import locate
    from rtx.targets.checks import check_data

    problems = []
    source = cfg.model.backbone.get("source")
    if source and source != "random":  # to resume, too: mmengine makes the weights before it reads the checkpoint
        try:
            locate(source)
        except WeightsError as error:
            problems.append(str(error))
    checks: list[Callable[[], None]] = [lambda: check_data(cfg, splits=("train", "val"))]
    if cfg.model.get("backbone"):
        checks.append(lambda: configs.check_statistics(cfg))
    for check in checks:
        try:
            check()
        except RtxError as error:
            problems.append(str(error))
    if cfg.get("load_from") and not Path(cfg.load_from).is_file():
        problems.append(f"checkpoint {cfg.load_from!r} (--resume or load_from) does not exist; give a .pth file")
    return problems


def train(cfg: Config, *, hooks: Sequence[Hook] = ()) -> Runner:
    """Train in the config's run folder.

    The folder holds the expanded config, the log, scalars (JSON lines and TensorBoard), checkpoints and
    `environment.json`.

    Args:
        cfg: an expanded config with `work_dir`.
        hooks: further hooks of the caller, no part of the config.

    Raises:
        RunConflict: the folder holds checkpoints of another config and nothing asks to resume.
        FrozenChanged: a frozen parameter or buffer moved.
    """
    from mmengine.dist import is_main_process
    from mmengine.runner import Runner

    work_dir = Path(cfg.work_dir)
    check_run_folder(work_dir, cfg)
    _only_safe_checkpoints(cfg)
    _forget_visualizers()
    runner = Runner.from_cfg(cfg)
    if is_main_process():
        from rtx.evaluation.scores import write_atomic

        write_atomic(work_dir / "environment.json", json.dumps(environment(), indent=1) + "\n")
        write_atomic(work_dir / "run.json", json.dumps(identity(cfg), indent=1) + "\n")
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()
    return runner


def _forget_visualizers() -> None:
    """Drop the visualizers of an earlier run in this process: they share one name, and would keep its folder."""
    from mmengine.visualization import Visualizer

    kinds: list[Any] = [Visualizer]
    while kinds:
        kind = kinds.pop()
        kind._instance_dict.clear()
        kinds += kind.__subclasses__()


def identity(cfg: Config) -> dict[str, Any]:
    """What makes two runs the same run: a second one may go on in the folder of the first."""
    from rtx.evaluation.card import plain

    def data(loader: Any) -> Any:
        return plain(loader.dataset) if loader else None

    parts = {
        "model": plain(cfg.model),
        "train_data": data(cfg.get("train_dataloader")),
        "optimiser": plain(cfg.get("optim_wrapper")),
        "schedule": plain([cfg.get("train_cfg"), cfg.get("param_scheduler")]),
        "seed": (cfg.get("randomness") or {}).get("seed"),
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
            # A longer schedule is a reason to resume; state that a checkpoint holds is not set anew.
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


def _only_safe_checkpoints(cfg: Config) -> None:
    """Refuse a checkpoint to start or go on from that mmengine would read by running its code."""
    from mmengine.runner import find_latest_checkpoint

    from rtx.evaluation.model import require_safe

    path = cfg.get("load_from")
    if cfg.get("resume") and not path:
        path = find_latest_checkpoint(cfg.work_dir) if Path(cfg.work_dir).is_dir() else None
    if path and Path(path).is_file():
        require_safe(Path(path))


def _import_too(cfg: Config, module: str) -> None:
    """Import a module now, and whenever the dumped config is read: mmengine imports only when it reads a file."""
    importlib.import_module(module)
    imports = list((cfg.get("custom_imports") or {}).get("imports", []))
    if module not in imports:
        cfg.custom_imports = dict(imports=[*imports, module], allow_failed_imports=False)
