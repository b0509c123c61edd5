"""Whose head is looked at: a source with a probe's head, or a run folder of a trained classifier."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, init_default_scope
from numpy.typing import NDArray
from torch import nn

from rtx import config as configs
from rtx.datasets.label_subset import choose
from rtx.datasets.openmmlab.nodes import type_name
from rtx.datasets.openmmlab.with_data import with_data
from rtx.datasets.views import View
from rtx.errors import BadValue, DataError
from rtx.evaluation.card import weights_sha256
from rtx.evaluation.models.load import load_model
from rtx.influence.boxes import BACKGROUND, box_head
from rtx.influence.head import SoftmaxHead
from rtx.probe.design import spread
from rtx.probe.features import decoder, pixel_steps
from rtx.probe.heads import Column, fit
from rtx.probe.logistic import probe
from rtx.probe.run import ProbeOptions, check_options, open_data, prepare, spelled
from rtx.results.folder import last_checkpoint, run_config

log = logging.getLogger(__name__)

_TOLERANCE = 1e-9  # of a head that counts as an optimum; a probe's score needs less
_EVALUATIONS = 3000


@dataclass(frozen=True, eq=False)
class Subject:
    """A head with its data.

    Attributes:
        name: for files and tables.
        head: with the features of the chosen images.
        classes: names.
        pixels: gives ("train" or "test", row of the features) as the network sees it, RGB uint8 (H, W, 3).
        card: JSON values, what the numbers depend on beside the options of influence.
        unit: what a row stands for.
    """

    name: str
    head: SoftmaxHead
    classes: tuple[str, ...]
    pixels: Callable[[str, int], NDArray[np.uint8]]
    card: dict[str, Any]
    unit: str = "images"


def of_source(options: ProbeOptions, tests: int | None, seed: int) -> Subject:
    """A source of fixed features with the logistic head of `rtx probe`, at its optimum.

    Args:
        options: one source and one size.
        tests: test images, None for all; every class among them.
        seed: of both choices.

    Raises:
        UnknownName, BadValue, DataError, WeightsError: see `rtx.probe.run.run_probe`.
    """
    check_options(options)
    options = spelled(options)
    data = open_data(options)
    (spec,), (images,) = options.sources, options.images
    rows = _chosen(data[0].labels, images, seed)
    test_rows = _tests(data[1].labels, tests, seed)
    split, card, name = prepare(options, spec, data)
    scale = spread(split.train)
    (picked,) = probe(
        split, rows[None], spread=scale, decays=options.decays, select=options.select, device=options.device,
        budget=options.memory,
    )  # fmt: skip
    decay = picked.decay * scale
    (found,) = fit(
        split.train, split.train_labels, rows[None], [Column(decay)], classes=split.classes, device=options.device,
        budget=options.memory, tolerance=_TOLERANCE, max_evaluations=_EVALUATIONS,
    )  # fmt: skip
    head = SoftmaxHead(
        found.weight[0, 0].cpu().numpy(), found.bias[0, 0].cpu().numpy(), split.train[rows],
        split.train_labels[rows], split.test[test_rows], split.test_labels[test_rows], decay,
    )  # fmt: skip
    steps, view = pixel_steps(options.pixels, options.target, options.image_size), View.parse(options.view)
    images_of = {part.split: (decoder(part, steps, view), at) for part, at in zip(data, (rows, test_rows), strict=True)}

    def pixels(which: str, row: int) -> NDArray[np.uint8]:
        decode, places = images_of[which]
        return decode(int(places[row]))

    card |= {"decay": decay, "relative_decay": picked.decay, "accuracy": picked.accuracy, "images_seed": seed}
    return Subject(name, head, data[0].classes, pixels, card)


def of_run(
    folder: Path, *, data_root: Path | None, tests: int | None, seed: int, device: str, batch_size: int, workers: int
) -> Subject:
    """The last layer of a run folder of `rtx train`, on its own training images in the steps of its test.

    Raises:
        BadValue: no run folder, no classifier, no linear last layer, or no training set.
        DataError: the training images are not there.
        WeightsError, WeightsMismatch: see `rtx.evaluation.models.load.load_model`.
    """
    cfg = configs.load(run_config(folder))
    checkpoint = last_checkpoint(folder)
    if checkpoint is None:
        raise BadValue(f"run folder {str(folder)!r} names no checkpoint; let its training reach the first one")
    boxes = cfg.get("default_scope") == "mmdet" and "roi_head" in cfg.model
    if not boxes and (cfg.get("default_scope") != "mmpretrain" or not cfg.model.get("head")):
        raise BadValue(
            f"run {str(folder)!r}: trains no classifier; influence is of a classifier's last linear layer, or of that "
            "of a two-stage detector's boxes"
        )
    if not cfg.get("train_dataloader") or not cfg.get("test_dataloader"):
        raise BadValue(
            f"run {str(folder)!r}: its config names no training or no test set, whose influence is asked for"
        )
    if data_root is not None:
        cfg = with_data(cfg, data_root)
    model = load_model(cfg, checkpoint, device)
    if boxes:
        return _of_boxes(folder, cfg, model, data_root, tests, seed, batch_size=batch_size, workers=workers)
    layer = last_layer(model, str(folder))
    if (loss := cfg.model.head.get("loss", {}).get("type", "CrossEntropyLoss")) != "CrossEntropyLoss":
        log.warning("run %s: was trained by %s; influence is that of cross-entropy", folder, loss)
    sets = _sets(cfg, folder, data_root)
    labels = {name: np.array([one.get_data_info(n)["gt_label"] for n in range(len(one))]) for name, one in sets.items()}
    rows = {"train": np.arange(len(labels["train"])), "test": _tests(labels["test"], tests, seed)}
    x = {name: _features(model, layer, sets[name], rows[name], batch_size, workers) for name in sets}
    decay, bias_decays = _decay(cfg)
    head = SoftmaxHead(
        layer.weight.detach().cpu().double().numpy(), layer.bias.detach().cpu().double().numpy(),
        x["train"], labels["train"], x["test"], labels["test"][rows["test"]],
        decay, bias_decays=bias_decays,
    )  # fmt: skip

    def pixels(which: str, row: int) -> NDArray[np.uint8]:
        inputs: NDArray[np.uint8] = sets[which][int(rows[which][row])]["inputs"].numpy()
        return np.ascontiguousarray(inputs.transpose(1, 2, 0)[..., ::-1])

    classes = tuple(sets["train"].metainfo.get("classes") or map(str, range(len(head.bias))))
    card = {"run": folder.name, "weights": weights_sha256(model), "decay": head.decay, "data": cfg.get("labels", {})}
    return Subject(folder.name, head, classes, pixels, configs_plain(card))


def _of_boxes(
    folder: Path, cfg: Any, model: Any, data_root: Path | None, tests: int | None, seed: int, **how: int
) -> Subject:
    sets = _sets(cfg, folder, data_root, scope="mmdet")
    decay, bias_decays = _decay(cfg)
    head, pixels, card = box_head(
        model, sets, decay=decay, bias_decays=bias_decays, choose=lambda labels: _tests(labels, tests, seed),
        place=f"run {str(folder)!r}", **how,
    )  # fmt: skip
    classes = (*(sets["train"].metainfo.get("classes") or map(str, range(len(head.bias) - 1))), BACKGROUND)
    card |= {"run": folder.name, "decay": decay, "data": cfg.get("labels", {})}
    return Subject(folder.name, head, tuple(classes), pixels, configs_plain(card), "regions")


def _sets(cfg: Any, folder: Path, data_root: Path | None, scope: str = "mmpretrain") -> dict[str, Any]:
    """Training and test set; as in the paper, both in the steps of the test, without random ones."""
    steps = cfg.test_dataloader.dataset.pipeline
    train = cfg.train_dataloader.dataset
    return {
        "train": _built({**train, "pipeline": steps, "test_mode": True}, folder, data_root, scope),
        "test": _built(cfg.test_dataloader.dataset, folder, data_root, scope),
    }


def _decay(cfg: Any) -> tuple[float, bool]:
    """Weight decay, and whether biases have it."""
    decays = (cfg.optim_wrapper.get("paramwise_cfg") or {}).get("bias_decay_mult", 1.0)
    return float(cfg.optim_wrapper.optimizer.get("weight_decay", 0.0)), decays != 0


def configs_plain(card: dict[str, Any]) -> dict[str, Any]:
    """A card without the classes of mmengine."""
    return {key: value.to_dict() if hasattr(value, "to_dict") else value for key, value in card.items()}


def last_layer(model: Any, place: str) -> nn.Linear:
    """The linear layer that makes the logits.

    Raises:
        BadValue: there is none with a bias, or what follows it changes its output.
    """
    layers = [module for module in model.head.modules() if isinstance(module, nn.Linear)]
    layer = layers[-1] if layers else None
    if type(layer) is nn.Linear and layer.bias is not None:
        outputs: list[Any] = []
        hook = layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
        width = getattr(model.head, "in_channels", layer.in_features)
        device = layer.weight.device
        try:
            logits = model.head((torch.linspace(-1, 1, 2 * width, device=device).view(2, width),))
        except (RuntimeError, TypeError, ValueError, AttributeError):
            logits = None
        hook.remove()
        if logits is not None and len(outputs) == 1 and torch.equal(outputs[0], logits):
            return layer
    raise BadValue(
        f"{place}: the head {type(model.head).__name__} does not end in a linear layer with a bias, on which influence "
        "in closed form rests; take a run with LinearClsHead, or the source itself (--source NAME --target NAME)"
    )


def _built(node: Any, folder: Path, data_root: Path | None, scope: str = "mmpretrain") -> Any:
    init_default_scope(scope)
    try:
        return DATASETS.build(node)
    except (DataError, OSError) as error:
        place = data_root or node.get("data_root")
        raise DataError(
            f"run {str(folder)!r}: its {type_name(node)} is not in {str(place)!r} ({error}); say where with --data-root"
        ) from error


def _chosen(labels: NDArray[np.int64], n: int | None, seed: int) -> NDArray[np.int64]:
    return np.arange(len(labels)) if n is None or n == len(labels) else np.sort(choose(labels, n, seed))


def _tests(labels: NDArray[np.int64], n: int | None, seed: int) -> NDArray[np.int64]:
    """So many of what is tested, or all where there are not as many."""
    return _chosen(labels, None if n is None or n >= len(labels) else n, seed)


@torch.inference_mode()
def _features(
    model: Any, layer: nn.Linear, dataset: Any, rows: NDArray[np.int64], batch_size: int, workers: int
) -> NDArray[np.float32]:
    """What reaches the last layer, (n, D)."""
    inputs: list[Any] = []
    hook = layer.register_forward_hook(lambda module, given, output: inputs.append(given[0].float().cpu()))
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for start in range(0, len(rows), batch_size):
            samples = list(pool.map(dataset.__getitem__, map(int, rows[start : start + batch_size])))
            batch = model.data_preprocessor(pseudo_collate(samples), False)
            model.head(model.extract_feat(batch["inputs"]))
    hook.remove()
    found: NDArray[np.float32] = torch.cat(inputs).numpy()
    return found
