"""Engines: which code makes the pixels, by a name that goes into every protocol card.

The pixels of imagecorruptions-imaug are made to depend on nothing but the generator that is passed in. Thirteen of its
corruptions draw from NumPy's global state, `impulse_noise` and `glass_blur` from generators of their own that ignore it
and take a `seed` instead. Both are seeded here with one number from `rng`, and the global state is put back afterwards,
so that nothing outside can change a pixel and no pixel can change anything outside.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rtx.corruptions.names import BENCHMARK, HELD_OUT
from rtx.errors import BadValue, MissingDependency
from rtx.types import Condition

PACKAGE = "imagecorruptions-imaug"
_OWN_SEED = frozenset({"impulse_noise", "glass_blur"})
# NumPy's legacy state is global to the process, so two threads must not corrupt at once.
_LOCK = threading.Lock()

Image = NDArray[np.uint8]
Engine = Callable[[Image, Condition, np.random.Generator], Image]


def own(image: Image, condition: Condition, rng: np.random.Generator, *, cifar10c: bool = False) -> Image:
    """Apply a kernel of rtx.

    Args:
        image: RGB uint8 (H, W, 3), both sides at least 32.
        condition: a corruption at severity 1 to 5.
        rng: where every random number comes from.
        cifar10c: the constants of CIFAR-10-C, tuned for 32 x 32 pixels, in place of ImageNet-C's.
    """
    # Imported here: numba costs half a second that `import rtx.corruptions` should not.
    from rtx.corruptions.kernels import KERNELS

    kernel = KERNELS[condition.corruption]
    return kernel(np.ascontiguousarray(image), int(condition.severity), rng, cifar10c=cifar10c)


def reference(image: Image, condition: Condition, rng: np.random.Generator) -> Image:
    """Corrupt with the reference package.

    Args:
        image: RGB uint8 (H, W, 3), both sides at least 32.
        condition: a corruption at severity 1 to 5.
        rng: one 32-bit seed is drawn from it.

    Raises:
        BadValue: the package does not have this corruption.
        MissingDependency: imagecorruptions-imaug is not installed or another package took its folder.
    """
    if condition.corruption not in (*BENCHMARK, *HELD_OUT):
        raise BadValue(f"corruption engine 'imagecorruptions' has no {condition.corruption!r}; use the engine 'rtx'")
    try:
        from imagecorruptions import corrupt as reference_corrupt
    except Exception as error:
        raise MissingDependency(
            f"corruption engine 'imagecorruptions': {PACKAGE} does not import ({type(error).__name__}: {error}); "
            f"run: pip uninstall -y imagecorruptions && pip install --force-reinstall --no-deps {PACKAGE}==1.1.5"
        ) from error
    seed = int(rng.integers(2**32, dtype=np.uint32))
    options = {"seed": seed} if condition.corruption in _OWN_SEED else {}
    with _LOCK:
        state = np.random.get_state()
        np.random.seed(seed)
        try:
            out = reference_corrupt(image, severity=condition.severity, corruption_name=condition.corruption, **options)
        finally:
            np.random.set_state(state)
    return np.ascontiguousarray(out, dtype=np.uint8)


ENGINES: dict[str, Engine] = {
    "rtx": own,
    "rtx-cifar10c": partial(own, cifar10c=True),
    "imagecorruptions": reference,
}
