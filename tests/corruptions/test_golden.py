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
HARD = {
    "gaussian_noise": "2f197a899a849528",
    "shot_noise": "8f0bf2eee9de68c0",
    "impulse_noise": "0ed17f2ae8e4fcd9",
    "defocus_blur": "286aca43f9b5332e",
    "glass_blur": "18029a8b412e5565",
    "motion_blur": "7beae179f1cb3241",
    "zoom_blur": "4695eaf9c6a4511e",
    "snow": "e9898dc6f6c3eeac",
    "frost": "e0e34a44a3a27777",
    "fog": "b2b8755a28e57950",
    "brightness": "6f9c63ded9bb49d6",
    "contrast": "9a19afb3e2ee83c6",
    "elastic_transform": "1dcfbb67aa926558",
    "pixelate": "9ddab23e11b72974",
    "jpeg_compression": "c8bb8602ac44aae3",
    "speckle_noise": "0f9a7d31bad62f32",
    "gaussian_blur": "019e92ca1ec2f163",
    "spatter": "c94f1b67e92825ef",
    "saturate": "cb2f8fdf460d9fdf",
}
KEY = ["0x9bc39a323162ad29", "0x914da8e010c16cb3"]


def picture() -> NDArray[np.uint8]:
    """Made with whole numbers only, so that it is the same on every machine."""
    y, x = np.mgrid[0:90, 0:131]
    channels = [(2 * x + y) % 256, (x * x // 40 + 3 * y) % 256, np.where((x // 12 + y // 9) % 2, 230, 25)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def hard_pictures() -> list[NDArray[np.uint8]]:
    """Odd sizes, a row of several blocks, plain and nearly plain surfaces, black and white; whole numbers only."""
    y, x = np.mgrid[0:37, 0:193]
    noise = (np.arange(37 * 193 * 3, dtype=np.uint32) * np.uint32(2654435761) >> np.uint32(24)).astype(np.uint8)
    mixed = noise.reshape(37, 193, 3).copy()
    mixed[:20, 40:] = 255
    mixed[20:, 90:] = (7, 130, 254)
    mixed[30:, :60] = 0
    ramp = np.stack([x, x + y, 255 - x], axis=-1).astype(np.uint8)
    return [mixed, ramp, np.full((33, 32, 3), 255, np.uint8), np.zeros((32, 35, 3), np.uint8)]


def digest_of_all(name: str) -> str:
    """Five severities, both tables of constants."""
    pixels = hashlib.blake2b(digest_size=8)
    for image in hard_pictures():
        for engine in ("rtx", "rtx-cifar10c"):
            for severity in range(1, 6):
                condition = Condition(name, severity)
                pixels.update(corrupt(image, condition, image_rng(0, "golden", condition), engine=engine).tobytes())
    return pixels.hexdigest()


def digest(name: str) -> str:
    condition = Condition(name, 3)
    out = corrupt(picture(), condition, image_rng(0, "golden", condition), engine="rtx")
    return hashlib.blake2b(out.tobytes(), digest_size=8).hexdigest()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_all_severities_are_what_they_were_on_hard_pictures(name: str) -> None:
    assert digest_of_all(name) == HARD[name]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severity_3_is_what_it_was(name: str) -> None:
    assert digest(name) == GOLDEN[name]


def test_the_generators_key_is_what_it_was() -> None:
    drawn = image_rng(0, "golden", Condition("fog", 3)).integers(2**64, dtype=np.uint64, size=2)
    assert [hex(int(v)) for v in drawn] == KEY
