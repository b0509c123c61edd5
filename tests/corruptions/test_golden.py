"""The pixels of the engine `rtx` at severity 3, as hashes: a change of any of them is a change of every number.

frost and spatter go through OpenCV, whose other builds may give other last bits; all else
is arithmetic that is exact everywhere.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from rtx.corruptions import CORRUPTIONS, corrupt
from rtx.rng import image_rng
from rtx.types import Condition

GOLDEN = {
    "gaussian_noise": "4b87d37451450b8d",
    "shot_noise": "9e69c8f6d5be2bdd",
    "impulse_noise": "8a84eace6cc52536",
    "defocus_blur": "590638acced65725",
    "glass_blur": "ca6166a8d68d8960",
    "motion_blur": "3489edc1b25eb1f5",
    "zoom_blur": "703fae1288376603",
    "snow": "e8e703534b1195ce",
    "frost": "4396699fdc12c756",
    "fog": "ee88f06a744a886b",
    "brightness": "32a11ec07a3527b0",
    "contrast": "09d173384bc2db43",
    "elastic_transform": "cdd4de84f27c5c6a",
    "pixelate": "7f7cd82d7e5a6049",
    "jpeg_compression": "18996f5a3904cd3d",
    "speckle_noise": "dbdbc2773d42321a",
    "gaussian_blur": "0c3de0b11eb6745d",
    "spatter": "41211b03f2a9d016",
    "saturate": "55f9fa2453bf3688",
}
KEY = ["0x9bc39a323162ad29", "0x914da8e010c16cb3"]


def picture() -> NDArray[np.uint8]:
    """Made with whole numbers only, so that it is the same on every machine."""
    y, x = np.mgrid[0:90, 0:131]
    channels = [(2 * x + y) % 256, (x * x // 40 + 3 * y) % 256, np.where((x // 12 + y // 9) % 2, 230, 25)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def digest(name: str) -> str:
    condition = Condition(name, 3)
    out = corrupt(picture(), condition, image_rng(0, "golden", condition), engine="rtx")
    return hashlib.blake2b(out.tobytes(), digest_size=8).hexdigest()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severity_3_is_what_it_was(name: str) -> None:
    assert digest(name) == GOLDEN[name]


def test_the_generators_key_is_what_it_was() -> None:
    drawn = image_rng(0, "golden", Condition("fog", 3)).integers(2**64, dtype=np.uint64, size=2)
    assert [hex(int(v)) for v in drawn] == KEY
