"""Attacks by projected gradient ascent: PGD with its options, and APGD, which chooses its step sizes by itself.

PGD (Madry et al., 2018; Utrera et al., 2021, A.2), in pixels in [0, 1]:

    delta <- P(delta + a * d),    d = g / |g|_2 (L2) or sign(g) (Linf),    a = step * eps / steps

with P the projection into the ball and the pixel range. Every image is attacked by itself: its gradient, its random
start and the choice among its restarts depend on no other image of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rtx.adversarial.input_gradients import InputGradients
from rtx.adversarial.threat import Threat, clip
from rtx.errors import BadValue, unknown_name

Objective = Callable[[Tensor, float], tuple[Tensor, Tensor]]
"""What an attack raises: (images (N, C, H, W) in [0, 1], share of the steps done) -> (loss (N,), harm (N,)).

The gradient is that of the loss. Harm, without gradient, decides which of the perturbations of an image is the worst
one: for a classifier by how far it is wrong, so that a larger loss of an image that is still right does not count more.
"""
METHODS = ("pgd", "apgd")
KEEP = ("worst", "last")

# APGD (Croce & Hein, 2020, algorithm 1): momentum, share of successful steps, and the checkpoints' spacing.
_ALPHA, _RHO = 0.75, 0.75
_FIRST, _SHRINK, _LEAST = 0.22, 0.03, 0.06


@dataclass(frozen=True)
class Perturbed:
    """What an attack has found.

    Attributes:
        images: the perturbed images, (N, C, H, W), within the threat and within [0, 1].
        harm: of each, (N,); -inf where a single restart keeps its last perturbation unseen.
        flat: bool (N,), images whose gradient was 0 in every step: the attack cannot say that the model withstands it.
    """

    images: Tensor
    harm: Tensor
    flat: Tensor

    def or_worse(self, other: Perturbed) -> Perturbed:
        """For each image the perturbation that does more harm; flat are those that are flat for both."""
        worse = other.harm > self.harm
        images = torch.where(_each(worse), other.images, self.images)
        return Perturbed(images, torch.maximum(self.harm, other.harm), self.flat & other.flat)


@dataclass(frozen=True, kw_only=True)
class Attack:
    """How perturbations are looked for.

    Attributes:
        threat: which are allowed.
        method: `pgd`, or `apgd`, which has no step size and no momentum of its own.
        steps: gradient steps.
        step: the step size in units of eps / steps (2.5 in the code of Utrera et al., 2021; Salman et al., 2020,
            train with 3 steps of 2 / 3 eps, which is 2).
        random_start: begin at a random perturbation instead of none.
        restarts: how often, each from a random start but the first one without `random_start`; the worst is kept.
        momentum: of the normalised gradients (Dong et al., 2018).
        keep: `worst` of all perturbations that were tried, or the `last` of each restart, which costs one pass less.

    Raises:
        BadValue: a number out of range, or several restarts from one start.
        UnknownName: no such method or rule.
    """

    threat: Threat
    method: str = "pgd"
    steps: int = 20
    step: float = 2.5
    random_start: bool = True
    restarts: int = 1
    momentum: float = 0.0
    keep: str = "worst"

    def __post_init__(self) -> None:
        """Refuse what is no attack."""
        if self.method not in METHODS:
            raise unknown_name("attack", self.method, place="rtx.adversarial.attack.METHODS", choices=METHODS)
        if self.keep not in KEEP:
            raise unknown_name("rule", self.keep, place="rtx.adversarial.attack.KEEP", choices=KEEP)
        for name in ("steps", "restarts"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise BadValue(f"{name} {value!r} of an attack: must be a whole number, 1 or more")
        if not self.step > 0:
            raise BadValue(f"step {self.step} of an attack: must be above 0, in units of eps / steps, e.g. 2.5")
        if not 0 <= self.momentum < 1:
            raise BadValue(f"momentum {self.momentum} of an attack: must be 0 or more and below 1")
        if self.restarts > 1 and not self.random_start:
            raise BadValue(f"{self.restarts} restarts without a random start are all the same: allow the random start")

    @property
    def size(self) -> float:
        """The step size, in units of the pixel range."""
        return self.step * self.threat.eps / self.steps

    def __call__(
        self, objective: Objective, images: Tensor, seeds: Sequence[int], names: Sequence[str] = ()
    ) -> Perturbed:
        """Perturb a batch.

        Args:
            objective: see `Objective`; call this within `frozen`, so that nothing but the pixels gets a gradient.
            images: float (N, C, H, W) in [0, 1].
            seeds: of the random starts, one for each image.
            names: what errors call the images.

        Raises:
            BadValue: `images` are no such pixels, the objective does not depend on them, or a loss is not finite.
        """
        if not images.is_floating_point() or images.ndim != 4 or len(seeds) != len(images):
            raise BadValue(
                f"images {images.dtype} {tuple(images.shape)} with {len(seeds)} seeds: an attack takes floats "
                "(N, C, H, W) and a seed for each"
            )
        if images.numel() and not (images.min() >= 0 and images.max() <= 1):
            raise BadValue(
                f"images from {images.min():.3g} to {images.max():.3g}: an attack takes pixels in [0, 1], before they "
                "are normalised"
            )
        search = _Search(self, objective, images.detach(), names)
        for restart in range(self.restarts):
            (_pgd if self.method == "pgd" else _apgd)(search, self._start(images, seeds, restart))
        return Perturbed((search.images + search.delta).clamp(0, 1), search.harm, search.flat)

    def _start(self, images: Tensor, seeds: Sequence[int], restart: int) -> Tensor:
        if not self.random_start:
            return torch.zeros_like(images)
        rows = []
        for image, seed in zip(images, seeds, strict=True):
            # Drawn on the CPU, so that one seed is one start on every device.
            generator = torch.Generator().manual_seed((int(seed) * 1_000_003 + restart) % 2**63)
            rows.append(self.threat.random(image.shape, generator))
        return clip(images, torch.stack(rows).to(images), self.threat)


class _Search:
    """The worst perturbation of each image so far.

    Attributes:
        images: (N, C, H, W).
        delta: the worst perturbation of each.
        harm: what it does, (N,).
        flat: images whose gradient was 0 in every step so far, (N,).
    """

    def __init__(self, attack: Attack, objective: Objective, images: Tensor, names: Sequence[str]) -> None:
        self.attack, self.objective, self.images, self.names = attack, objective, images, names
        self.delta = torch.zeros_like(images)
        self.harm = images.new_full((len(images),), -torch.inf)
        self.flat = torch.ones(len(images), dtype=torch.bool, device=images.device)

    def gradient(self, delta: Tensor, done: float) -> tuple[Tensor, Tensor]:
        """Loss (N,) and its gradient at a perturbation, which is remembered where it is the worst.

        Raises:
            BadValue: the loss is not finite, or has no gradient to the pixels.
        """
        pixels = (self.images + delta).requires_grad_()
        with torch.enable_grad():
            loss, harm = self.objective(pixels, done)
            self._check(loss)
            if not loss.requires_grad:
                raise BadValue(_NO_GRADIENT)
            (gradient,) = torch.autograd.grad(loss.sum(), pixels, allow_unused=True)
        if gradient is None:
            raise BadValue(_NO_GRADIENT)
        gradient = gradient.nan_to_num(0, 0, 0)
        self.flat &= (gradient.flatten(1) == 0).all(dim=1)
        if self.attack.keep == "worst":
            self.offer(delta, harm)
        return loss.detach(), gradient

    def end(self, delta: Tensor) -> None:
        """The last perturbation of a restart."""
        if self.attack.keep == "last" and self.attack.restarts == 1:
            self.delta = delta
            return
        with torch.no_grad():
            loss, harm = self.objective(self.images + delta, 1.0)
        self._check(loss)
        self.offer(delta, harm)

    def offer(self, delta: Tensor, harm: Tensor) -> None:
        """Remember a perturbation where it does more harm than the worst one."""
        worse = harm.detach() > self.harm
        self.harm = torch.where(worse, harm.detach().to(self.harm), self.harm)
        self.delta = torch.where(_each(worse), delta, self.delta)

    def _check(self, loss: Tensor) -> None:
        if loss.shape != (len(self.images),):
            raise BadValue(f"a loss of shape {tuple(loss.shape)} for {len(self.images)} images: give one for each")
        if not (finite := loss.isfinite()).all():
            place = int((~finite).nonzero()[0])
            name = self.names[place] if self.names else f"{place} of the batch"
            raise BadValue(
                f"image {name}: the loss under attack is {loss[place].item()}; a model whose loss is no number cannot "
                "be attacked by gradients (without --amp it may be finite)"
            )


_NO_GRADIENT = (
    "the loss has no gradient to the pixels (a step of the model is not differentiable, or it works on a copy without "
    "gradient), so that no attack by gradients can judge the model"
)


def _each(values: Tensor) -> Tensor:
    """(N,) -> (N, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def _pgd(search: _Search, delta: Tensor) -> None:
    """One restart of projected gradient ascent from `delta`."""
    attack = search.attack
    moment = torch.zeros_like(delta)
    for n in range(attack.steps):
        _, gradient = search.gradient(delta, n / attack.steps)
        if attack.momentum:
            gradient = moment = attack.momentum * moment + gradient / _each(
                gradient.flatten(1).abs().mean(dim=1).clamp_min(1e-30)
            )
        delta = clip(search.images, delta + attack.size * attack.threat.steepest(gradient), attack.threat)
    search.end(delta)


def _apgd(search: _Search, delta: Tensor) -> None:
    """One restart of Auto-PGD (Croce & Hein, 2020, algorithm 1) from `delta`.

    Each image has a step size of its own, 2 eps at first. At checkpoints that come closer and closer it is halved, and
    the search goes back to the image's best point, where fewer than 0.75 of the steps since the last checkpoint raised
    the loss, or where neither step size nor best loss has changed since.
    """
    attack, images = search.attack, search.images
    size = images.new_full((len(images),), 2 * attack.threat.eps)
    loss, gradient = search.gradient(delta, 0.0)
    best_loss, best, best_gradient = loss, delta, gradient
    at_checkpoint, halved = best_loss, torch.ones_like(size, dtype=torch.bool)
    rises, since = torch.zeros_like(size), 0
    before, spacing = delta, max(int(_FIRST * attack.steps), 1)
    for n in range(attack.steps):
        step = clip(images, delta + _each(size) * attack.threat.steepest(gradient), attack.threat)
        if n:
            step = clip(images, delta + _ALPHA * (step - delta) + (1 - _ALPHA) * (delta - before), attack.threat)
        before, delta = delta, step
        if n == attack.steps - 1:
            break
        last_loss = loss
        loss, gradient = search.gradient(delta, (n + 1) / attack.steps)
        better = loss > best_loss
        best_loss = torch.where(better, loss, best_loss)
        best, best_gradient = (
            torch.where(_each(better), new, old) for new, old in ((delta, best), (gradient, best_gradient))
        )
        rises, since = rises + (loss > last_loss), since + 1
        if since == spacing:
            stuck = ~halved & (at_checkpoint >= best_loss)
            halve = (rises < _RHO * since) | stuck
            size = torch.where(halve, size / 2, size)
            delta, gradient = (
                torch.where(_each(halve), old, now) for old, now in ((best, delta), (best_gradient, gradient))
            )
            before = torch.where(_each(halve), delta, before)
            loss = torch.where(halve, best_loss, loss)
            at_checkpoint, halved = best_loss, halve
            rises, since = torch.zeros_like(size), 0
            spacing = max(spacing - max(int(_SHRINK * attack.steps), 1), max(int(_LEAST * attack.steps), 1))
    search.end(delta)


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode and without gradients of its weights; afterwards each module as it was.

    Batch-norm statistics stay as they are, and what a pass keeps for gradients of weights is not kept: an attack needs
    those of the pixels alone (Salman et al., 2020, likewise attack the network in evaluation mode).
    """
    training = [(module, module.training) for module in model.modules()]
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    model.eval()
    for weight in trainable:
        weight.requires_grad_(False)
    try:
        with InputGradients():
            yield
    finally:
        for weight in trainable:
            weight.requires_grad_()
        for module, mode in training:
            module.training = mode
