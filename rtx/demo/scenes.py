"""Rendered scenes with exact boxes and masks: data for the demo, made from a seed.

An object has a shape and a texture, and both are needed to name it: a striped and a dotted disc are two classes. The
colours, sizes and angles are random, and look-alike clutter of other shapes lies between the objects. So a detector has
to read edges and texture of a few pixels, which is what corruptions destroy.

Only NumPy draws here. The pixels depend on (seed, split, index) and on nothing else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rtx.demo.scenes_looks import SHAPES, TEXTURES, Colour, draw_background, two_colours
from rtx.errors import BadValue

CLASSES: dict[str, tuple[str, str]] = {
    "striped_disc": ("disc", "striped"),
    "dotted_disc": ("disc", "dotted"),
    "striped_box": ("box", "striped"),
    "checked_box": ("box", "checked"),
    "dotted_star": ("star", "dotted"),
    "checked_ring": ("ring", "checked"),
}
"""Class -> (shape, texture), in the order of the labels."""

SOURCE_CLASSES: tuple[tuple[str, str], ...] = tuple((s, t) for s in ("disc", "box", "star", "ring") for t in TEXTURES)
"""The classes of the demo's source classifier: more kinds than the scenes hold, as ImageNet holds more than COCO."""

SIZE = (128, 160)
RADIUS = (13.0, 25.0)
PERIOD = (6.0, 10.0)
"""Pixel size of the objects and of their texture; the same in scenes and crops, so that one prepares for the other."""

MIN_VISIBLE = 0.7
CLUTTER_SHAPES = ("triangle", "cross")


@dataclass(frozen=True, eq=False)
class Thing:
    """One object of a scene.

    Attributes:
        label: index into `CLASSES`.
        mask: bool (H, W), the pixels where the object is seen.
        box: x, y, width, height in whole pixels, the tight bounds of `mask`.
    """

    label: int
    mask: NDArray[np.bool_]
    box: tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Scene:
    """One rendered photo with everything that is known about it.

    Attributes:
        image: RGB uint8 (H, W, 3).
        things: the objects, back to front.
    """

    image: NDArray[np.uint8]
    things: tuple[Thing, ...]


def render_scene(seed: int, split: str, index: int, *, size: tuple[int, int] = SIZE) -> Scene:
    """Draw scene number `index` of a split.

    Args:
        seed: any whole number from 0 on.
        split: "train" and "val" scenes of one seed have nothing in common.
        index: from 0 on.
        size: height and width in pixels, both at least 96.

    Raises:
        BadValue: the image would be too small for its objects.

    Example:
        >>> scene = render_scene(0, "train", 0)
        >>> scene.image.shape, scene.things[0].mask.any()
        ((128, 160, 3), np.True_)
    """
    height, width = size
    if min(size) < 96:
        raise BadValue(f"scene size {height}x{width}: scenes need at least 96 pixels on each side")
    rng = _generator(seed, "scene", split, index)
    canvas = draw_background(rng, size)
    things: list[tuple[int, NDArray[np.bool_], int]] = []

    for _ in range(int(rng.integers(1, 4))):
        shape = CLUTTER_SHAPES[int(rng.integers(len(CLUTTER_SHAPES)))]
        texture = list(TEXTURES)[int(rng.integers(len(TEXTURES)))]
        _draw(rng, shape, texture, size, radius=float(rng.uniform(6, 12))).paint(canvas)

    looks = list(CLASSES.values())
    wanted = int(rng.integers(2, 6))
    for _ in range(wanted * 4):  # a place that hides another object too much is sampled again
        if len(things) == wanted:
            break
        label = int(rng.integers(len(looks)))
        stamp = _draw(rng, *looks[label], size, radius=float(rng.uniform(*RADIUS)))
        mask = stamp.mask(size)
        if any((seen & ~mask).sum() < MIN_VISIBLE * whole for _, seen, whole in things):
            continue
        things = [(other, seen & ~mask, whole) for other, seen, whole in things] + [(label, mask, int(mask.sum()))]
        stamp.paint(canvas)
    image = _expose(rng, canvas)
    return Scene(image, tuple(Thing(label, mask, tight_box(mask)) for label, mask, _ in things))


def render_crop(seed: int, index: int, *, side: int = 48) -> tuple[NDArray[np.uint8], int]:
    """Draw one object in the middle of a small picture, for the source classifier.

    Args:
        seed: any whole number from 0 on; crops and scenes of one seed have nothing in common.
        index: from 0 on; the class is drawn too.
        side: height and width in pixels.

    Returns:
        RGB uint8 (side, side, 3) and the index into `SOURCE_CLASSES`.
    """
    rng = _generator(seed, "crop", "", index)
    canvas = draw_background(rng, (side, side))
    label = int(rng.integers(len(SOURCE_CLASSES)))
    centre = (side / 2 + float(rng.uniform(-5, 5)), side / 2 + float(rng.uniform(-5, 5)))
    stamp = _draw(rng, *SOURCE_CLASSES[label], (side, side), radius=float(rng.uniform(*RADIUS)), centre=centre)
    stamp.paint(canvas)
    return _expose(rng, canvas), label


def tight_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The smallest x, y, width, height around the true pixels.

    Example:
        >>> tight_box(np.pad(np.ones((2, 3), bool), ((4, 0), (1, 0))))
        (1, 4, 3, 2)
    """
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return x, y, width, height


def _generator(seed: int, *names: object) -> Generator:
    """A generator of its own for each scene, so that the number of scenes cannot change one of them."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise BadValue(f"scene seed {seed!r}: must be a whole number from 0 on")
    text = repr((int(seed), *(str(name) for name in names)))
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=16, person=b"rtx.scenes.v1").digest()
    return Generator(np.random.Philox(key=np.frombuffer(digest, dtype="<u8").astype(np.uint64)))


@dataclass(frozen=True, eq=False)
class _Stamp:
    """One object cut out: the window of the canvas it lies in, how much of each pixel it covers, and its colours."""

    window: tuple[slice, slice]
    alpha: NDArray[np.float64]
    colours: Colour

    def paint(self, canvas: Colour) -> None:
        """Lay the object over the canvas, in place."""
        cover = self.alpha[..., None]
        canvas[self.window] = canvas[self.window] * (1 - cover) + self.colours * cover

    def mask(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """The pixels that the object covers by half or more."""
        mask = np.zeros(size, bool)
        mask[self.window] = self.alpha >= 0.5
        return mask


def _draw(
    rng: Generator,
    shape: str,
    texture: str,
    size: tuple[int, int],
    *,
    radius: float,
    centre: tuple[float, float] | None = None,
) -> _Stamp:
    height, width = size
    if centre is None:
        inset = 0.8 * radius  # objects may be cut a little by the border, as in photos
        centre = (float(rng.uniform(inset, height - inset)), float(rng.uniform(inset, width - inset)))
    reach = 1.2 * radius + 2
    rows = slice(max(0, int(centre[0] - reach)), min(height, int(centre[0] + reach) + 1))
    columns = slice(max(0, int(centre[1] - reach)), min(width, int(centre[1] + reach) + 1))
    y, x = np.mgrid[rows, columns] + 0.5 - np.array(centre)[:, None, None]
    angle = float(rng.uniform(0, 2 * np.pi))
    u, v = np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y
    alpha = np.clip(0.5 - SHAPES[shape](u, v, radius), 0.0, 1.0)
    share = TEXTURES[texture](u, v, float(rng.uniform(*PERIOD)))[..., None]
    first, second = two_colours(rng)
    light = 1 - 0.25 * (x * np.cos(0.7) + y * np.sin(0.7))[..., None] / radius  # lit from the upper left
    return _Stamp((rows, columns), alpha, (first * share + second * (1 - share)) * light)


def _expose(rng: Generator, canvas: Colour) -> NDArray[np.uint8]:
    """Gain and a little sensor grain, more in brightness than in colour, then bytes."""
    height, width, _ = canvas.shape
    grain = rng.normal(0.0, 4.0, (height, width, 1)) + rng.normal(0.0, 1.0, (height, width, 3))
    gain = float(rng.uniform(0.8, 1.1))
    return np.clip(np.rint(canvas * gain + grain), 0, 255).astype(np.uint8)
