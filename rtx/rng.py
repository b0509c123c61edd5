"""Random generators that depend on what is corrupted, never on who does it or when.

The key of a generator is (seed, image, corruption, severity): the number of workers, the batch size, the order of the
images, the rank and the machine cannot change a pixel. Philox is counter-based and specified to the bit by NumPy.
"""

from __future__ import annotations

import hashlib

import numpy as np

from rtx.errors import BadValue
from rtx.types import Condition


def image_rng(seed: int, image_id: str, condition: Condition) -> np.random.Generator:
    """A generator for one image under one condition.

    Args:
        seed: the run's corruption seed, any whole number from 0 to 2**63 - 1.
        image_id: what names the image in its data set, independent of where the data lies; rtx uses the file stem.
        condition: the corruption and severity.

    Raises:
        BadValue: the seed is no such number.

    Example:
        >>> a = image_rng(0, "000000000139", Condition("fog", 3)).integers(1000, size=3)
        >>> b = image_rng(0, "000000000139", Condition("fog", 3)).integers(1000, size=3)
        >>> bool((a == b).all())
        True
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
        raise BadValue(f"corruption seed {seed!r}: must be a whole number from 0 to 2**63 - 1")
    # Lengths in front keep ("a", "b_c") and ("a_b", "c") apart.
    parts = (str(int(seed)), image_id, condition.corruption, str(condition.severity))
    text = "".join(f"{len(part)}:{part}" for part in parts)
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=16, person=b"rtx.image_rng.v1").digest()
    key = np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
