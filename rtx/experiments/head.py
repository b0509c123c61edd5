"""A small training: a linear head on features that are there, the unit of grids of probes.

    kind = "rtx.experiments.head:train"

The features file (.npz) holds `train_x` (n, d), `train_y` (n,), `test_x`, `test_y`: pixels, or what a frozen backbone
says of them. A worker reads it once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from rtx.errors import BadValue, DataError
from rtx.files import file_sha256

NAMES = ("train_x", "train_y", "test_x", "test_y")


@lru_cache(maxsize=4)
def features(path: str, digest: str | None = None) -> dict[str, Any]:
    """The arrays of a features file, features in float32.

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
    """Multinomial logistic regression with L2 decay by L-BFGS, full batch; from zero weights, so convex and repeatable.

    Args:
        settings: `features` (path), `sha256` of it or none, `n_images` (training images, drawn with `seed`, each class
            its share), `weight_decay`, `steps`.
        device: "cuda" for the GPU; the CPU otherwise.

    Returns:
        `accuracy` and `loss` (nats) on the test features, `train_accuracy`.

    Raises:
        BadValue: more images than there are.
        DataError: see `features`.
    """
    import torch
    from torch.nn import functional

    data = features(settings["features"], settings.get("sha256"))
    n = int(settings.get("n_images", len(data["train_y"])))
    if not 0 < n <= len(data["train_y"]):
        raise BadValue(f"n_images {n}: {settings['features']} has {len(data['train_y'])} training images")
    order = np.random.default_rng(int(settings["seed"])).permutation(len(data["train_y"]))
    # By turns through the classes, so that each has its share.
    labels = data["train_y"][order]
    place = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        mine = labels == label
        place[mine] = np.arange(mine.sum())
    chosen = order[np.argsort(place, kind="stable")[:n]]
    where = "cuda" if device == "cuda" else "cpu"
    x, y = (torch.from_numpy(data[name][chosen]).to(where) for name in ("train_x", "train_y"))
    test_x, test_y = (torch.from_numpy(data[name]).to(where) for name in ("test_x", "test_y"))
    classes = int(max(data["train_y"].max(), data["test_y"].max())) + 1
    weight = torch.zeros(classes, x.shape[1], device=where, requires_grad=True)
    bias = torch.zeros(classes, device=where, requires_grad=True)
    decay = float(settings.get("weight_decay", 1e-3))
    solver = torch.optim.LBFGS([weight, bias], max_iter=int(settings.get("steps", 50)), line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = functional.cross_entropy(functional.linear(x, weight, bias), y) + decay * weight.square().sum() / 2
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(closure)  # type: ignore[no-untyped-call]
    with torch.inference_mode():
        test, fitted = functional.linear(test_x, weight, bias), functional.linear(x, weight, bias)
        return {
            "accuracy": float((test.argmax(1) == test_y).float().mean()),
            "loss": float(functional.cross_entropy(test, test_y)),
            "train_accuracy": float((fitted.argmax(1) == y).float().mean()),
        }
