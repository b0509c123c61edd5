"""Training that hardens a network: on images perturbed against itself, or on noisy or mixed ones.

standard    the images as they are
pgd         PGD(k) against the present network in front of every step (Madry et al., 2018). Salman et al. (2020) take
            3 steps of 2/3 eps; Utrera et al. (2021, A.10) 1 step of 2 eps from the image itself
free        every batch `replays` times, each step's gradient of the pixels moves the perturbation on (Shafahi et al.,
            2019); no passes of its own
gaussian    Gaussian noise, cut to the ball (Utrera et al., 2021, A.10): for L2 and images of usual size a random
            direction of length eps
prime       PRIME without its geometric part (Modas et al., 2022), see `rtx.augment.prime`
augmix      AugMix (Hendrycks et al., 2020) as torchvision draws it, without the consistency loss
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from torch import Tensor

from rtx.adversarial.attack import Attack, frozen
from rtx.adversarial.threat import clip, threat_of
from rtx.datasets.openmmlab.nodes import add_import
from rtx.errors import BadValue, unknown_name
from rtx.transfer.objectives import device_of, groups, kind_of, objective, usual_losses
from rtx.types import Condition

log = logging.getLogger(__name__)

RECIPES = ("standard", "pgd", "free", "gaussian", "prime", "augmix")
UNDER_THREAT = ("pgd", "free", "gaussian")


@dataclass(frozen=True)
class Hardening:
    """How a training hardens the network.

    Attributes:
        recipe: one of `RECIPES`.
        threat: `linf` or `l2`, for recipes `UNDER_THREAT`.
        eps: in the unit of `rtx.types.THREATS`.
        steps: of PGD.
        step: step size of PGD in units of eps / steps.
        random_start: whether PGD begins at a random perturbation.
        replays: of free training.

    Raises:
        UnknownName: no such recipe or threat.
        BadValue: a number out of range, or no eps.
    """

    recipe: str = "pgd"
    threat: str | None = None
    eps: float | None = None
    steps: int = 3
    step: float = 2.0
    random_start: bool = False
    replays: int = 4

    def __post_init__(self) -> None:
        """Refuse what is no such training."""
        if self.recipe not in RECIPES:
            raise unknown_name("recipe", self.recipe, place="rtx.transfer.hardening.RECIPES", choices=RECIPES)
        given = self.threat is not None and self.eps is not None
        if self.recipe in UNDER_THREAT and not given:
            raise BadValue(f"recipe {self.recipe} needs --threat and --eps, e.g. --threat l2 --eps 0.5")
        if self.recipe not in UNDER_THREAT and (self.threat or self.eps):
            raise BadValue(f"recipe {self.recipe} has no threat: leave --threat and --eps away")
        if isinstance(self.replays, bool) or self.replays < 1:
            raise BadValue(f"replays {self.replays}: must be 1 or more")
        if given:
            self.attack()

    def attack(self) -> Attack:
        """The attack of `pgd`; of the others only its threat is used."""
        assert self.threat is not None and self.eps is not None
        return Attack(
            threat=threat_of(Condition(self.threat, self.eps)),
            steps=self.steps,
            step=self.step,
            random_start=self.random_start,
            keep="last",
        )

    def card(self) -> dict[str, Any]:
        """What matters of it, for the config and the protocol card."""
        names = {"recipe"}
        names |= {"threat", "eps"} if self.recipe in UNDER_THREAT else set()
        names |= {"steps", "step", "random_start"} if self.recipe == "pgd" else set()
        names |= {"replays"} if self.recipe == "free" else set()
        return {name: value for name, value in asdict(self).items() if name in names}


def with_hardening(cfg: Config, hardening: Hardening) -> Config:
    """The config that trains so. The choice is kept as `rtx_hardening`, which goes into run.json and the protocol card.

    Raises:
        BadValue: the config has no training pipeline with an image loader, or AugMix is asked of no classifier.
    """
    new: Config = copy.deepcopy(cfg)
    if hardening.recipe in UNDER_THREAT:
        hook = dict(type=TrainUnderAttack.__name__, hardening=hardening.card())
        new.custom_hooks = [*(new.get("custom_hooks") or []), hook]
        add_import(new, "rtx.transfer.hardening")
    elif hardening.recipe == "prime":
        _insert(new, [dict(type="Prime")])
        add_import(new, "rtx.augment.prime")
    elif hardening.recipe == "augmix":
        if new.get("default_scope") != "mmpretrain":
            raise BadValue("recipe augmix shifts and shears the picture: for classifiers only; prime keeps boxes right")
        pillow = dict(type="NumpyToPIL", to_rgb=True)
        _insert(new, [pillow, dict(type="torchvision/AugMix"), dict(type="PILToNumpy", to_bgr=True)])
    new.rtx_hardening = hardening.card()
    log.info("hardening: %s", ", ".join(f"{name} {value}" for name, value in hardening.card().items()))
    return new


def _insert(cfg: Config, steps: list[dict[str, Any]]) -> None:
    """Put steps behind everything but packing, in every training pipeline, in place."""
    dataset = cfg.train_dataloader.dataset
    while "pipeline" not in dataset and "dataset" in dataset:
        dataset = dataset.dataset
    pipeline = list(dataset.get("pipeline") or [])
    if not pipeline or not str(pipeline[-1].get("type", "")).startswith("Pack"):
        raise BadValue("the training pipeline does not end with a step that packs; there is no place for the recipe's")
    dataset.pipeline = [*pipeline[:-1], *steps, pipeline[-1]]


@HOOKS.register_module()
class TrainUnderAttack(Hook):
    """Perturbs each batch in front of its training step: recipes `pgd`, `free` and `gaussian`.

    The perturbation is one of the picture, in [0, 1], in front of the model's preprocessing. The network is attacked in
    evaluation mode and trained in training mode, as by Salman et al. (2020). Under AMP the attack runs autocast too.

    Args:
        hardening: fields of `Hardening`.
    """

    priority = "VERY_HIGH"

    def __init__(self, hardening: Mapping[str, Any]) -> None:
        self.hardening = Hardening(**hardening)
        self.attack = self.hardening.attack()
        self.deltas: list[Tensor] = []
        self.pixels: list[Tensor] = []

    def before_train(self, runner: Any) -> None:
        """Let free training see each batch several times."""
        if self.hardening.recipe != "free":
            return
        loop = runner.train_loop
        loop.dataloader = Replayed(loop.dataloader, self.hardening.replays)
        if hasattr(loop, "dataloader_iterator"):  # a schedule of steps: each replay is one of them
            loop.dataloader_iterator = _endless(loop.dataloader)
        else:
            loop._max_iters *= self.hardening.replays

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Replace the images of the batch by perturbed ones."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        device = device_of(model)
        pixels = [image.to(device).float() / 255 for image in data_batch["inputs"]]
        seed = torch.initial_seed() % 2**31 + 7919 * runner.iter
        if self.hardening.recipe == "gaussian":
            moved = [image + self._noise(image, seed + n) for n, image in enumerate(pixels)]
        elif self.hardening.recipe == "pgd":
            moved = self._attacked(runner, model, pixels, data_batch["data_samples"], seed)
        else:
            self.pixels = pixels
            old = self.deltas
            self.deltas = [
                (old[n].detach() if n < len(old) and old[n].shape == image.shape else torch.zeros_like(image))
                for n, image in enumerate(pixels)
            ]
            # A perturbation that is carried over to other images must keep these in the pixel range, too.
            self.deltas = [
                clip(image[None], delta[None], self.attack.threat)[0].requires_grad_()
                for image, delta in zip(pixels, self.deltas, strict=True)
            ]
            moved = [image + delta for image, delta in zip(pixels, self.deltas, strict=True)]
        moved = [image * 255 for image in moved]
        data_batch["inputs"] = torch.stack(moved) if isinstance(data_batch["inputs"], Tensor) else moved

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Free training: move the perturbations on by the gradient that the step has left."""
        for n, (image, delta) in enumerate(zip(self.pixels, self.deltas, strict=True)):
            if delta.grad is None:
                raise BadValue(
                    "free training: the loss has no gradient to the pixels; the model's preprocessing must not detach "
                    "them (batch augmentations may)"
                )
            step = self.attack.threat.eps * self.attack.threat.steepest(delta.grad[None].nan_to_num(0, 0, 0))
            self.deltas[n] = clip(image[None], delta.detach()[None] + step, self.attack.threat)[0]
        self.pixels = []

    def _noise(self, image: Tensor, seed: int) -> Tensor:
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed)).to(image)
        return clip(image[None], noise[None], self.attack.threat)[0]

    def _attacked(self, runner: Any, model: Any, pixels: list[Tensor], samples: Any, seed: int) -> list[Tensor]:
        loss = usual_losses(kind_of(model))[0] if kind_of(model) != "segmenter" else "ce"
        dtype = getattr(runner.optim_wrapper, "cast_dtype", None) or torch.float16
        amp = hasattr(runner.optim_wrapper, "loss_scaler")
        autocast = torch.autocast(device_of(model).type, dtype) if amp else nullcontext()
        moved = list(pixels)
        with frozen(model), autocast:
            for group in groups(model, pixels):
                aim = objective(model, [samples[n] for n in group], loss, seed=seed)
                found = self.attack(aim, torch.stack([pixels[n] for n in group]), [seed + n for n in group])
                for n, image in zip(group, found.images, strict=True):
                    moved[n] = image
        return moved


class Replayed:
    """A data loader that gives each batch several times.

    Args:
        loader: the data loader.
        times: how often.
    """

    def __init__(self, loader: Any, times: int) -> None:
        self.loader, self.times = loader, times

    def __len__(self) -> int:
        """How many batches it gives."""
        return len(self.loader) * self.times

    def __iter__(self) -> Iterator[Any]:
        """Copies of each batch, so that what is put into one does not come back."""
        for batch in self.loader:
            for _ in range(self.times):
                yield dict(batch)

    def __getattr__(self, name: str) -> Any:
        """What mmengine asks of a data loader: its data set, its sampler."""
        return getattr(self.loader, name)


def _endless(loader: Any) -> Iterator[Any]:
    from mmengine.runner.loops import _InfiniteDataloaderIterator

    return _InfiniteDataloaderIterator(loader)
