"""Pictures inside figure files: each is compressed once a format, however many rows and figures it stands in."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import IO, Any

from PIL import Image

PACKED = {"compress_level": 1, "compress_type": zlib.Z_RLE}
"""Of zlib: only runs of equal bytes are packed; as small for charts and photos, in half of the time."""
MOST = 512
"""Pictures kept: more than the strips of one report hold."""


@contextmanager
def compressed_once() -> Iterator[None]:
    """Within it, Pillow writes a picture that it has written before from memory.

    Matplotlib compresses a picture again for each place where it stands, in SVG an opaque one with an alpha channel,
    which is left out here. In PDF it lies upside down and is another picture. A whole figure, for which its writer asks
    for a level, loses its alpha channel too where it is opaque.
    """
    Image.init()
    before: Callable[..., None] = Image.SAVE["PNG"]

    def save(image: Image.Image, stream: IO[bytes], name: str | bytes, *rest: Any) -> None:
        opaque = image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255)
        plain = image.convert("RGB") if opaque else image
        if image.mode not in ("RGB", "RGBA") or getattr(image, "encoderinfo", None):
            plain.encoderinfo, plain.encoderconfig = image.encoderinfo, image.encoderconfig
            before(plain, stream, name, *rest)
            return
        stream.write(encode(plain.mode, plain.size, plain.tobytes()))

    Image.register_save("PNG", save)
    try:
        yield
    finally:
        Image.register_save("PNG", before)


@lru_cache(maxsize=MOST)
def encode(mode: str, size: tuple[int, int], data: bytes) -> bytes:
    """A picture as a PNG file.

    Args:
        mode: Pillow's name of the channels.
        size: width and height in pixels.
        data: its bytes, row by row.
    """
    stream = io.BytesIO()
    Image.frombytes(mode, size, data).save(stream, "PNG", **PACKED)
    return stream.getvalue()
