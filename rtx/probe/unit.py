"""Probes as units of an experiment: a grid file names one of these functions as its kind.

kind = "rtx.probe.unit:probe"    # a source on a target, one size and seed
kind = "rtx.probe.unit:train"    # a head on a file of features
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.datasets.label_subset import choose
from rtx.errors import BadValue, DataError
from rtx.files import file_sha256
from rtx.probe.design import spread
from rtx.probe.heads import MAX_EVALUATIONS, Column, fit
from rtx.probe.logistic import Split
from rtx.probe.run import ProbeOptions, check_options, fit_heads, open_data, prepare, spelled
from rtx.probe.score import accuracies, right_by_class

NAMES = ("train_x", "train_y", "test_x", "test_y")


def probe(settings: Mapping[str, Any], device: str) -> dict[str, Any]:
    """One head of `rtx probe`; the features are cached on disk, and opened once in a worker.

    Args:
        settings: `source`, `target`, `data_root`, `images` (a number or "all"), `seed`, and other fields of
            `rtx.probe.run.ProbeOptions`.
        device: "cuda" for the GPU; the CPU otherwise.

    Returns:
        The fields of `rtx.probe.results.HeadRow`.

    Raises:
        BadValue: a setting that does not exist, or a number that does not fit.
        DataError, WeightsError, UnknownName: see `rtx.probe.run.run_probe`.
    """
    given = {key: value for key, value in settings.items() if key not in ("source", "images", "seed")}
    for name in ("data_root", "cache", "out"):
        if name in given:
            given[name] = Path(given[name])
    for name in {"decays", "imports"} & set(given):
        given[name] = tuple(given[name])
    try:
        options = ProbeOptions((settings["source"],), device="cuda" if device == "cuda" else "cpu", **given)
        images, seed = settings["images"], int(settings["seed"])
    except (KeyError, TypeError) as error:
        raise BadValue(f"rtx.probe.unit:probe: a setting is missing or unknown ({error})") from error
    split, scale = _prepared(options)
    n = len(split.train_labels) if images == "all" else int(images)
    rows = choose(split.train_labels, n, seed, options.subset_rule)[None]
    return asdict(fit_heads(options, split, scale, rows, [seed])[0])


@lru_cache(maxsize=4)
def _prepared(options: ProbeOptions) -> tuple[Split, float]:
    check_options(options)
    options = spelled(options)
    split, _, _ = prepare(options, options.sources[0], open_data(options))
    return split, spread(split.train)


@lru_cache(maxsize=4)
def features(path: str, digest: str | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of a features file (.npz): `train_x` (n, d), `train_y` (n,), `test_x`, `test_y`.

    Raises:
        DataError: it is not there, lacks an array, or is another one than `digest` (sha256) names.
    """
    if not Path(path).is_file():
        raise DataError(f"features {path!r}: no such file on this node; put it where every node sees it")
    if digest and file_sha256(Path(path)) != digest:
        raise DataError(f"features {path!r}: its sha256 is not {digest[:12]}..., the experiment means another file")
    with np.load(path, allow_pickle=False) as file:
        absent = [name for name in NAMES if name not in file.files]
        if absent:
            raise DataError(f"features {path!r}: no array {absent[0]!r}; it must hold {', '.join(NAMES)}")
        found = {name: file[name] for name in NAMES}
    return {k: v.astype(np.float32 if k.endswith("x") else np.int64) for k, v in found.items()}


def train(settings: Mapping[str, Any], device: str) -> dict[str, float]:
    """Logistic regression on a file of features, see `rtx.probe.heads`.

    Args:
        settings: `features` (path), `sha256` of it or none, `n_images` (training images, drawn with `seed`, every class
            among them), `weight_decay` in the features' units, `steps` (evaluations of the loss at most).
        device: "cuda" for the GPU; the CPU otherwise.

    Returns:
        `accuracy`, `mean_per_class` and `loss` (nats) on the test features, `train_accuracy`.

    Raises:
        BadValue: more images than there are, or fewer than classes.
        DataError: see `features`.
    """
    data = features(settings["features"], settings.get("sha256"))
    train_y, test_y = data["train_y"], data["test_y"]
    rows = choose(train_y, int(settings.get("n_images", len(train_y))), int(settings["seed"]))[None]
    (head,) = fit(
        data["train_x"],
        train_y,
        rows,
        [Column(float(settings.get("weight_decay", 1e-3)))],
        classes=int(max(train_y.max(), test_y.max())) + 1,
        device="cuda" if device == "cuda" else "cpu",
        max_evaluations=int(settings.get("steps", MAX_EVALUATIONS)),
    )
    right = right_by_class(data["test_x"], test_y, head.weight[:, 0], head.bias[:, 0])
    top, mean = accuracies(right, test_y)
    logits = data["test_x"] @ head.weight[0, 0].cpu().numpy().T + head.bias[0, 0].cpu().numpy()
    logits -= np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return {
        "accuracy": float(top[0]),
        "mean_per_class": float(mean[0]),
        "loss": float(-logits[np.arange(len(test_y)), test_y].mean()),
        "train_accuracy": float(head.right.double().mean()),
    }
