"""Reading images: which kinds are taken as they are, and a loader that refuses damaged files by name.

What becomes of unusual images is what mmcv's loader does with them, checked kind by kind in the tests: grey-scale is
repeated over three channels, a palette is looked up, alpha is dropped (not blended), CMYK is converted, 16-bit channels
keep their upper 8 bits. Where a config has mmcv read with Pillow, which makes something else of some of these, those
are refused, so that one file never has two sets of pixels. Beyond that, the only thing to add is a verdict on damaged
files: depending on its version, OpenCV returns a truncated JPEG as a half-grey image without a word.
"""

from __future__ import annotations

import copy
import io
from typing import Any

import mmcv
import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.registry import TRANSFORMS
from PIL import Image

from rtx.datasets.decoded import DecodedImages
from rtx.datasets.image_files import damage, rgb_pixels
from rtx.datasets.openmmlab.nodes import add_import, walk
from rtx.errors import DataError

MIN_SIDE = 32  # The corruptions of ImageNet-C are not defined for anything smaller.


def differs_with_pillow(content: bytes) -> str | None:
    """Say why mmcv's Pillow decoder does not give the pixels that OpenCV gives, None where it does.

    Args:
        content: a whole image file that Pillow can read.
    """
    with Image.open(io.BytesIO(content)) as image:
        mode = image.mode
    if mode[0] in "IF":
        return f"its grey values have more than 8 bits (mode {mode}), and Pillow makes everything above 255 white"
    if mode == "LA":
        return "it is grey with transparency, and mmcv blends it with a colour when it reads with Pillow"
    return None


@TRANSFORMS.register_module()
class LoadImageChecked(LoadImageFromFile):
    """mmcv's `LoadImageFromFile` with the same pixels, but damaged files raise a `DataError` that names them.

    The required and added keys are those of `LoadImageFromFile`; with `rgb`, `img_order` is added.

    Args:
        rgb: decode colour images with OpenCV to RGB, the same pixels in the other order.
        options: those of `LoadImageFromFile` (`to_float32`, `color_type`, `imdecode_backend`, `backend_args`).

    Raises:
        DataError: the file is missing, empty, truncated, no image, or of a kind that mmcv cannot decode, or that it
            decodes otherwise with Pillow than with OpenCV.
    """

    decoded: DecodedImages | None = None
    """Where images that were decoded before are kept, while a sweep runs."""

    def __init__(self, *, rgb: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.rgb = rgb

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load `results["img_path"]` into `results["img"]`, (H, W, 3), BGR unless `rgb`, uint8 unless `to_float32`."""
        path, order = results["img_path"], "rgb" if self.rgb else "bgr"
        image: Any = None if self.decoded is None else self.decoded.get(path, order)
        if image is None:
            image = self._read(path)
            if self.decoded is not None:
                self.decoded.put(path, order, image)
        if self.rgb:
            results["img_order"] = "rgb"
        if self.to_float32:
            image = image.astype(np.float32)
        results["img"] = image
        results["img_shape"] = image.shape[:2]
        results["ori_shape"] = image.shape[:2]
        return results

    def _read(self, path: str) -> Any:
        """The pixels of a file."""
        try:
            content = fileio.get(path, backend_args=self.backend_args)
        except FileNotFoundError as error:
            raise DataError(f"image {path} is missing; complete the data folder or take it out of the list") from error
        complaint = damage(content)
        if complaint is not None:
            raise DataError(f"image {path}: {complaint}; copy the file again or take it out of the list")
        otherwise = differs_with_pillow(content) if self.imdecode_backend == "pillow" else None
        if otherwise is not None:
            raise DataError(f"image {path}: {otherwise}; convert it to 8-bit RGB")
        try:
            if self.rgb:
                image: Any = rgb_pixels(content)
            else:
                image = mmcv.imfrombytes(content, flag=self.color_type, backend=self.imdecode_backend)
        except Exception as error:  # OpenCV raises its own class
            raise DataError(f"image {path} cannot be decoded ({error}); convert it to 8-bit RGB") from error
        if image is None:
            raise DataError(f"image {path} cannot be decoded by {self.imdecode_backend}; convert it to 8-bit RGB")
        return image


def with_checked_images(cfg: Config) -> Config:
    """Replace `LoadImageFromFile` by `LoadImageChecked` in every pipeline of a config.

    Leaves name the stock loader, so that they run with the stock tools; rtx's own commands call this first. Pixels are
    the same.

    Args:
        cfg: a loaded config; it is not changed.
    """
    out: Config = copy.deepcopy(cfg)
    for node in walk(out._cfg_dict):
        if node.get("type") in ("LoadImageFromFile", "mmcv.LoadImageFromFile"):
            node["type"] = LoadImageChecked.__name__
    add_import(out, __name__)
    return out
