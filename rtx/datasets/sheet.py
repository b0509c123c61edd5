"""A contact sheet: one image under many conditions, a row a corruption, a column a severity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from rtx.corruptions.registry import Image
from rtx.corruptions.settings import Settings, corrupt_as
from rtx.datasets.image_files import encode
from rtx.files import write_whole
from rtx.types import Condition

_PAPER, _INK = (255, 255, 255), (20, 20, 20)
_MARGIN = 6
_CELL_WIDTH = 192  # pixels, like all sizes here


def write_sheet(
    path: Path,
    image: Image,
    image_id: str,
    corruptions: Sequence[str],
    severities: Sequence[int],
    settings: Sequence[Settings],
    *,
    quality: int | None = None,
) -> None:
    """Corrupt an image every way and lay the results out in an image file.

    Args:
        path: the file.
        image: RGB uint8 (H, W, 3); it is corrupted at its own size and shrunk for the sheet afterwards.
        image_id: what the random fields depend on.
        corruptions: the rows.
        severities: the columns.
        settings: engines to compare; each severity has one column for each.
        quality: of JPEG, see `rtx.datasets.image_files.encode`.
    """
    cell_width = min(_CELL_WIDTH, image.shape[1])
    cell_height = max(1, round(cell_width * image.shape[0] / image.shape[1]))
    font = ImageFont.load_default(size=13)
    left = 140
    columns = [(severity, which) for severity in severities for which in settings]
    size = (
        left + len(columns) * (cell_width + _MARGIN) + _MARGIN,
        24 + len(corruptions) * (cell_height + _MARGIN) + _MARGIN,
    )
    sheet = Pillow.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (severity, which) in enumerate(columns):
        title = f"severity {severity}" + (f", {which.engine}" if len(settings) > 1 else "")
        draw.text((left + i * (cell_width + _MARGIN), 6), title, fill=_INK, font=font)
    for j, name in enumerate(corruptions):
        top = 24 + j * (cell_height + _MARGIN)
        draw.text((_MARGIN, top + cell_height // 2 - 8), name, fill=_INK, font=font)
        for i, (severity, which) in enumerate(columns):
            pixels = corrupt_as(image, Condition(name, severity), image_id, which, name=image_id)
            # Averaging over boxes: noise keeps its look better than with a sharpening filter.
            small = Pillow.fromarray(np.ascontiguousarray(pixels)).resize(
                (cell_width, cell_height), Pillow.Resampling.BOX
            )
            sheet.paste(small, (left + i * (cell_width + _MARGIN), top))
    write_whole(path, encode(np.asarray(sheet), path.suffix, quality=quality), sync=False)
