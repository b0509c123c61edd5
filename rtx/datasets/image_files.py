"""Image files: read as an evaluation reads them, written so that a crash leaves no half file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rtx.corruptions.registry import Image
from rtx.errors import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
JPEG_SUFFIXES = frozenset({".jpg", ".jpeg"})
_ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND\xaeB`\x82"}


def read_rgb(path: Path) -> tuple[Image, str]:
    """Read an image as RGB; grey is repeated, alpha dropped, and turned as its EXIF data say, as OpenCV does.

    Returns:
        RGB uint8 (H, W, 3) and the sha256 of the file.

    Raises:
        DataError: the file is missing, cut off, or no image.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    end = _ENDS.get(content[:2])
    # OpenCV returns a cut-off JPEG as a half-grey image without a word; padding after the end marker is common.
    if end is not None and end not in content[-4096:]:
        raise DataError(f"{path}: the file is cut off ({len(content)} bytes); copy or download it again")
    decoded: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if decoded is None:
        what = "the file is empty" if not content else "this is no image that OpenCV can read"
        raise DataError(f"{path}: {what}; replace it or leave it out")
    image: Image = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    return image, hashlib.sha256(content).hexdigest()


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
        _, data = cv2.imencode(suffix.lower(), bgr)
    encoded: NDArray[np.uint8] = data
    return encoded.tobytes()
