"""Where elastic transform smooths its displacements by sliding waves: from about two megapixels on.

Apart from the kernel, since protocol cards say it, and numba is not imported for that.
"""

from __future__ import annotations

from collections.abc import Iterable

SIGMA = 0.01
"""Standard deviation of the smoothing, as a fraction of each side; ImageNet-C's."""
TRUNCATE = 3.0
LEAST_RADIUS = 16
# Where the radii of both ways add up to the first, sliding waves are quicker than sums of weighted rows. Narrower
# images than the second have always been smoothed by sums.
_FAR, _LEAST_WIDTH = 90, 64


def slides(height: int, width: int, sigma: float = SIGMA) -> bool:
    """Whether the displacements of an image of that size are smoothed by sliding waves.

    Example:
        >>> slides(1080, 1920), slides(1000, 1900)
        (True, False)
    """
    radii = [int(TRUNCATE * (sigma * side) + 0.5) for side in (height, width)]
    return sum(radii) >= _FAR and min(radii) >= LEAST_RADIUS and width >= _LEAST_WIDTH


def elastic_slides(engine: str, sizes: Iterable[tuple[int, int]]) -> bool:
    """Whether an engine's elastic transform smooths any image of these (width, height) by sliding waves.

    Example:
        >>> elastic_slides("rtx", [(640, 480), (4000, 3000)]), elastic_slides("imagecorruptions", [(4000, 3000)])
        (True, False)
    """
    if engine == "rtx":
        sigmas = {SIGMA}
    elif engine == "rtx-cifar10c":
        from rtx.corruptions.kernels import KERNELS

        sigmas = {level.sigma for level in KERNELS["elastic_transform"].cifar10c or ()}
    else:
        return False
    return any(slides(height, width, sigma) for width, height in sizes for sigma in sigmas)
