"""Images that an attack has perturbed against the model that is evaluated: pixels of an evaluation like the corrupted.

The attack stands in front of the model's preprocessing, on the picture that the network gets (resized and cropped), in
[0, 1]. The perturbed picture is not rounded to 8 bits. What is scored afterwards is the usual prediction.
"""

from __future__ import annotations

import hashlib
import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import TRANSFORMS
from torch import nn

import rtx
from rtx.adversarial import autoattack
from rtx.adversarial.attack import KEEP, METHODS, Attack, Perturbed, frozen
from rtx.adversarial.random_search import random_search
from rtx.adversarial.threat import threat_of
from rtx.errors import BadValue, unknown_name
from rtx.evaluation.card import weights_sha256
from rtx.evaluation.models.adapter import Adapter
from rtx.evaluation.models.objectives import attacked_kind, groups, logits_of, losses_for, objective
from rtx.evaluation.pixels.corrupt import Corrupt, insert_corrupt
from rtx.evaluation.pixels.made import view_steps
from rtx.evaluation.pixels.with_truth import with_truth
from rtx.evaluation.protocol import Protocol
from rtx.evaluation.sweep.batches import device_of
from rtx.evaluation.sweep.forward import Job
from rtx.rng import image_rng
from rtx.types import CLEAN, THREATS, Condition


@TRANSFORMS.register_module()
class Unchanged(Corrupt):
    """Knows the present condition and leaves the image as it is: an attack comes later, where the model is."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Leave `results["img"]` as it is."""
        return results


@dataclass(frozen=True)
class Attacked:
    """Pixels that an attack makes; `rtx.evaluation.pixels.made.Made` has the same methods.

    Attributes:
        threat: `linf` or `l2`.
        eps: sizes of the ball, in the unit of `rtx.types.THREATS`: 255ths of the pixel range for Linf (4 is 4/255), the
            pixel range for L2.
        losses: which losses are raised, see `rtx.evaluation.models.objectives.losses_for`.
        target: the class that a classifier is to take every image for; None for any wrong one.
        surrogate: a model that the attack is made against instead of the evaluated one (a transfer attack); it must
            take the same pictures.
        queries: of a random search without gradients that follows, see `rtx.adversarial.random_search`; where it does
            more harm, its result counts, and the cell is flagged.
        method: of `rtx.adversarial.attack.METHODS`, or `autoattack`, which has no settings.
        steps, step, random_start, restarts, momentum, keep: see `rtx.adversarial.attack.Attack`.

    Raises:
        BadValue: a number out of range, no eps, or settings that the method does not have.
        UnknownName: no such threat, method or rule.
        MissingDependency: `autoattack` without its package.
    """

    threat: str = "linf"
    eps: Sequence[float] = (2, 4, 8)
    method: str = METHODS[0]
    steps: int = 20
    step: float = 2.5
    random_start: bool = True
    restarts: int = 1
    momentum: float = 0.0
    keep: str = KEEP[0]
    losses: Sequence[str] = ()
    target: int | None = None
    queries: int = 0
    surrogate: nn.Module | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Refuse what is no attack."""
        object.__setattr__(self, "eps", tuple(dict.fromkeys(self.eps)))
        object.__setattr__(self, "losses", tuple(self.losses))
        if self.threat not in THREATS:
            raise unknown_name("threat", self.threat, place="rtx.types.THREATS", choices=tuple(THREATS))
        if not self.eps:
            raise BadValue("an attack without eps: give at least one, e.g. 4 (255ths, for linf)")
        if isinstance(self.queries, bool) or not isinstance(self.queries, int) or self.queries < 0:
            raise BadValue(f"queries {self.queries!r} of a random search: must be a whole number, 0 (none) or more")
        for condition in self._conditions():
            self.attack(condition)
        if self.method == autoattack.NAME:
            self._check_autoattack()
        if self.keep == "last" and len(self.losses) > 1:
            raise BadValue("keep='last' with several losses: the worst result of each image is what counts")

    def _check_autoattack(self) -> None:
        usual = {field.name: field.default for field in fields(Attacked)}
        names = [name for name in (*_SETTINGS, "losses", "target") if getattr(self, name) != usual[name]]
        if names:
            raise BadValue(
                f"method {autoattack.NAME} with {', '.join(names)}: its standard version has its own; leave them away"
            )
        autoattack.package()

    def attack(self, condition: Condition) -> Attack:
        """The attack of a condition; of `autoattack` only its threat is used."""
        return Attack(
            threat=threat_of(condition),
            method=METHODS[0] if self.method == autoattack.NAME else self.method,
            steps=self.steps,
            step=self.step,
            random_start=self.random_start,
            restarts=self.restarts,
            momentum=self.momentum,
            keep=self.keep,
        )

    def _conditions(self) -> tuple[Condition, ...]:
        return tuple(Condition(self.threat, eps) for eps in self.eps)

    def conditions(self, protocol: Protocol) -> tuple[Condition, ...]:
        """Clean images, and each eps."""
        return (CLEAN, *sorted(self._conditions()))

    def config(self, cfg: Config) -> Config:
        """The config as the card stores it."""
        return cfg

    def dataset(self, cfg: Config, protocol: Protocol) -> Any:
        """The test set of that config with its ground truth, which losses need, at the scale of the network's image."""
        dataset = insert_corrupt(cfg.test_dataloader.dataset, dict(type=Unchanged.__name__))
        return with_truth(dataset, cfg.model) if cfg.get("default_scope") == "mmdet" else dataset

    def pipeline(self, load: Any, preparation: Sequence[Any], scope: str, protocol: Protocol) -> list[Any]:
        """The steps of an adapter, see `rtx.evaluation.pixels.made.Made.pipeline`."""
        return [load, *view_steps(protocol), *preparation, Unchanged()]

    def card(self, scope: str, protocol: Protocol) -> dict[str, Any]:
        """Fields of the protocol card that say how the pixels come about; `attack_card` has those of the attack."""
        return {
            "corruption_engine": "attack",
            "corruption_engine_version": rtx.__version__,
            "corruption_seed": protocol.seed,
            "corruption_at": "network_input",
        }

    def attack_card(self, model: nn.Module) -> dict[str, Any]:
        """What decides how strong the attack is, for the protocol card; eps is the cell's.

        Raises:
            BadValue, UnknownName: the model has no such loss, or none at all.
        """
        attacked = self.surrogate or model
        names = losses_for(attacked, self.losses)
        if self.method == autoattack.NAME:
            logits_of(attacked)
        if self.keep == "last" and len(names) > 1:
            raise BadValue(f"keep='last' with several losses ({', '.join(names)}): name one loss")
        if self.target is not None and not set(names) <= {"ce", "dlr"}:
            raise BadValue(f"target {self.target}: targeted attacks are on classifiers")
        out: dict[str, Any] = {name: getattr(self, name) for name in _STATED} | {"losses": list(names)}
        if self.method == "apgd":
            out |= {"step": None, "momentum": None}
        if self.method == autoattack.NAME:
            out = {"threat": self.threat, "method": self.method, "package": autoattack.package(), "losses": []}
        if self.queries:
            out["queries"] = self.queries
        if self.target is not None:
            out["target"] = self.target
        if self.surrogate is not None:
            out["surrogate_sha256"] = weights_sha256(self.surrogate)
        if isinstance(attacked, Adapter) and attacked.loss is not None:
            out["loss_code"] = _code_sha256(attacked.loss)
        return {"attack": out}

    def check(self, job: Job, *, overwrite: bool) -> Job:
        """Attack the first image by one step, so that what cannot be attacked ends before the clean images are scored.

        Raises:
            BadValue: see `perturbed`.
        """
        batch = pseudo_collate([job.dataset[job.indices[0]]])
        method = METHODS[0] if self.method == autoattack.NAME else self.method
        quick = replace(self, method=method, steps=1, restarts=1, queries=0)
        quick.perturbed(job.model, batch, self._conditions()[0], 0)
        return job

    def finish(self, summary: Mapping[str, Any], out: Path) -> dict[str, Any]:
        """Nothing to write beside the summary."""
        return {}

    def perturbed(self, model: nn.Module, batch: Any, condition: Condition, seed: int) -> tuple[Any, Mapping[str, int]]:
        """A batch with its images perturbed, and what must be said of the result.

        Args:
            model: what is evaluated, on its device.
            batch: a collated batch; its images are 8-bit (3, H, W), its samples have their ground truth.
            condition: which eps.
            seed: of the random starts.

        Returns:
            The batch, and remarks with the number of images: that the attack had no gradient, or that gradients are
            masked.

        Raises:
            BadValue: images are no 8-bit pictures, or the loss cannot be raised, see `Attack.__call__`.
        """
        if condition == CLEAN:
            return batch, {}
        model = model if self.surrogate is None else self.surrogate.to(device_of(model))
        images, samples = list(batch["inputs"]), list(batch["data_samples"])
        for image, sample in zip(images, samples, strict=True):
            if image.dtype != torch.uint8:
                raise BadValue(
                    f"image {str(sample.img_path)!r} reaches the model as {image.dtype}: the attack cannot be put "
                    "behind this test pipeline, which normalises; leave that to the model's data_preprocessor"
                )
        seeds = [int(image_rng(seed, Path(str(s.img_path)).stem, condition).integers(2**31)) for s in samples]
        remarks: Counter[str] = Counter()
        with frozen(model):
            for group in groups(model, images):
                pixels = torch.stack([images[n] for n in group]).to(device_of(model)).float() / 255
                chosen, mine = [samples[n] for n in group], [seeds[n] for n in group]
                found, said = self._worst(model, pixels, chosen, mine, condition)
                remarks.update(said)
                for n, image in zip(group, found * 255, strict=True):
                    images[n] = image
        return {**batch, "inputs": images}, remarks

    def _worst(
        self, model: nn.Module, pixels: torch.Tensor, samples: list[Any], seeds: list[int], condition: Condition
    ) -> tuple[torch.Tensor, dict[str, int]]:
        """Images of one shape, perturbed by the method, every loss and the random search; and remarks."""
        attack, threat = self.attack(condition), threat_of(condition)
        aims = [
            objective(model, samples, loss, seed=seeds[0], target=self.target)
            for loss in losses_for(model, self.losses)
        ]
        if self.method == autoattack.NAME:
            scores, labels = logits_of(model)(samples)
            found = autoattack.autoattack(scores, pixels, labels, seeds, threat=threat)
        else:
            names = [repr(str(sample.img_path)) for sample in samples]
            found = reduce(Perturbed.or_worse, (attack(aim, pixels, seeds, names) for aim in aims))
        remarks = {NO_GRADIENT: int(found.flat.sum())}
        if self.queries:
            other = random_search(aims[0], pixels, seeds, threat=threat, queries=self.queries)
            beaten = other.harm > found.harm
            if attacked_kind(model) == "classifier":  # whose harm is above 0 where it is wrong, which ends the matter
                beaten &= (found.harm <= 0) & (other.harm > 0)
            remarks[MASKED] = int(beaten.sum())
            found = found.or_worse(other)
        return found.images, remarks


NO_GRADIENT = "no gradient"
MASKED = "gradients masked (a search without gradients did more harm)"
_SETTINGS = ("step", "random_start", "restarts", "momentum", "keep")
_STATED = ("threat", "method", "steps", *_SETTINGS)


def _code_sha256(function: Any) -> str:
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        text = repr(type(function))
    return hashlib.sha256(text.encode()).hexdigest()
