"""Engines: which code makes the pixels, by a name that goes into every protocol card.

`imagecorruptions` is the reference package. `rtx` is this one, with three switches that the name spells out:
`-fixed` mends the oddities that `rtx` inherits, `-cifar10c` takes the constants of CIFAR-10-C in place of ImageNet-C's,
and `-jpeg85` saves the result as a JPEG of quality 85, as the files of ImageNet-C are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtx.corruptions import reference
from rtx.types import Condition

Image = NDArray[np.uint8]
Engine = Callable[[Image, Condition, np.random.Generator], Image]

JPEG_AFTER_QUALITY = 85


@dataclass(frozen=True)
class RtxEngine:
    """rtx's own kernels.

    Attributes:
        fixed: mend the inherited oddities, see `docs/protocol.md`.
        cifar10c: the constants of CIFAR-10-C, tuned for 32 x 32 pixels.
        jpeg_after: save as JPEG of quality 85 after the corruption.
    """

    fixed: bool = False
    cifar10c: bool = False
    jpeg_after: bool = False

    @property
    def name(self) -> str:
        """Key in `ENGINES`."""
        switches = (("fixed", self.fixed), ("cifar10c", self.cifar10c), ("jpeg85", self.jpeg_after))
        return "-".join(["rtx", *(word for word, on in switches if on)])

    def __call__(self, image: Image, condition: Condition, rng: np.random.Generator) -> Image:
        """Corrupt.

        Args:
            image: RGB uint8 (H, W, 3), both sides at least 32.
            condition: a corruption at severity 1 to 5.
            rng: where every random number comes from.
        """
        # Imported here: numba costs half a second that `import rtx.corruptions` should not.
        from rtx.corruptions.kernels import KERNELS

        kernel = KERNELS[condition.corruption]
        image = np.ascontiguousarray(image)
        out = kernel(image, condition.severity, rng, fixed=self.fixed, cifar10c=self.cifar10c)
        if self.jpeg_after:
            jpeg = KERNELS["jpeg_compression"]
            out = jpeg.apply(out, JPEG_AFTER_QUALITY, None, self.fixed)
        return out


ENGINES: dict[str, Engine] = {
    **{engine.name: engine for engine in itertools.starmap(RtxEngine, itertools.product((False, True), repeat=3))},
    "imagecorruptions": reference.apply,
}
