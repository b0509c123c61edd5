"""Frost's textures: read once, enlarged where the image is larger, missed with words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rtx.corruptions import corrupt
from rtx.corruptions.kernels import KERNELS, frost
from rtx.corruptions.kernels.frost import FILES, FrostField, scaled_size, textures
from rtx.errors import MissingDependency
from rtx.rng import image_rng
from rtx.types import Condition
from tests.corruptions.conftest import made_photo


@pytest.mark.parametrize("shape", [(700, 1000), (2100, 64), (64, 2100), (32, 32)])
def test_frost_is_scaled_to_images_larger_than_its_textures(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    kernel = KERNELS["frost"]
    for texture in range(len(textures())):
        width, height = scaled_size(texture, *shape, None)
        assert height > shape[0] and width > shape[1]
        last = FrostField(texture, height - shape[0] - 1, width - shape[1] - 1)
        assert kernel.apply(image, kernel.levels[2], last).shape == image.shape


def frost_over(seed: int = 0) -> None:
    condition = Condition("frost", 1 + seed % 5)
    corrupt(made_photo(40 + seed, 50), condition, image_rng(0, str(seed), condition), engine="rtx")


@pytest.fixture
def unread_textures() -> Iterator[None]:
    """Textures are read again in the test and after it."""
    textures.cache_clear()
    yield
    textures.cache_clear()


def test_textures_are_read_once_a_process(unread_textures: None, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    real = frost.cv2.imread
    monkeypatch.setattr(frost.cv2, "imread", lambda path, *rest: read.append(path) or real(path, *rest))
    for i in range(12):
        frost_over(i)
    assert [Path(path).name for path in read] == list(FILES)


def test_frost_without_its_package_or_with_a_damaged_texture_says_what_to_install(
    unread_textures: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(frost.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MissingDependency, match=r"'frost' needs the textures.*pip install imagecorruptions-imaug"):
            frost_over()
    (tmp_path / "frost").mkdir()
    (tmp_path / "frost" / "frost1.png").write_bytes(b"no image")
    found = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(frost.importlib.util, "find_spec", lambda name: found)
    with pytest.raises(MissingDependency, match=r"cannot read .*frost1\.png; run: pip uninstall"):
        frost_over()
