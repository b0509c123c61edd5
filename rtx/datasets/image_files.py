"""Image files: read as an evaluation reads them, written so that a crash leaves no half file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from rtx.corruptions.registry import Image
from rtx.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
JPEG_SUFFIXES = frozenset({".jpg", ".jpeg"})
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


def read_rgb(path: Path) -> Image:
    """Read an image as RGB uint8 (H, W, 3); grey is repeated, alpha dropped, and turned as its EXIF data say.

    These are the pixels that OpenCV gives mmcv, in the other order of channels.

    Raises:
        DataError: the file is missing, cut off, or no image.
    """
    return decode_rgb(read_whole(path), path)


def read_whole(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        DataError: it is missing, or cut off.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"image {path} is missing; complete the data folder or take it out of the list") from error
    except OSError as error:
        raise DataError(f"image {path}: cannot be read ({error.strerror}); check the path") from error
    # OpenCV returns a cut-off JPEG as a half-grey image without a word.
    if (complaint := damage(content)) is not None:
        raise DataError(f"image {path}: {complaint}; copy the file again or take it out of the list")
    return content


def decode_rgb(content: bytes, path: Path) -> Image:
    """The picture in the bytes of a file; see `read_rgb`."""
    try:
        image = rgb_pixels(content)
    except cv2.error as error:
        raise DataError(f"image {path} cannot be decoded ({error}); convert it to 8-bit RGB") from error
    if image is None:
        raise DataError(f"image {path} cannot be decoded by OpenCV; convert it to 8-bit RGB")
    return image


def rgb_pixels(content: bytes) -> Image | None:
    """What OpenCV makes of the bytes of a file, as RGB uint8 (H, W, 3); None for what it cannot decode."""
    data = np.frombuffer(content, np.uint8)
    # OpenCV 4.12 ignores the order it is asked for in AVIF with alpha; these two are what data sets are made of.
    if hasattr(cv2, "IMREAD_COLOR_RGB") and content.startswith((JPEG_START, PNG_START)):
        decoded: Any = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
        return decoded  # type: ignore[no-any-return]
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return None if decoded is None else cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def damage(content: bytes) -> str | None:
    """Say what is wrong with the bytes of an image file, None if nothing is.

    JPEG and PNG files that end with their end marker pass without being decoded (microseconds); everything else is
    decoded once by Pillow (about 10 ms a megapixel). Damage in the middle of a file that ends well is not found here.

    Args:
        content: the whole file.

    Example:
        >>> damage(b"")
        'the file is empty'
        >>> damage(b"<html>")
        'this is no image that Pillow can read'
    """
    if not content:
        return "the file is empty"
    if content.startswith(JPEG_START) and content.endswith(JPEG_END):
        return None
    if content.startswith(PNG_START) and content.endswith(PNG_END):
        return None
    try:
        with Pillow.open(io.BytesIO(content)) as image:
            image.load()
    except UnidentifiedImageError:
        return "this is no image that Pillow can read"
    except (OSError, SyntaxError, ValueError) as error:
        return f"the file is truncated or damaged ({error})"
    # Pillow decodes all pixels of a PNG before it misses the end marker; libpng, inside OpenCV, would refuse the file.
    return "the file is truncated (no PNG end marker)" if content.startswith(PNG_START) else None


_ORIENTATION, _ON_THEIR_SIDE = 0x0112, (5, 6, 7, 8)


def image_sizes(path: Path) -> list[tuple[int, int]]:
    """(height, width) of an image as it is shown, and as its file holds it where its EXIF data turn it on its side.

    Only headers are read. What OpenCV returns has the first of them.

    Raises:
        DataError: the file is missing or no image.
    """
    try:
        with Pillow.open(path) as image:
            width, height = image.size
            turned = image.format == "JPEG" and image.getexif().get(_ORIENTATION) in _ON_THEIR_SIDE
    except FileNotFoundError as error:
        raise DataError(f"image {path} is missing") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"image {path} is no image that Pillow can read") from error
    return [(width, height), (height, width)] if turned else [(height, width)]


def encode(image: Image, suffix: str, *, quality: int | None) -> bytes:
    """An image as the bytes of a file.

    Args:
        image: RGB uint8 (H, W, 3).
        suffix: of the file, e.g. ".jpg".
        quality: of JPEG, with colour at full resolution; None writes PNG, whatever the suffix, and loses nothing.
    """
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if quality is None:
        _, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    elif suffix.lower() in JPEG_SUFFIXES:
        options = [
            cv2.IMWRITE_JPEG_QUALITY,
            quality,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ]
        _, data = cv2.imencode(".jpg", bgr, options)
    else:
        # A .pgm gets the content of a .ppm: a corrupted grey image may have colours.
        _, data = cv2.imencode(suffix.lower().replace(".pgm", ".ppm"), bgr)
    encoded: NDArray[np.uint8] = data
    return encoded.tobytes()
