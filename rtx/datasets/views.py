"""Views: the same data set seen at low resolution or without its high frequencies.

    downscale:32      the short side becomes 32 pixels, the aspect stays (the commented line of Salman et al.'s code)
    downscale:32x32   height x width, the aspect is lost (the text of Salman et al., 2020, section 4.3, and of Utrera et
                      al., 2021, Table 2)
    lowpass:keep32    the lowest 32 x 32 frequencies stay
    lowpass:drop32    the highest 32 x 32 frequencies go
    none              the image as it is

Utrera et al. zero "the top 1,024 (~14%) frequencies" of images of 224 pixels and more. 1,024 is 32 x 32 and 14 % is 32
of 224, so that either low pass may be meant; no code was published. `keep32` is the likelier one.

A view acts on the whole image, right after it is read and before anything resizes or corrupts it, and gives an image of
the same size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from rtx.corruptions.registry import Image
from rtx.errors import BadValue

FORMS = ("none", "downscale:N", "downscale:HxW", "lowpass:keepN", "lowpass:dropN")
_SCALE = re.compile(r"downscale:([1-9]\d*)(?:x([1-9]\d*))?")
_PASS = re.compile(r"lowpass:(keep|drop)([1-9]\d*)")


@dataclass(frozen=True)
class View:
    """What is done to every image of a data set; called with an image, it gives what is seen of it.

    Attributes:
        kind: "none", "downscale", "keep" or "drop".
        size: of "downscale" (short side,) or (height, width) in pixels; else (frequencies along each axis,).

    Example:
        >>> photo = np.full((40, 60, 3), 90, np.uint8)
        >>> View.parse("downscale:32")(photo).shape
        (40, 60, 3)
    """

    kind: str = "none"
    size: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> View:
        """Read one of the forms above.

        Raises:
            BadValue: it is none of them.

        Example:
            >>> View.parse("lowpass:keep32"), str(View.parse("downscale:32x48"))
            (View(kind='keep', size=(32,)), 'downscale:32x48')
        """
        if text == "none":
            return cls()
        if found := _SCALE.fullmatch(text):
            return cls("downscale", tuple(int(side) for side in found.groups() if side))
        if found := _PASS.fullmatch(text):
            return cls(found[1], (int(found[2]),))
        raise BadValue(f"view {text!r}: must be one of {', '.join(FORMS)}, numbers from 1, e.g. downscale:32")

    def __str__(self) -> str:
        """The form that `parse` reads."""
        if self.kind == "none":
            return "none"
        sides = "x".join(map(str, self.size))
        return f"downscale:{sides}" if self.kind == "downscale" else f"lowpass:{self.kind}{sides}"

    def __call__(self, image: Image) -> Image:
        """The view of an image; no argument is changed, and channels are treated alike (RGB or BGR).

        Args:
            image: uint8 (H, W, 3).

        Raises:
            BadValue: the image has another type or shape, or is no larger than the block of frequencies to drop.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise BadValue(f"view {self}: takes uint8 images (H, W, 3), got {image.dtype} {image.shape}")
        if self.kind == "none":
            return image
        return self._smaller(image) if self.kind == "downscale" else self._filtered(image)

    def _smaller(self, image: Image) -> Image:
        """Down to the size and up again, bilinear with antialiasing, as torchvision resizes Pillow's images."""
        height, width = image.shape[:2]
        short = min(height, width)
        wanted = self.size if len(self.size) == 2 else [side * self.size[0] // short for side in (height, width)]
        rows, columns = min(wanted[0], height), min(wanted[1], width)  # an axis that is small already stays
        if (rows, columns) == (height, width):
            return image
        small = Pillow.fromarray(np.ascontiguousarray(image)).resize((columns, rows), Pillow.Resampling.BILINEAR)
        return np.asarray(small.resize((width, height), Pillow.Resampling.BILINEAR))

    def _filtered(self, image: Image) -> Image:
        """The inverse transform of what is left of the spectrum of each channel.

        With k the frequency of an axis in cycles per image and N its pixels, "keep n" keeps |k| < n / 2 on both axes,
        and "drop n" loses |k| > (N - n) / 2 on both axes. A frequency whose mirror lies outside the block goes with it,
        so that the image stays real; n = 32 keeps the 31 x 31 frequencies from -15 to 15.
        """
        height, width = image.shape[:2]
        side = self.size[0]
        if self.kind == "drop" and min(height, width) <= side:
            raise BadValue(
                f"view {self}: an image of {width} x {height} pixels has no frequencies beside the {side} x {side} "
                "that would be dropped; use downscale or keep, or enlarge the images"
            )
        rows, columns = _frequencies(height), _frequencies(width)[: width // 2 + 1]
        if self.kind == "keep":
            left = np.outer(_low(rows, side, height), _low(columns, side, width))
        else:
            left = ~np.outer(rows > (height - side) / 2, columns > (width - side) / 2)
        spectrum = np.fft.rfft2(image, axes=(0, 1)) * left[..., None]
        found = np.fft.irfft2(spectrum, s=(height, width), axes=(0, 1))
        return np.rint(found).clip(0, 255).astype(np.uint8)


def _frequencies(pixels: int) -> NDArray[np.float64]:
    """|k| of an axis, in the order of `numpy.fft`."""
    found: NDArray[np.float64] = np.abs(np.fft.fftfreq(pixels, 1 / pixels)).round()
    return found


def _low(frequencies: NDArray[np.float64], side: int, pixels: int) -> NDArray[np.bool_]:
    return frequencies < side / 2 if side < pixels else np.ones(len(frequencies), bool)
