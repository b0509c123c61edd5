"""Where elastic transform smooths its displacements by sliding waves: from about two megapixels on.

Apart from the kernel, since protocol cards say it, and numba is not imported for that.
"""

from __future__ import annotations

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
