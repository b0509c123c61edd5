"""Two models are compared image by image on the same pixels only."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from rtx.errors import RunConflict
from rtx.results.confidence import same_pixels

SWEPT: dict[str, Any] = {"corruption_engine": "rtx", "corruption_seed": 0, "data_sha256": "x", "metric": {}}


def test_files_of_another_jpeg_quality_are_other_pixels() -> None:
    exported = {**SWEPT, "jpeg_quality": 85}
    same_pixels(exported, dict(exported))
    for other in ({**SWEPT, "jpeg_quality": 95}, SWEPT):
        with pytest.raises(RunConflict, match="jpeg_quality: 85 and"):
            same_pixels(exported, other)
    same_pixels({**SWEPT, "jpeg_quality": None}, SWEPT)  # lossless files hold the sweep's own pixels
