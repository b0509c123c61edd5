"""The settings that determine the pixels of a corrupted image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtx.corruptions import DEFAULT_ENGINE, ENGINES, corrupt
from rtx.corruptions.memory import empty_like
from rtx.corruptions.registry import Image
from rtx.errors import unknown_name
from rtx.rng import image_rng
from rtx.types import CLEAN, Condition

CHANNEL_ORDERS = ("rgb", "bgr_legacy")


@dataclass(frozen=True)
class Settings:
    """The settings that determine the pixels and the files.

    Attributes:
        engine: a key of `rtx.corruptions.ENGINES`.
        seed: the corruption seed.
        channel_order: `rgb`, or `bgr_legacy` for the order that published detection results were made with.
        quality: of JPEG files; None writes PNG content under every name.
    """

    engine: str = DEFAULT_ENGINE
    seed: int = 0
    channel_order: str = "rgb"
    quality: int | None = 95

    def __post_init__(self) -> None:
        """Refuse an unknown engine or channel order, and a seed that is no whole number from 0."""
        if self.engine not in ENGINES:
            raise unknown_name("corruption engine", self.engine, place="rtx.corruptions.ENGINES", choices=ENGINES)
        if self.channel_order not in CHANNEL_ORDERS:
            raise unknown_name(
                "channel order", self.channel_order, place="rtx.corruptions.settings", choices=CHANNEL_ORDERS
            )
        image_rng(self.seed, "", CLEAN)  # clean images draw nothing: a wrong seed must not be found after them


def corrupt_as(image: Image, condition: Condition, image_id: str, settings: Settings, *, name: str) -> Image:
    """The pixels of an image under a condition, as an evaluation with these settings makes them."""
    rng = image_rng(settings.seed, image_id, condition)
    if settings.channel_order == "rgb":
        return corrupt(image, condition, rng, engine=settings.engine, name=name)
    return turn(corrupt(turn(image), condition, rng, engine=settings.engine, name=name))


def turn(image: Image) -> Image:
    """An image (H, W, 3) with its channels in the other order; anything else as it is, for `corrupt` to refuse.

    OpenCV is 30 times faster here than a copy of a strided array.

    Example:
        >>> turn(np.array([[[1, 2, 3]]], np.uint8)).tolist()
        [[[3, 2, 1]]]
    """
    import cv2  # a report reads settings without OpenCV

    is_image = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=empty_like(image)) if is_image else image
