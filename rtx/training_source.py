"""From a finished training to a source file: weights, how they were trained, and how robust they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process

import rtx
from rtx.backbones.spec import arch_of
from rtx.errors import BadValue
from rtx.evaluation.evaluate import evaluate
from rtx.evaluation.models.load import load_model
from rtx.evaluation.pixels.attacked import Attacked
from rtx.evaluation.sweep.share import default_device
from rtx.results.attack_text import attack_text, eps_text
from rtx.results.folder import ATTACKS_INSIDE_RUN, last_checkpoint

PROBES = {"linf": (4.0,), "l2": (0.5,)}
"""What a source is attacked with that was trained under no threat, so that its number stands beside robust ones'."""


def write_source(cfg: Config, out: Path, *, images: int, steps: int) -> tuple[Path, dict[str, Any]]:
    """Score the trained network on clean and attacked test images, and write it as a source.

    Args:
        cfg: of the training, which has ended in `cfg.work_dir`.
        out: the file.
        images: how many test images are attacked, a seeded subset that holds every class.
        steps: of the attack (PGD from a random start, step 2.5 eps / steps).

    Returns:
        The file, and its card.

    Raises:
        BadValue: the run has no checkpoint.
    """
    checkpoint = last_checkpoint(Path(cfg.work_dir))
    if checkpoint is None:
        raise BadValue(f"run folder {cfg.work_dir!r} has no checkpoint; the training did not end")
    hardened = dict(cfg.rtx_hardening)
    device = default_device(int(os.environ.get("LOCAL_RANK", 0)))
    threats = {hardened["threat"]: (hardened["eps"],)} if "threat" in hardened else PROBES
    scores: dict[str, Any] = {}
    for threat, eps in threats.items():
        pixels = Attacked(threat=threat, eps=eps, steps=steps)
        folder = Path(cfg.work_dir) / f"{ATTACKS_INSIDE_RUN}_{threat}"
        model = load_model(cfg, checkpoint, device)
        size = min(cfg.train_dataloader.batch_size, 64)
        summary = evaluate(
            model, cfg, folder, pixels=pixels, checkpoint=checkpoint, limit=images, batch_size=size, overwrite=None
        )
        scores |= {"metric": summary["metric"], "clean": summary["P"], "images": summary["n_images"]}
        scores |= {key: value for key, value in summary["attacks"].items()}
        attack = attack_text(summary["protocol"]["attack"])
    arch = arch_of(cfg.model.backbone)
    place = cfg.model.get("data_preprocessor") or cfg.data_preprocessor
    use = f"{arch}@{out.name}" if arch.startswith("timm:") else f"{arch}:{out.name}"
    card = {
        "arch": arch,
        "recipe": ", ".join(f"{name} {value}" for name, value in hardened.items()),
        "trained on": f"{cfg.rtx_target['target']}, {cfg.rtx_target['epochs']} epochs, lr {cfg.rtx_target['lr']:g}",
        "from": str(cfg.model.backbone.get("source")),
        "clean": f"{scores['metric']} {100 * scores['clean']:.2f} % on {scores['images']} test images",
        **{f"under {eps_text(key)}": f"{100 * v:.2f} % ({attack})" for key, v in scores.items() if "_" in key},
        "use": use,
    }
    if is_main_process():
        content = _state(checkpoint)
        meta: dict[str, Any] = {"arch": arch, "rtx": rtx.__version__, "image_size": cfg.rtx_target["image_size"]}
        if place.get("bgr_to_rgb") or place.get("to_rgb"):  # R, G, B is how `stated_statistics` reads them
            meta |= {name: _fractions(place, name) for name in ("mean", "std")}
        torch.save({"meta": {**meta, "rtx_source": card, "scores": scores}, "state_dict": content}, out)
    return out, card


def _state(checkpoint: Path) -> dict[str, torch.Tensor]:
    from rtx.sources.reading.read import read_checkpoint

    content = read_checkpoint(checkpoint)
    return {key: value for key, value in content["state_dict"].items() if isinstance(value, torch.Tensor)}


def _fractions(place: Any, name: str) -> list[float]:
    return [round(float(value) / 255, 6) for value in place[name]]
