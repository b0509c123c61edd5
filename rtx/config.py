"""From a config file to the config that runs: Config in, new Config out, nothing else changed."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict

from rtx.backbones.spec import arch_of, is_ours, kept_arguments, spec_of, stock_arguments
from rtx.datasets.openmmlab.nodes import add_import
from rtx.datasets.openmmlab.reading import read_safely
from rtx.errors import BadValue
from rtx.sources.catalog.archs import ARCHS
from rtx.sources.catalog.record import Pixels, PixelStatistics
from rtx.sources.catalog.spec import parse_spec, statistics_of, written_out
from rtx.sources.spelling import with_stated_arch
from rtx.transfer.modes import FRAMEWORK_DEFAULTS, apply_transfer, default_of, transfer_name
from rtx.types import NormPolicy, TransferMode

log = logging.getLogger(__name__)

GUARD, HEAD_FIRST = "FrozenGuardHook", "HeadFirst"
Statistics = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of R, G, B on the 0 to 255 scale."""


def load(path: str | Path) -> Config:
    """Read a .py config file.

    Raises:
        BadValue: no such file, or one that cannot be read as a config; the reason is in the message.
    """
    read_safely()
    path = Path(path)
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.py"))[:20] if path.parent.is_dir() else []
        text = f"; {path.parent} holds {', '.join(near)}" if near else ""
        raise BadValue(f"config {str(path)!r} not found (current folder: {Path.cwd()}){text}")
    try:
        return Config.fromfile(str(path))
    except Exception as error:  # a config is code of its writer: anything can come out of it
        raise BadValue(f"config {path}: cannot be read ({type(error).__name__}: {error})") from error


def framework_of(cfg: Config) -> str:
    """The OpenMMLab framework of a config, from its `default_scope`.

    Raises:
        BadValue: none that rtx knows.
    """
    scope = cfg.get("default_scope")
    if scope not in FRAMEWORK_DEFAULTS:
        raise BadValue(f"default_scope {scope!r}: must be one of {', '.join(FRAMEWORK_DEFAULTS)}")
    return str(scope)


def with_source(cfg: Config, spec: str, statistics: Statistics | None = None) -> Config:
    """The config with another source: backbone, weights, channels of neck and heads, pixel statistics.

    Args:
        cfg: a config of a detector, segmenter or classifier.
        spec: a source's name, FILE or ARCH:FILE (a bare FILE must fit the config's architecture, unless its card states
            its own, as `rtx train_source` writes it), timm:NAME, timm:NAME@FILE, "random", which keeps the architecture
            and starts from random weights, ARCH:random or timm:NAME@random.
        statistics: mean and standard deviation of the pixels that a FILE was trained with, R, G, B from 0 to 255; when
            None, what the file holds, else those of the config.

    Raises:
        UnknownName: no such source.
        BadValue: the config has no backbone, or a stock one with strides or layers that no source has; or `statistics`
            beside a source whose own are known.
    """
    spec = with_stated_arch(written_out(spec))
    parsed = parse_spec(spec)
    own = arch_of(cfg.model.backbone) if is_ours(_backbone(cfg)) else None
    trained = statistics_of(parsed, own)
    if statistics and (parsed.path is None or trained is not None):
        raise BadValue(
            f"--pixel-mean and --pixel-std state what a weights file was trained with; those of {spec!r} are known, "
            "leave them out, or name a FILE"
        )
    new = copy.deepcopy(cfg)
    backbone = _backbone(new)
    architecture = spec_of(parsed.arch or arch_of(backbone))
    changed = _taken_over(backbone, architecture.config, new)
    if parsed.path is not None and parsed.arch is None and arch_of(backbone) in ARCHS:
        spec = f"{arch_of(backbone)}:{spec}"  # as `rtx.sources.spelling` writes it for probes
    changed |= {"source": "random" if parsed.random else spec, "init_cfg": None}
    kept = kept_arguments(changed, architecture)
    if architecture.config["type"] == "SourceSwin" and new.get("default_scope") == "mmpretrain":
        # A classifier reads the features that the published one read: behind the final norm, small maps unshifted.
        kept |= {"last_norm_from_source": True, "shift_single_windows": False}
    channels = architecture.channels
    if new.get("default_scope") == "mmdet" and architecture.strides != (4, 8, 16, 32):
        raise BadValue(
            f"source {spec!r} has maps at strides {architecture.strides}; detectors of mmdet read 4, 8, 16 and 32"
        )
    if architecture.final_channels is not None:
        kept["final"] = new.get("default_scope") == "mmpretrain"
        channels = (*channels[:-1], architecture.final_channels) if kept["final"] else channels
    new.model.backbone = ConfigDict({**architecture.config, **kept})
    # mmseg models carry upstream's weights one level up and hand them to the backbone.
    if new.model.get("pretrained") is not None:
        new.model.pretrained = None
    _set_channels(new, channels)
    if parsed.path is not None and trained is None:
        _set_statistics_of_file(new, spec, parsed.path, statistics)
    else:
        _set_statistics(new, trained)
    add_import(new, "rtx.backbones")
    log.info("source=%s: %s, channels %s", spec, arch_of(new.model.backbone), channels)
    return new


def _taken_over(backbone: ConfigDict, wanted: Mapping[str, Any], cfg: Config) -> dict[str, Any]:
    """The arguments of the old backbone, with freezing and norm policy in the sense of the new one.

    `full` stays what the framework does by default, which is another thing for Swin than for a ResNet; a network
    without batch norm says nothing of the policy of one with it.
    """
    ours = is_ours(backbone)
    found = dict(backbone) if ours else stock_arguments(backbone)
    framework = framework_of(cfg)
    default = default_of(framework, wanted)
    if backbone.get("type") != wanted["type"]:
        if transfer_name(backbone, framework) == "full":
            found["frozen_stages"] = default.frozen_stages
        found.setdefault("norm_policy", default.norm_policy)
    if not ours:
        lost = sorted(set(backbone) - set(found) - {"type", "norm_eval", "init_cfg", "pretrained"})
        log.info("%s becomes %s; left out: %s", backbone.get("type"), wanted["type"], ", ".join(lost) or "nothing")
    return found


def with_transfer(cfg: Config, mode: TransferMode | str, norm: NormPolicy | None = None) -> Config:
    """The config with a transfer mode on its backbone and the guard among its hooks.

    Args:
        cfg: a config whose backbone is one of rtx's.
        mode: a `TransferMode` or its text form, e.g. "blocks:3".
        norm: batch-norm policy; None takes the mode's or framework's own.

    Raises:
        UnknownName: no such mode or policy, or a backbone that is not rtx's.
        BadValue: a malformed block count, or a framework rtx does not know.
    """
    new = copy.deepcopy(cfg)
    parsed = TransferMode.parse(mode) if isinstance(mode, str) else mode
    new.model.backbone = ConfigDict(apply_transfer(_backbone(new), parsed, norm, framework_of(new)))
    hooks = [hook for hook in new.get("custom_hooks") or [] if hook.get("type") not in (GUARD, HEAD_FIRST)]
    new.custom_hooks = [*hooks, {"type": GUARD}]
    if parsed.kind == "lpft":
        new.custom_hooks.append({"type": HEAD_FIRST})
        new.find_unused_parameters = True  # on several processes, since nothing reaches the backbone in that phase
        add_import(new, "rtx.transfer.head_first")
    add_import(new, "rtx.backbones")
    add_import(new, "rtx.transfer")
    return new


def check_statistics(cfg: Config) -> None:
    """Refuse a config whose preprocessor normalises otherwise than its source was trained, unless it says so.

    Of a weights file that holds no statistics nothing is known, and its user's are taken.

    Raises:
        BadValue: another mean, std or channel order; the message says which and what to write.
    """
    backbone = _backbone(cfg)
    spec = backbone.get("source")
    if spec in (None, "random") or (cfg.get("rtx_target") or {}).get("normalise") == "upstream":
        return
    wanted, parsed = copy.deepcopy(cfg), parse_spec(spec)
    trained = statistics_of(parsed, arch_of(backbone) if is_ours(backbone) else None)
    if parsed.path is None or trained is not None:
        _set_statistics(wanted, trained)
    elif (stated := _stated(parsed.path)) is not None:
        _put_statistics(wanted, *stated)
    else:
        return
    for name, place, right in (
        ("model.data_preprocessor", cfg.model.get("data_preprocessor"), wanted.model.get("data_preprocessor")),
        ("data_preprocessor", cfg.get("data_preprocessor"), wanted.get("data_preprocessor")),
    ):
        # mmseg and mmdet configs keep a second copy at the top, which no model reads when the model has its own.
        if not isinstance(place, dict) or (name == "data_preprocessor" and "data_preprocessor" in cfg.model):
            continue
        for key in ("mean", "std", "bgr_to_rgb", "to_rgb"):
            have, need = place.get(key), right.get(key)
            same = have == need
            if isinstance(need, list) and isinstance(have, (list, tuple)) and len(have) == len(need):
                same = all(abs(a - b) < 0.05 for a, b in zip(have, need, strict=True))
            if not same:
                raise BadValue(
                    f"{name}.{key} is {have}, but source {spec!r} was trained with {need}; "
                    f"drop the change or pass the source with --source, which sets it"
                )


def _backbone(cfg: Config) -> ConfigDict:
    backbone = (cfg.get("model") or {}).get("backbone")
    if not isinstance(backbone, dict):
        raise BadValue(f"config {cfg.filename or '?'}: has no model.backbone to put a source into")
    return backbone


def _set_channels(cfg: Config, channels: tuple[int, ...]) -> None:
    """Tell neck and heads the channels of the stage outputs they read."""
    model = cfg.model
    used = [channels[i] for i in model.backbone.get("out_indices", (0, 1, 2, 3))]
    neck = model.get("neck")
    necks = neck if isinstance(neck, list) else [neck] if neck else []
    fed_by_backbone = next((n for n in necks if "in_channels" in n), None)
    if fed_by_backbone is not None:
        _set_inputs(fed_by_backbone, used, list(range(len(used))))
        return
    heads: list[Any] = []
    for name in ("decode_head", "auxiliary_head", "head"):
        head = model.get(name)
        heads += head if isinstance(head, list) else [head] if head else []
    for head in heads:
        if "in_channels" in head:
            _set_inputs(head, used, head.get("in_index", len(used) - 1))


def _set_inputs(module: ConfigDict, channels: list[int], index: int | list[int] | tuple[int, ...]) -> None:
    if isinstance(module["in_channels"], (list, tuple)):
        chosen = index if isinstance(index, (list, tuple)) else range(len(channels))
        module["in_channels"] = [channels[i] for i in chosen]
    else:
        module["in_channels"] = channels[index if isinstance(index, int) else index[-1]]


def _set_statistics(cfg: Config, trained: PixelStatistics | None) -> None:
    """Normalise as the source was trained; OpenMMLab loads BGR, so an RGB source asks for a flip."""
    trained = trained or Pixels()
    _put_statistics(cfg, trained.pixel_mean, trained.pixel_std, flip=trained.channel_order == "rgb")


def _set_statistics_of_file(cfg: Config, spec: str, path: Path, given: Statistics | None) -> None:
    """Normalise as a file was trained, where the file or its user says how; else the config's own statistics stay."""
    stated = _stated(path)
    if given and stated and not all(np.allclose(a, b, atol=0.05) for a, b in zip(given, stated, strict=True)):
        raise BadValue(f"--pixel-mean, --pixel-std {given}: {path} holds {stated}; leave them out")
    found = given or stated
    if found:
        _put_statistics(cfg, *found)
        return
    place: Mapping[str, Any] = next(
        (p for p in (cfg.model.get("data_preprocessor"), cfg.get("data_preprocessor")) if p), {}
    )
    log.warning(
        "source %s: the file does not say which mean and std it was trained with; the config's stay: %s, %s (RGB "
        "order: %s); state others with --pixel-mean R G B --pixel-std R G B",
        *(spec, place.get("mean"), place.get("std"), place.get("bgr_to_rgb", place.get("to_rgb", False))),
    )


def _stated(path: Path) -> Statistics | None:
    from rtx.sources.stated import stated_statistics

    found = stated_statistics(path) if path.is_file() else None
    return None if found is None else tuple([round(255 * v, 6) for v in row] for row in found)  # type: ignore[return-value]


def _put_statistics(cfg: Config, mean: Sequence[float], std: Sequence[float], *, flip: bool = True) -> None:
    # mmpretrain keeps the preprocessor beside the model and calls the flip to_rgb.
    name = "to_rgb" if cfg.get("default_scope") == "mmpretrain" else "bgr_to_rgb"
    places = [cfg.model.get("data_preprocessor"), cfg.get("data_preprocessor")]
    for place in places:
        if isinstance(place, dict):
            place.update(mean=list(mean), std=list(std), **{name: flip})
    if not any(isinstance(place, dict) for place in places):
        raise BadValue(f"config {cfg.filename or '?'}: has no data_preprocessor to put pixel statistics into")
