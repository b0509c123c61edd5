"""Which runs are of one model and one source: only those may be joined by a line or averaged."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Sequence
from pathlib import PurePosixPath

from rtx.reports.runs.naming import UNKNOWN, label
from rtx.reports.runs.runs import Run

Model = tuple[str, str, str]
"""Method, architecture of the backbone, and how it was trained: the labels `schedule` and `training`."""
NORMS = {"l2": "L2", "linf": "Linf"}


def model_of(run: Run) -> Model:
    """The identity of a run's model, independent of its source and transfer mode.

    A run that names no method is like no other.
    """
    trained = " ".join(part for part in (label(run.card, "schedule"), label(run.card, "training")) if part)
    return run.method, run.source.arch, trained or (run.name if run.method == UNKNOWN else "")


def model_titles(runs: Sequence[Run], join: str = " ") -> dict[Model, str]:
    """Short names that distinguish the models of some runs; "" for a single one."""
    models = list(dict.fromkeys(model_of(run) for run in runs))
    heads = {model: model[2] if model[0] == UNKNOWN else model[0] for model in models}
    archs = {arch for _, arch, _ in models}
    found = {}
    for model in models:
        alike = [other for other in models if (heads[other], other[1]) == (heads[model], model[1])]
        head = heads[model] if len(set(heads.values())) > 1 else ""
        parts = (head, model[2] if len(alike) > 1 else "", model[1] if len(archs) > 1 else "")
        found[model] = join.join(part for part in parts if part)
    return found


def mode_titles(runs: Sequence[Run]) -> dict[tuple[str, str], str]:
    """Names of the transfer modes of some runs: with the batch-norm policy where one mode comes with several."""
    found = list(dict.fromkeys(mode_of(run) for run in runs))
    several = {mode for mode, _ in found if len({policy for other, policy in found if other == mode}) > 1}
    return {(mode, norm): f"{mode}, norm {norm or UNKNOWN}" if mode in several else mode for mode, norm in found}


def mode_of(run: Run) -> tuple[str, str]:
    """The transfer mode and what becomes of batch norm in it, as far as the card says so."""
    backbone = (run.card.get("freeze_map") or {}).get("backbone") or {}
    return run.transfer, str(backbone.get("norm_policy") or "")


def source_key(run: Run) -> str:
    """A source as it is whatever the architecture: the recipe of a listed one, the path of a file of one's own."""
    raw = str(run.card.get("source") or UNKNOWN)
    _, colon, file = raw.partition(":")
    return file if colon else raw if "/" in raw else run.source.recipe


def source_titles(runs: Sequence[Run]) -> dict[str, str]:
    """Names that distinguish sources: the recipe or the file's name, with folders where it takes them."""
    recipes = {source_key(run): run.source.recipe for run in runs}
    found = {}
    for key, recipe in recipes.items():
        others = [other for other in recipes if other != key and recipes[other] == recipe]
        parts = PurePosixPath(key).parts
        tails = ("/".join(parts[-length:]) for length in range(2, len(parts) + 1))
        apart = (t for t in tails if not any(other.endswith(f"/{t}") or other == t for other in others))
        found[key] = next(apart, key) if others else recipe
    return found


def family_of(run: Run) -> str:
    """The publisher's part of an adversarial recipe, e.g. "madry" of `madry_l2_eps3`; "" of most."""
    return re.sub(r"_?(?:l2|linf)_eps\d+(?:\.\d+)?$", "", run.source.recipe) if run.source.norm else ""


def radius(run: Run) -> str:
    """The radius of a run's source with its norm, e.g. "L2 eps 3" or "Linf eps 4/255"; "eps 0" for a standard one."""
    eps, norm = run.source.eps or 0.0, str(run.source.norm)
    parts = (family_of(run), NORMS.get(norm, norm), f"eps {eps_text(norm, eps)}")
    return " ".join(part for part in parts if part) if eps else "eps 0"


def eps_text(norm: str, eps: float) -> str:
    """A radius with its unit.

    Example:
        >>> eps_text("linf", 4.0), eps_text("l2", 0.5)
        ('4/255', '0.5')
    """
    return f"{eps:g}{'/255' if norm == 'linf' and eps else ''}"


def repeats(runs: Sequence[Run]) -> list[tuple[Run, ...]]:
    """Runs sorted into repeats of one experiment, which differ only by chance, in order of first appearance."""
    found: dict[Hashable, list[Run]] = {}
    for run in runs:
        setup = model_of(run), mode_of(run), str(run.card.get("source")), str(run.card.get("config_sha256"))
        found.setdefault(setup, []).append(run)
    return [tuple(members) for members in found.values()]


def mean_of(runs: Sequence[Run], quantity: str) -> float:
    """Mean of `P`, `mPC`, `rPC` or `drop` over repeats of one experiment."""
    return math.fsum(getattr(run.summary, quantity) for run in runs) / len(runs)
