"""The search for images: normalised gradient steps of pixels within an L2 ball, or Adam on a spectrum or a phase."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rtx.adversarial.threat import L2, clip
from rtx.errors import BadValue, unknown_name
from rtx.visualise.parametrisations import Fourier, Phase, falloff

Score = Callable[[Tensor], Tensor]
"""Images (N, 3, H, W) in [0, 1] -> what is to rise, (N,)."""
METHODS = ("pixels", "fourier", "maco")
_STEPS = {"pixels": 1000, "fourier": 512, "maco": 256}
_SIZES = {"pixels": 2.0, "fourier": 0.05, "maco": 1.0}
_SHIFT, _ZOOM, _TURN = 1 / 16, 0.1, 5.0  # of a side; relative; degrees
_CROPS, _CROP, _NOISE = 4, (0.5, 0.95), 0.08


@dataclass(frozen=True)
class Search:
    """How images are looked for.

    Attributes:
        method: `pixels`: x <- P(x + step g / |g|), as Utrera et al. (2021, A.1), for robust networks; `fourier`: Adam
            on a spectrum with decorrelated colours under random shifts, sizes and turns (Olah et al., 2017); `maco`:
            NAdam on the phase of a fixed magnitude under random crops and noise (Fel et al., 2023).
        steps: gradient steps; None for 1000 (of the paper), 512 or 256.
        step: of pixels the L2 length of a step, else the learning rate; None for 2 (of the paper), 0.05 or 1.
        eps: radius of the L2 ball around the start; of pixels alone.
        moved: whether images are seen under random changes; never of pixels.
        seed: of these, of random spectra and phases.

    Raises:
        UnknownName: no such method.
        BadValue: a number that is not above 0.
    """

    method: str = "pixels"
    steps: int | None = None
    step: float | None = None
    eps: float = 1000.0
    moved: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be searched."""
        if self.method not in METHODS:
            raise unknown_name("method", self.method, place="rtx/visualise/search.py", choices=METHODS)
        object.__setattr__(self, "steps", _STEPS[self.method] if self.steps is None else self.steps)
        object.__setattr__(self, "step", _SIZES[self.method] if self.step is None else self.step)
        for name, value in (("steps", self.steps), ("step", self.step), ("eps", self.eps)):
            if value is None or not 0 < value < math.inf:
                raise BadValue(f"--{name} {value}: must be above 0")


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search has found.

    Attributes:
        pixels: (N, 3, H, W) in [0, 1]: the best of all steps, or the last where images were seen under random changes.
        before: scores (N,) of the start.
        after: scores (N,) of `pixels`.
    """

    pixels: Tensor
    before: Tensor
    after: Tensor


def search(
    score: Score,
    how: Search,
    start: Tensor,
    *,
    from_noise: bool,
    magnitude: Tensor | None = None,
    say: Callable[[int, float], None] = lambda step, mean: None,
) -> SearchResult:
    """Look for images with a high score.

    Args:
        score: is to rise; of each image by itself.
        how: see `Search`.
        start: (N, 3, H, W) in [0, 1], on the device of the network.
        from_noise: the start is noise, in whose place spectra and phases have random ones of their own.
        magnitude: of `maco`, (3, H, W / 2 + 1); None for 1 / f.
        say: told of the number of steps done and the mean score, ten times.

    Raises:
        BadValue: a score is not finite.
    """
    assert how.steps is not None and how.step is not None
    generator = torch.Generator().manual_seed(how.seed)
    if how.method == "pixels":
        moves: _Ball | _Written = _Ball(start, L2(how.eps), how.step)
    else:
        moves = _Written(how, None if from_noise else start, start, magnitude, generator)
    still = how.method == "pixels" or not how.moved
    best, before, after = start, torch.empty(0), torch.full((len(start),), -math.inf, device=start.device)
    for number in range(how.steps + 1):
        images, last = moves.images(), number == how.steps
        with torch.no_grad() if last else torch.enable_grad():
            found = score(images if last or still else _moved(images, how, generator)).view(-1, len(start)).mean(0)
        if not torch.isfinite(found).all():
            raise BadValue(f"the score of step {number} is not finite; take a smaller --step")
        if number == 0:
            before = found.detach() if still else _plainly(score, images)
        if still or last:  # under random changes scores of steps do not compare: the last image is taken
            better = (found.detach() >= after) | torch.full_like(after, not still, dtype=torch.bool)
            best = torch.where(better.view(-1, 1, 1, 1), images.detach(), best)
            after = torch.where(better, found.detach(), after)
        if number and number % max(1, how.steps // 10) == 0:
            say(number, float(found.detach().mean()))
        if not last:
            moves.step(found)
    return SearchResult(best, before, after)


@torch.no_grad()
def _plainly(score: Score, images: Tensor) -> Tensor:
    return score(images.detach())


class _Ball:
    """Steps of one length along the normalised gradient, back into the ball and the range of pixels."""

    def __init__(self, start: Tensor, ball: L2, step: float) -> None:
        self.start, self.ball, self.size = start, ball, step
        self.delta = torch.zeros_like(start)

    def images(self) -> Tensor:
        self.now = (self.start + self.delta).requires_grad_()
        return self.now

    def step(self, found: Tensor) -> None:
        (gradient,) = torch.autograd.grad(found.sum(), self.now)
        with torch.no_grad():
            self.delta = clip(self.start, self.delta + self.size * self.ball.steepest(gradient), self.ball)


class _Written:
    """A spectrum or a phase under Adam or NAdam."""

    def __init__(
        self, how: Search, begun: Tensor | None, start: Tensor, magnitude: Tensor | None, generator: torch.Generator
    ) -> None:
        assert how.step is not None
        shape = tuple(start.shape)
        if how.method == "fourier":
            self.written: torch.nn.Module = Fourier(begun, shape, generator).to(start.device)
            self.optimizer: torch.optim.Optimizer = torch.optim.Adam(self.written.parameters(), how.step)
        else:
            fixed = falloff(*shape[2:]).expand(3, -1, -1) if magnitude is None else magnitude.cpu()
            self.written = Phase(fixed, begun, shape, generator).to(start.device)
            self.optimizer = torch.optim.NAdam(self.written.parameters(), how.step)

    def images(self) -> Tensor:
        found: Tensor = self.written()
        return found

    def step(self, found: Tensor) -> None:
        self.optimizer.zero_grad()
        (-found.sum()).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


def _moved(images: Tensor, how: Search, generator: torch.Generator) -> Tensor:
    """Images as they are seen in a step; all of them under the same changes, so that none depends on the others."""
    if how.method == "fourier":
        return _under(images, generator, zoom=_ZOOM, turn=_TURN, shift=_SHIFT)
    parts = []
    for _ in range(_CROPS):
        low, high = _CROP
        size = low + (high - low) * _uniform(generator)
        noise = torch.randn(images.shape[1:], generator=generator).to(images)
        across, down = ((1 - size) * (2 * _uniform(generator) - 1) for _ in range(2))
        parts.append(_seen(images, size, 0.0, across, down) + _NOISE * noise)
    return torch.cat(parts)


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def _under(images: Tensor, generator: torch.Generator, *, zoom: float, turn: float, shift: float) -> Tensor:
    around = [2 * _uniform(generator) - 1 for _ in range(4)]
    return _seen(images, 1 + zoom * around[0], turn * around[1], 2 * shift * around[2], 2 * shift * around[3])


def _seen(images: Tensor, size: float, degrees: float, across: float, down: float) -> Tensor:
    """A part of that relative size, turned and shifted (in halves of a side), as large as the images."""
    cos, sin = (size * f(math.radians(degrees)) for f in (math.cos, math.sin))
    matrix = torch.tensor([[cos, -sin, across], [sin, cos, down]])
    grid = functional.affine_grid(matrix.to(images).expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def activation(layer: Callable[[Tensor], Tensor], units: Tensor) -> Score:
    """The mean over positions of a unit for each image, in turn where there are more images than units."""

    def score(images: Tensor) -> Tensor:
        chosen = units.to(images.device).repeat(len(images) // len(units))
        outputs = layer(images)
        return outputs[torch.arange(len(images), device=images.device), chosen].mean(1)

    return score


def nearness(layer: Callable[[Tensor], Tensor], wanted: Tensor, variation: float = 0.0) -> Score:
    """Minus the distance |f(x) - f| / |f| to wanted outputs (N, units, positions) (Engstrom et al., 2019, section 4).

    `variation` weighs the mean absolute difference of neighbouring pixels, the prior of Mahendran & Vedaldi (2015).
    """
    size = wanted.flatten(1).norm(dim=1).clamp_min(1e-12)

    def score(images: Tensor) -> Tensor:
        times = len(images) // len(wanted)
        away = (layer(images) - wanted.repeat(times, 1, 1)).flatten(1).norm(dim=1) / size.repeat(times)
        if variation:
            rough = sum(images.diff(dim=axis).abs().flatten(1).mean(1) for axis in (2, 3))
            away = away + variation * rough
        return -away

    return score
