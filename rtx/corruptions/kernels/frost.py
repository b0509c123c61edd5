"""Frost: a photo of ice crystals, blended in. The six photos are those of the installed imagecorruptions-imaug."""

from __future__ import annotations

import importlib.util
import threading
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from rtx.compiled import compiled
from rtx.corruptions.memory import empty_like
from rtx.corruptions.registry import Image, corruption
from rtx.errors import MissingDependency

# Chosen evenly, as in the reference, though frost2 and frost3 show the same picture.
FILES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg", "frost6.jpg")
# CIFAR-10-C uses the first five files, at a fifth of their size.
CIFAR10C_SCALE, CIFAR10C_TEXTURES = 0.2, 5


class FrostLevel(NamedTuple):
    """Weight of the image, weight of the frost, and the scale of the texture; None fits it to the image."""

    image: float
    frost: float
    scale: float | None = None


class FrostField(NamedTuple):
    """Which texture, and where its crop begins."""

    texture: int
    top: int
    left: int


def _draw_crop(image: Image, level: FrostLevel, rng: np.random.Generator) -> FrostField:
    texture = int(rng.integers(len(FILES) if level.scale is None else CIFAR10C_TEXTURES))
    width, height = scaled_size(texture, image.shape[0], image.shape[1], level.scale)
    # As in the reference, which never takes the last possible crop.
    top = int(rng.integers(height - image.shape[0]))
    left = int(rng.integers(width - image.shape[1]))
    return FrostField(texture, top, left)


@corruption(
    "weather",
    levels=tuple(FrostLevel(*row) for row in ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))),
    cifar10c=tuple(
        FrostLevel(image, frost, CIFAR10C_SCALE)
        for image, frost in ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))
    ),
    draw=_draw_crop,
)
def frost(image: Image, level: FrostLevel, field: FrostField) -> Image:
    """Add the image and a crop of a frost texture, each with its weight."""
    height, width = image.shape[:2]
    ice = _scaled(field.texture, scaled_size(field.texture, height, width, level.scale))
    assert field.top + height <= ice.shape[0] and field.left + width <= ice.shape[1]
    crop = ice.reshape(ice.shape[0], -1)[field.top : field.top + height, 3 * field.left : 3 * (field.left + width)]
    out = empty_like(image)
    _blend(image.reshape(height, -1), crop, float(level.image), float(level.frost), out.reshape(height, -1))
    return out


def scaled_size(texture: int, height: int, width: int, scale: float | None) -> tuple[int, int]:
    """(width, height) to which a texture is scaled: at least a tenth more than the image, however large that is."""
    rows, columns = textures()[texture].shape[:2]
    if scale is not None:
        # Never smaller than the image, should these constants be used on images of more than 32 pixels.
        scale = max(scale, 1.1 * height / rows, 1.1 * width / columns)
        return int(np.ceil(columns * scale)), int(np.ceil(rows * scale))
    # The reference's cases, in its order of operations.
    factor = 1.0
    if rows < height and columns >= width:
        factor = height / rows
    elif rows >= height and columns < width:
        factor = width / columns
    elif rows < height and columns < width:
        factor = max(height / rows, width / columns)
    factor *= 1.1
    return int(np.ceil(columns * factor)), int(np.ceil(rows * factor))


@lru_cache(maxsize=1)
def textures() -> tuple[Image, ...]:
    """The six textures in RGB, read once a process.

    Raises:
        MissingDependency: imagecorruptions-imaug is not installed, or a texture is missing or damaged.
    """
    # Found without importing the package, whose imports take a second.
    spec = importlib.util.find_spec("imagecorruptions")
    if spec is None or spec.origin is None:
        raise MissingDependency(
            "corruption 'frost' needs the textures of imagecorruptions-imaug, which is not installed; "
            "run: pip install imagecorruptions-imaug==1.1.5"
        )
    folder = Path(spec.origin).parent / "frost"
    found = []
    for name in FILES:
        picture = cv2.imread(str(folder / name), cv2.IMREAD_COLOR)
        if picture is None:
            raise MissingDependency(
                f"corruption 'frost': cannot read {folder / name}; run: pip uninstall -y imagecorruptions && "
                "pip install --force-reinstall --no-deps imagecorruptions-imaug==1.1.5"
            )
        found.append(np.ascontiguousarray(picture[..., ::-1]))
    return tuple(found)


_CACHE_BYTES = 48 * 2**20
_cache: OrderedDict[tuple[int, tuple[int, int]], Image] = OrderedDict()
_cache_lock = threading.Lock()


def _scaled(texture: int, size: tuple[int, int]) -> Image:
    """A texture at a size; the latest are cached, 48 MiB in all, because most sets repeat few image sizes."""
    key = (texture, size)
    with _cache_lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    scaled: Image = cv2.resize(textures()[texture], dsize=size, interpolation=cv2.INTER_CUBIC)
    with _cache_lock:
        _cache[key] = scaled
        while len(_cache) > 1 and sum(kept.nbytes for kept in _cache.values()) > _CACHE_BYTES:
            _cache.popitem(last=False)
    return scaled


@compiled
def _blend(image: Image, ice: Image, image_weight: float, ice_weight: float, out: Image) -> None:
    # In doubles, as in the reference: 0.7 * 10 + 0.3 * 10 must be cut where its last bit says.
    for y in range(image.shape[0]):
        row, cold, row_out = image[y], ice[y], out[y]
        for i in range(row.size):
            value = np.float64(row[i]) * image_weight + np.float64(cold[i]) * ice_weight
            row_out[i] = np.uint8(np.int32(min(value, 255.0)))
