"""The stand-ins of `tests.evaluation.stand_in` as plain functions of RGB arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tests.evaluation.stand_in import PixelDetector
from tests.makers import ADE_NAMES, COLOURS


class Sample:
    """As much of a data sample as the stand-in fills."""

    pred_instances: Any


def by_colour(images: list[np.ndarray]) -> list[dict[str, Any]]:
    """The stand-in's boxes, from RGB arrays; the stand-in reads BGR tensors."""
    found = []
    for image in images:
        assert image.dtype == np.uint8 and image.flags.c_contiguous and image.shape[2] == 3
        pred = PixelDetector()._predict(torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1), Sample())  # type: ignore[arg-type]
        rows = pred.pred_instances
        found.append(dict(boxes=rows.bboxes, scores=rows.scores, labels=rows.labels))
    return found


def nearest_colour(images: list[np.ndarray]) -> list[np.ndarray]:
    table = np.array([(55, 55, 55), *COLOURS[: len(ADE_NAMES) - 1]])
    return [np.abs(image[..., None, :].astype(int) - table).sum(-1).argmin(-1) for image in images]
