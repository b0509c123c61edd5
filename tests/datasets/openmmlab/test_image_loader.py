"""Unusual images come out of a leaf's pipeline as 8-bit, 3-channel pixels, and damaged ones are refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from rtx.datasets.image_files import damage, image_sizes
from rtx.errors import DataError

SIZE = (40, 56)


def ramp() -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([rows * 6, columns * 4, 255 - rows * 3], -1).astype(np.uint8)


def save(path: Path, kind: str) -> np.ndarray:
    """Write one kind of image; return the RGB pixels that the stated rule asks for."""
    rgb = ramp()
    image = Image.fromarray(rgb)
    alpha = np.tile(np.arange(SIZE[1], dtype=np.uint8), (SIZE[0], 1))
    if kind == "grey":
        image.convert("L").save(path)
        return np.repeat(np.asarray(image.convert("L"))[..., None], 3, -1)
    if kind == "alpha":
        Image.fromarray(np.dstack([rgb, alpha])).save(path)
        return rgb  # dropped, not blended
    if kind == "grey alpha":
        grey = np.asarray(image.convert("L"))
        Image.fromarray(np.dstack([grey, alpha])).save(path)
        return np.repeat(grey[..., None], 3, -1)
    if kind == "palette":
        image.quantize(16).save(path)
        return np.asarray(image.quantize(16).convert("RGB"))
    if kind == "cmyk":
        image.convert("CMYK").save(path.with_suffix(".jpg"), quality=100)
        path.with_suffix(".jpg").rename(path)
        return rgb
    if kind == "16 bit grey":
        wide = (rgb[..., 1].astype(np.uint16) << 8) + 200
        Image.fromarray(wide).save(path)
        return np.repeat(rgb[..., 1:2], 3, -1)  # the upper 8 bits
    raise AssertionError(kind)


@pytest.fixture(scope="module")
def loaders() -> dict:
    mmcv_transforms = pytest.importorskip("mmcv.transforms")
    from rtx.datasets.openmmlab.image_loader import LoadImageChecked

    return {
        "stock": mmcv_transforms.LoadImageFromFile(),
        "checked": LoadImageChecked(),
        "rgb": LoadImageChecked(rgb=True),
    }


@pytest.mark.parametrize("kind", ["grey", "alpha", "grey alpha", "palette", "cmyk", "16 bit grey"])
def test_every_kind_becomes_8_bit_rgb_by_the_stated_rule(tmp_path: Path, loaders: dict, kind: str) -> None:
    path = tmp_path / "image.png"
    expected = save(path, kind)
    stock = loaders["stock"]({"img_path": str(path)})["img"]
    checked = loaders["checked"]({"img_path": str(path)})["img"]
    assert checked.dtype == np.uint8 and checked.shape == (*SIZE, 3)
    assert (stock == checked).all(), "the checked loader must not change a pixel"
    tolerance = 6 if kind == "cmyk" else 0  # JPEG
    assert np.abs(checked[..., ::-1].astype(int) - expected).max() <= tolerance
    as_rgb = loaders["rgb"]({"img_path": str(path)})
    assert as_rgb["img_order"] == "rgb" and (as_rgb["img"][..., ::-1] == checked).all()


def test_an_opencv_that_cannot_decode_to_rgb_gives_the_same(
    tmp_path: Path, loaders: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "image.png", "palette")
    new = loaders["rgb"]({"img_path": str(tmp_path / "image.png")})["img"]
    monkeypatch.delattr("cv2.IMREAD_COLOR_RGB", raising=False)
    assert (loaders["rgb"]({"img_path": str(tmp_path / "image.png")})["img"] == new).all()


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF")
def test_a_format_that_opencv_does_not_turn_is_turned(tmp_path: Path, loaders: dict) -> None:
    save(tmp_path / "image.avif", "alpha")
    checked, as_rgb = (loaders[name]({"img_path": str(tmp_path / "image.avif")})["img"] for name in ("checked", "rgb"))
    assert (as_rgb[..., ::-1] == checked).all()


@pytest.mark.slow
@pytest.mark.realdata
def test_real_photographs_have_the_same_pixels_in_either_order(real_data: Path, loaders: dict) -> None:
    photographs = [path for path in sorted(real_data.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    assert len(photographs) > 100
    for path in photographs:
        if min(image_sizes(path)[0]) >= 2:
            found = (loaders[name]({"img_path": str(path)})["img"] for name in ("checked", "rgb"))
            assert (next(found) == next(found)[..., ::-1]).all(), path


@pytest.mark.parametrize("kind", ["grey", "alpha", "grey alpha", "palette", "cmyk", "16 bit grey"])
def test_a_file_has_the_same_pixels_with_pillow_or_is_refused(tmp_path: Path, loaders: dict, kind: str) -> None:
    from rtx.datasets.openmmlab.image_loader import LoadImageChecked

    path = tmp_path / "image.png"
    save(path, kind)
    pixels = loaders["checked"]({"img_path": str(path)})["img"].astype(int)
    with_pillow = LoadImageChecked(imdecode_backend="pillow")
    if kind in ("grey alpha", "16 bit grey"):
        with pytest.raises(DataError, match=r"image\.png.*Pillow.*convert it to 8-bit RGB"):
            with_pillow({"img_path": str(path)})
    else:
        assert np.abs(with_pillow({"img_path": str(path)})["img"] - pixels).max() <= (6 if kind == "cmyk" else 0)


def test_pillow_does_not_cut_a_floating_point_image(tmp_path: Path) -> None:
    pytest.importorskip("mmcv.transforms")
    from rtx.datasets.openmmlab.image_loader import LoadImageChecked

    path = tmp_path / "depth.tif"
    Image.fromarray(np.full(SIZE, 900, np.float32)).save(path)
    with pytest.raises(DataError, match=r"depth\.tif.*more than 8 bits"):
        LoadImageChecked(imdecode_backend="pillow")({"img_path": str(path)})


@pytest.mark.parametrize("kind", ["grey", "alpha", "cmyk", "16 bit grey"])
@pytest.mark.parametrize("leaf", ["maskrcnn_r50_coco", "upernet_r50_ade20k"])
def test_every_kind_passes_a_leafs_pipeline(tmp_path: Path, leaf: str, kind: str) -> None:
    pytest.importorskip("mmdet")
    pytest.importorskip("mmseg")
    from mmengine.config import Config
    from mmengine.dataset import Compose
    from mmengine.registry import init_default_scope

    from rtx.datasets.openmmlab.image_loader import with_checked_images

    cfg = with_checked_images(Config.fromfile(Path(__file__).resolve().parents[3] / "configs" / f"{leaf}.py"))
    init_default_scope(cfg.default_scope)
    steps = [step for step in cfg.test_dataloader.dataset.pipeline if step["type"] != "LoadAnnotations"]
    save(tmp_path / "image.png", kind)
    info = dict(img_path=str(tmp_path / "image.png"), img_id=1, seg_map_path=None, reduce_zero_label=True)
    inputs = Compose(steps)(info)["inputs"]
    assert inputs.shape[0] == 3 and str(inputs.dtype) == "torch.uint8" and inputs.float().std() > 5


@pytest.mark.parametrize("suffix, options", [("jpg", {}), ("jpg", {"progressive": True}), ("png", {})])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99, "all but one byte"])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, loaders: dict, suffix: str, options: dict, keep) -> None:
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 80, 3)).astype(np.uint8)).save(path, **options)
    content = path.read_bytes()
    assert damage(content) is None
    path.write_bytes(content[: -1 if isinstance(keep, str) else int(len(content) * keep)])
    with pytest.raises(DataError, match=r"cut\.(jpg|png).*(truncated|no image)"):
        loaders["checked"]({"img_path": str(path)})


def test_bytes_after_the_end_of_an_image_do_no_harm(tmp_path: Path, loaders: dict) -> None:
    path = tmp_path / "padded.jpg"
    Image.fromarray(ramp()).save(path)
    clean = loaders["checked"]({"img_path": str(path)})["img"]
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    assert (loaders["checked"]({"img_path": str(path)})["img"] == clean).all()


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_a_file_that_is_no_image_is_refused_by_name(tmp_path: Path, loaders: dict, content: bytes) -> None:
    path = tmp_path / "page.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"page\.jpg"):
        loaders["checked"]({"img_path": str(path)})


def test_a_missing_image_is_refused_by_name(tmp_path: Path, loaders: dict) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg is missing"):
        loaders["checked"]({"img_path": str(tmp_path / "gone.jpg")})


def test_a_floating_point_image_is_refused_by_name(tmp_path: Path, loaders: dict) -> None:
    path = tmp_path / "depth.tif"
    Image.fromarray(np.ones(SIZE, np.float32)).save(path)
    with pytest.raises(DataError, match=r"depth\.tif cannot be decoded"):
        loaders["checked"]({"img_path": str(path)})


def test_the_size_is_read_from_the_header(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    Image.fromarray(ramp()).save(path)
    path.write_bytes(path.read_bytes()[:-30])  # pixels are missing, the header is there
    assert image_sizes(path) == [SIZE]


def test_checked_images_replace_the_loader_everywhere_and_leave_the_config_alone() -> None:
    from mmengine.config import Config

    from rtx.datasets.openmmlab.image_loader import with_checked_images

    load = dict(type="LoadImageFromFile", backend_args=None)
    cfg = Config(
        dict(
            train_dataloader=dict(dataset=dict(dataset=dict(datasets=[dict(pipeline=[load, dict(type="Resize")])]))),
            tta_pipeline=[load, dict(type="TestTimeAug", transforms=[[load]])],
        )
    )
    out = with_checked_images(cfg)
    assert out.train_dataloader.dataset.dataset.datasets[0].pipeline[0].type == "LoadImageChecked"
    assert out.tta_pipeline[1].transforms[0][0].type == "LoadImageChecked"
    assert out.custom_imports.imports == ["rtx.datasets.openmmlab.image_loader"]
    assert with_checked_images(out).custom_imports.imports == ["rtx.datasets.openmmlab.image_loader"]
    assert "LoadImageChecked" not in cfg.pretty_text
