"""Training on the objects that VOC marks as difficult, as detectron2 does and mmdet does not."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS


@TRANSFORMS.register_module()
class KeepDifficult(BaseTransform):
    """Make every loaded object count in training; goes right after `LoadAnnotations`.

    mmdet's VOC reader marks difficult objects as ones to ignore, and so the small ones where `filter_cfg` has
    `bbox_min_size`: leave that out where this is used.

    Required and modified key: `gt_ignore_flags`.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Clear the ignore flags."""
        results["gt_ignore_flags"] = np.zeros_like(results["gt_ignore_flags"])
        return results
