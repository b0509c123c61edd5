"""How an image is written down while it is optimised: as pixels, as a spectrum, or as the phase of one.

    fourier   pixels = sigmoid(C irfft2(s * w)),   w = 1 / max(f, 1 / side)           (Olah et al., 2017)
    maco      pixels = sigmoid(C z),   z = irfft2(r exp(i phi)) to mean 0, deviation 1  (Fel et al., 2023)

s and phi are optimised; C (3, 3) is the root of the covariance of ImageNet's colours (of the code of Olah et al.), f
(H, W / 2 + 1) the frequency in cycles a pixel, r (3, H, W / 2 + 1) a fixed magnitude: w, or the mean of natural images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

COLOURS = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
_COLOURS = COLOURS / COLOURS.norm(dim=0).max()
_EDGE = 0.02  # pixels nearer than this to black or white are moved away, since a sigmoid reaches neither


def falloff(height: int, width: int) -> Tensor:
    """1 / f of each frequency of a real image, (H, W / 2 + 1); the constant part counts as the lowest frequency."""
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
    return 1 / (rows**2 + columns**2).sqrt().clamp_min(1 / max(height, width))


def coloured(planes: Tensor) -> Tensor:
    """Decorrelated planes (N, 3, H, W) of any size of value as pixels in [0, 1]."""
    return torch.einsum("ij,njhw->nihw", _COLOURS.to(planes), planes).sigmoid()


def planes_of(images: Tensor) -> Tensor:
    """The inverse of `coloured`, up to what a sigmoid cannot reach."""
    inverse = torch.linalg.inv(_COLOURS.double()).to(images)
    return torch.einsum("ij,njhw->nihw", inverse, images.clamp(_EDGE, 1 - _EDGE).logit())


class Fourier(nn.Module):
    """Images by their spectrum, scaled so that all frequencies learn at the pace that natural images have them.

    Args:
        start: images (N, 3, H, W) to begin with; None for small random spectra, as published.
        shape: (N, 3, H, W).
        generator: of the random spectra.
    """

    def __init__(self, start: Tensor | None, shape: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        n, _, self.height, self.width = shape
        self.scale = falloff(self.height, self.width) * math.sqrt(self.height * self.width) / 4
        if start is None:  # one image's, for all: what is looked for differs, and nothing else
            begun = 0.01 * torch.randn(1, 3, self.height, self.width // 2 + 1, 2, generator=generator)
            begun = begun.expand(n, *begun.shape[1:]).clone()
        else:
            begun = torch.view_as_real(torch.fft.rfft2(planes_of(start.cpu().float())) / self.scale)
        self.spectrum = nn.Parameter(begun)

    def forward(self) -> Tensor:
        """The images, in [0, 1]."""
        spectrum = torch.view_as_complex(self.spectrum) * self.scale.to(self.spectrum)
        return coloured(torch.fft.irfft2(spectrum, s=(self.height, self.width)))


class Phase(nn.Module):
    """Images by the phase of their spectrum, whose magnitude is given and stays.

    Args:
        magnitude: (3, H, W / 2 + 1).
        start: images to take the phase of; None for a random one.
        shape: (N, 3, H, W).
        generator: of the random phase.
    """

    magnitude: Tensor

    def __init__(
        self, magnitude: Tensor, start: Tensor | None, shape: Sequence[int], generator: torch.Generator
    ) -> None:
        super().__init__()
        n, _, self.height, self.width = shape
        if start is None:
            phase = math.pi * (2 * torch.rand(1, *magnitude.shape, generator=generator) - 1)
            phase = phase.expand(n, *phase.shape[1:]).clone()
        else:
            phase = torch.fft.rfft2(planes_of(start.cpu().float())).angle()
        self.phase = nn.Parameter(phase)
        self.register_buffer("magnitude", magnitude)

    def planes(self) -> Tensor:
        """The decorrelated planes (N, 3, H, W), of mean 0 and deviation 1 for each image."""
        planes = torch.fft.irfft2(
            torch.polar(self.magnitude.expand_as(self.phase), self.phase), s=(self.height, self.width)
        )
        flat = planes.flatten(1)
        flat = (flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True)
        return flat.view_as(planes)

    def forward(self) -> Tensor:
        """The images, in [0, 1]."""
        return coloured(self.planes())


def mean_magnitude(images: Tensor) -> Tensor:
    """Mean magnitude (3, H, W / 2 + 1) of images (N, 3, H, W), as `Phase` takes it."""
    return torch.fft.rfft2(planes_of(images)).abs().mean(0)
