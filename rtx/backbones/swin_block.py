"""The modules of a Swin transformer; feature maps are (N, H, W, C) throughout."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from rtx.sources.keys.swin import position_index

MASKED = -100.0


class PatchEmbed(nn.Module):
    """4x4 patches to `width` channels, the image padded at its right and bottom to whole patches."""

    def __init__(self, width: int) -> None:
        """Build the projection and its norm."""
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=4, stride=4)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Image (N, 3, H, W) to (N, H/4, W/4, C)."""
        height, width = x.shape[2:]
        x = functional.pad(x, (0, -width % 4, 0, -height % 4))
        embedded: Tensor = self.norm(self.proj(x).permute(0, 2, 3, 1))
        return embedded


class PatchMerging(nn.Module):
    """2x2 neighbours to one position of twice the width; odd sides are padded."""

    def __init__(self, width: int) -> None:
        """Build the reduction and its norm."""
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to (N, H/2, W/2, 2C)."""
        x = functional.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        # The original order: down the column first.
        corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        merged: Tensor = self.reduction(self.norm(torch.cat(corners, dim=-1)))
        return merged


class WindowAttention(nn.Module):
    """Multi-head attention inside windows, with a learned bias for each relative position."""

    relative_position_index: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        """Build projections, table and index."""
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        # Follows from the window alone, so it is not saved.
        self.register_buffer("relative_position_index", position_index(window), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Attend inside each window.

        Args:
            x: (N, windows, positions, C).
            mask: (windows, positions, positions) added to the scores, or None.
        """
        n, windows, positions, width = x.shape
        qkv = self.qkv(x).reshape(n, windows, positions, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5)
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        scores = bias.view(positions, positions, self.heads).permute(2, 0, 1)
        if mask is not None:
            scores = scores + mask[:, None]
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=scores.to(query.dtype))
        projected: Tensor = self.proj(attended.transpose(2, 3).reshape(n, windows, positions, width))
        return projected


class SwinBlock(nn.Module):
    """(Shifted) window attention and an MLP, each behind a norm and around a skip."""

    def __init__(
        self, width: int, heads: int, window: int, *, shifted: bool, drop_path: float, shift_single: bool = True
    ) -> None:
        """Build the layers; `shift_single`: shift the windows of a map that is no larger than one of them too."""
        super().__init__()
        from torchvision.ops import StochasticDepth

        self.window = window
        self.shift_single = shift_single
        self.shift = window // 2 if shifted else 0
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.norm2 = nn.LayerNorm(width)
        layers = {"fc1": nn.Linear(width, 4 * width), "gelu": nn.GELU(), "fc2": nn.Linear(4 * width, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))
        self.drop_path = StochasticDepth(drop_path, mode="row")

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to the same."""
        x = x + self.drop_path(self._attend(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _attend(self, x: Tensor) -> Tensor:
        n, height, width, channels = x.shape
        w = self.window
        # Padding is not masked: the original detection code lets windows see the zeros, and weights expect it.
        x = functional.pad(x, (0, 0, 0, -width % w, 0, -height % w))
        rows, columns = x.shape[1] // w, x.shape[2] // w
        mask = None
        shift = self.shift if self.shift_single or min(height, width) > w else 0
        if shift:
            x = torch.roll(x, (-shift, -shift), (1, 2))
            mask = _shift_mask(rows * w, columns * w, w, shift, x)
        windows = x.view(n, rows, w, columns, w, channels).transpose(2, 3).reshape(n, rows * columns, w * w, channels)
        windows = self.attn(windows, mask)
        x = windows.view(n, rows, columns, w, w, channels).transpose(2, 3).reshape(n, rows * w, columns * w, channels)
        if shift:
            x = torch.roll(x, (shift, shift), (1, 2))
        return x[:, :height, :width]


def _shift_mask(height: int, width: int, window: int, shift: int, like: Tensor) -> Tensor:
    """Scores to add so that positions that were neighbours only by the roll do not see each other."""
    regions = [
        torch.arange(side, device=like.device).ge(side - window).long()
        + torch.arange(side, device=like.device).ge(side - shift).long()
        for side in (height, width)
    ]
    region = 3 * regions[0][:, None] + regions[1][None, :]
    flat = region.view(height // window, window, width // window, window).transpose(1, 2).reshape(-1, window * window)
    apart = flat[:, None] != flat[:, :, None]
    return torch.where(apart, MASKED, 0.0).to(like.dtype)
