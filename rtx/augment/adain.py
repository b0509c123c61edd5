"""Arbitrary style transfer by adaptive instance normalisation (Huang & Belongie, 2017), with weights of the user's.

The networks and files are those of the authors' PyTorch port (naoto0804/pytorch-AdaIN): `vgg_normalised.pth`, of which
everything up to relu4_1 is used, and `decoder.pth`. Geirhos et al. (2019) made Stylized-ImageNet with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rtx.errors import BadValue, WeightsError
from rtx.sources.reading.read import read_checkpoint

_ENCODER = (3, 64, 64, "pool", 128, 128, "pool", 256, 256, 256, 256, "pool", 512)
_DECODER = (256, "up", 256, 256, 256, 128, "up", 128, 64, "up", 64, 3)
STRIDE = 8
"""Of the encoder: sides are padded to multiples of it."""
LEAST = 16
"""Pixels: the shortest side that reflection padding can be applied to."""


def encoder() -> nn.Sequential:
    """Images (N, 3, H, W) in [0, 1] -> relu4_1 (N, 512, H / 8, W / 8)."""
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1)]
    before = 3
    for width in _ENCODER[1:]:
        if isinstance(width, str):
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
            continue
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(before, width, 3), nn.ReLU()]
        before = width
    return nn.Sequential(*layers)


def decoder() -> nn.Sequential:
    """relu4_1 -> images, not clipped."""
    layers: list[nn.Module] = []
    before = 512
    for width in _DECODER:
        if isinstance(width, str):
            layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
            continue
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(before, width, 3), nn.ReLU()]
        before = width
    return nn.Sequential(*layers[:-1])


def load(network: nn.Sequential, path: Path) -> nn.Sequential:
    """The network with the weights of a file, in evaluation mode; layers of the file behind its last one are left out.

    Raises:
        WeightsError: no such file, or one that is not of this network.
    """
    content = read_checkpoint(path)
    own = network.state_dict()
    state = {key: content[key] for key in own if isinstance(content, Mapping) and isinstance(content.get(key), Tensor)}
    wrong = [key for key, value in own.items() if key not in state or state[key].shape != value.shape]
    if wrong:
        raise WeightsError(
            f"{path}: no weights of AdaIN's networks ({wrong[0]} is missing or of another shape); give "
            "vgg_normalised.pth as --encoder and decoder.pth as --decoder, of pytorch-AdaIN"
        )
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise WeightsError(f"{path}: holds numbers that are not finite; the file is damaged")
    network.load_state_dict(state)
    return network.eval()


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over positions, (N, C, 1, 1), as the port computes them."""
    var, mean = torch.var_mean(features, (2, 3), keepdim=True)  # of a sample, with 1e-5 against division by zero
    return mean, (var + 1e-5).sqrt()


class Stylist:
    """Gives an image the style of another one.

    Args:
        encoder, decoder: files with the weights.
        alpha: how much of the style, from 0 (the decoder's reconstruction) to 1.
        device: where it is computed.

    Raises:
        BadValue: alpha is no share.
        WeightsError: see `load`.
    """

    def __init__(self, encoder_file: Path, decoder_file: Path, *, alpha: float = 1.0, device: str = "cpu") -> None:
        if not 0 <= alpha <= 1:
            raise BadValue(f"--strength {alpha}: must be from 0 to 1")
        self.alpha, self.device = alpha, device
        self.encoder = load(encoder(), encoder_file).to(device)
        self.decoder = load(decoder(), decoder_file).to(device)

    @torch.inference_mode()
    def style(self, image: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """What a style image (H, W, 3) RGB is: `moments` of its features.

        Raises:
            BadValue: it is too small.
        """
        return moments(self.encoder(self._tensor(image)))

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8], style: tuple[Tensor, Tensor]) -> NDArray[np.uint8]:
        """An image (H, W, 3) RGB in that style, of the same size.

        Raises:
            BadValue: it is too small.
        """
        height, width = image.shape[:2]
        x = nn.functional.pad(self._tensor(image), (0, -width % STRIDE, 0, -height % STRIDE), mode="reflect")
        features = self.encoder(x)
        mean, deviation = moments(features)
        wanted = (features - mean) / deviation * style[1] + style[0]
        found = self.decoder(self.alpha * wanted + (1 - self.alpha) * features)[0, :, :height, :width]
        return (found.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()

    def _tensor(self, image: NDArray[np.uint8]) -> Tensor:
        height, width = image.shape[:2]
        if min(height, width) < LEAST:
            raise BadValue(f"{width}x{height} pixels: style transfer needs {LEAST} or more on each side")
        return torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None].float() / 255
