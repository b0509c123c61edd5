"""`pirat:FILE`: the published key names and layers, written down here once more, give the same label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm", reason="needs the extra timm")
pytest.importorskip("mmseg")

from PIL import Image  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from rtx.backbones import SourceTimm  # noqa: E402
from rtx.datasets import voc  # noqa: E402
from rtx.errors import BadValue, UnknownName, WeightsError, WeightsMismatch  # noqa: E402
from rtx.evaluation.evaluate import evaluate  # noqa: E402
from rtx.evaluation.models.preset_pirat import PiratSegmenter  # noqa: E402
from rtx.evaluation.models.presets import open_model  # noqa: E402
from rtx.sources.catalog.rows import CATALOG  # noqa: E402
from tests.evaluation.models import own_truth  # noqa: E402

WIDTHS, DEPTHS, HEAD = (96, 192, 384, 768), (3, 3, 9, 3), 512
ROW = "convnext_tiny_cvst_pirat_voc_linf_eps4"


def shapes(n_classes: int) -> dict[str, tuple[int, ...]]:
    """Every tensor of a published file by name."""
    found: dict[str, tuple[int, ...]] = {}

    def pair(name: str, *weight: int) -> None:
        found.update({f"{name}.weight": weight, f"{name}.bias": (weight[0],)})

    def module(name: str, into: int, out: int, kernel: int) -> None:
        found[f"{name}.conv.weight"] = (out, into, kernel, kernel)
        pair(f"{name}.batch_norm", out)
        found.update({f"{name}.batch_norm.{part}": (out,) for part in ("running_mean", "running_var")})
        found[f"{name}.batch_norm.num_batches_tracked"] = ()

    for n, weight in ((0, (48, 3, 3, 3)), (1, (48,)), (3, (96, 48, 3, 3)), (4, (96,))):
        pair(f"backbone.downsample_layers.0.stem.{n}", *weight)
    for stage, (width, depth) in enumerate(zip(WIDTHS, DEPTHS, strict=True)):
        if stage:
            pair(f"backbone.downsample_layers.{stage}.0", WIDTHS[stage - 1])
            pair(f"backbone.downsample_layers.{stage}.1", width, WIDTHS[stage - 1], 2, 2)
        for block in (f"backbone.stages.{stage}.{n}" for n in range(depth)):
            found[f"{block}.gamma"] = (width,)
            pair(f"{block}.dwconv", width, 1, 7, 7)
            pair(f"{block}.norm", width)
            pair(f"{block}.pwconv1", 4 * width, width)
            pair(f"{block}.pwconv2", width, 4 * width)
        pair(f"backbone.norm{stage}", width)
    for n in range(4):
        module(f"decode_head.psp_modules.{n}.1", WIDTHS[-1], HEAD, 1)
    module("decode_head.bottleneck", WIDTHS[-1] + 4 * HEAD, HEAD, 3)
    for n, width in enumerate(WIDTHS[:-1]):
        module(f"decode_head.lateral_convs.{n}", width, HEAD, 1)
        module(f"decode_head.fpn_convs.{n}", HEAD, HEAD, 3)
    module("decode_head.fpn_bottleneck", 4 * HEAD, HEAD, 3)
    pair("decode_head.classifier", n_classes, HEAD, 1, 1)
    module("auxiliary_head.convs.0", WIDTHS[2], 256, 3)
    pair("auxiliary_head.classifier", n_classes, 256, 1, 1)
    return found


def published(n_classes: int) -> dict[str, Any]:
    """Random weights of a published file."""
    rng = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes(n_classes).items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif len(shape) > 1:
            state[name] = torch.randn(shape, generator=rng) * float(np.prod(shape[1:])) ** -0.5
        elif name.endswith(("gamma", "running_var", "norm.weight")):
            state[name] = torch.rand(shape, generator=rng) + 0.5
        else:
            state[name] = torch.randn(shape, generator=rng) * 0.1
    return state


def logits(state: dict[str, Any], x: Any) -> Any:
    """The published forward pass in plain functions, (N, classes, H/4, W/4)."""

    def conv(x: Any, name: str, **options: Any) -> Any:
        return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)

    def norm(x: Any, name: str) -> Any:
        mean, var = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
        weight, bias = (state[f"{name}.{part}"][:, None, None] for part in ("weight", "bias"))
        return (x - mean) / (var + 1e-6).sqrt() * weight + bias

    def module(x: Any, name: str) -> Any:
        x = conv(x, f"{name}.conv", padding=state[f"{name}.conv.weight"].shape[-1] // 2)
        kept = [state[f"{name}.batch_norm.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *kept).relu()

    def enlarged(x: Any, like: Any) -> Any:
        return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)

    maps = []
    for stage, depth in enumerate(DEPTHS):
        name = f"backbone.downsample_layers.{stage}"
        if stage:
            x = conv(norm(x, f"{name}.0"), f"{name}.1", stride=2)
        else:
            for n in (0, 3):
                x = F.gelu(norm(conv(x, f"{name}.stem.{n}", stride=2, padding=1), f"{name}.stem.{n + 1}"))
        for block in (f"backbone.stages.{stage}.{n}" for n in range(depth)):
            y = norm(conv(x, f"{block}.dwconv", padding=3, groups=x.shape[1]), f"{block}.norm").movedim(1, -1)
            for n, act in ((1, F.gelu), (2, nn.Identity())):
                y = act(F.linear(y, state[f"{block}.pwconv{n}.weight"], state[f"{block}.pwconv{n}.bias"]))
            x = x + (y * state[f"{block}.gamma"]).movedim(-1, 1)
        maps.append(norm(x, f"backbone.norm{stage}"))
    pooled = [
        module(F.adaptive_avg_pool2d(maps[3], n), f"decode_head.psp_modules.{i}.1") for i, n in enumerate((1, 2, 3, 6))
    ]
    tops = [module(row, f"decode_head.lateral_convs.{n}") for n, row in enumerate(maps[:3])]
    tops.append(module(torch.cat([maps[3], *(enlarged(row, maps[3]) for row in pooled)], 1), "decode_head.bottleneck"))
    for n in (3, 2, 1):
        tops[n - 1] = tops[n - 1] + enlarged(tops[n], tops[n - 1])
    outs = [module(row, f"decode_head.fpn_convs.{n}") for n, row in enumerate(tops[:3])] + tops[3:]
    whole = module(torch.cat([enlarged(row, outs[0]) for row in outs], 1), "decode_head.fpn_bottleneck")
    return conv(whole, "decode_head.classifier")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    state = published(21)
    file = tmp_path_factory.mktemp("weights") / CATALOG[ROW].filename
    torch.save(state, file)
    return file, state


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with label maps of five of VOC's classes."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    photos = own_truth.photos(folder / "photos", 2)
    return own_truth.ade_of(folder / "ade", photos, lambda i: rng.integers(0, 5, i.shape[:2]), voc.NAMES[:5])


def test_a_file_gives_what_the_published_code_gives(made: tuple[Path, dict[str, Any]], data: Path) -> None:
    file, state = made
    adapter: Any = open_model(f"pirat:{file}", data)
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = logits(state, x)
        assert torch.allclose(adapter.fn.network(x), expected, atol=1e-5) and expected.std() > 0.1
    assert adapter.own_classes == ("__background__", *voc.NAMES) and adapter.fn.side == 473
    assert adapter.card()["model_version"] == "convnext_tiny_cvst, shorter side 473"


def test_a_name_is_found_and_its_backbone_is_a_source(
    made: tuple[Path, dict[str, Any]], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, state = made
    monkeypatch.setenv("RTX_WEIGHTS", str(file.parent))
    assert open_model(f"pirat:{ROW}", data).name == f"pirat:{ROW}"
    backbone = SourceTimm("convnext_tiny_cvst", source=ROW)
    backbone.init_weights()
    key = "stages.2.5.pwconv1.weight"
    assert torch.equal(backbone.state_dict()["net.stages.2.blocks.5.mlp.fc1.weight"], state[f"backbone.{key}"])


def test_images_are_resized_and_maps_have_their_size(data: Path, tmp_path: Path) -> None:
    class Left(nn.Module):
        """Class 1 left of the middle, class 2 right of it."""

        def __init__(self) -> None:
            super().__init__()
            self.nothing = nn.Parameter(torch.zeros(1))

        def forward(self, x: Any) -> Any:
            seen.append((tuple(x.shape), float(x.max())))
            left = (torch.arange(x.shape[3] // 4) < x.shape[3] // 8).float().expand(len(x), 1, x.shape[2] // 4, -1)
            return torch.cat([0 * left, left, 1 - left], 1)

    seen: list[Any] = []
    maps = PiratSegmenter(Left(), 64).eval()([np.full((100, 150, 3), 255, np.uint8)] * 2)
    assert seen == [((2, 3, 64, 96), 1.0)]
    assert [tuple(row.shape) for row in maps] == [(100, 150)] * 2
    assert (maps[0][:, :70] == 1).all() and (maps[0][:, 80:] == 2).all()


@pytest.mark.slow
def test_a_sweep(made: tuple[Path, dict[str, Any]], data: Path, tmp_path: Path) -> None:
    file, state = made
    options: dict[str, Any] = dict(corruptions=["fog"], severities=[3], resamples=0)
    found = evaluate(open_model(f"pirat:{file}", data), data, tmp_path / "out", **options)

    def predict(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        size = (473, int(height * 473 / width)) if width <= height else (int(width * 473 / height), 473)
        small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) / np.float32(255)
        with torch.inference_mode():
            scores = logits(state, torch.from_numpy(small).permute(2, 0, 1)[None])
        large = F.interpolate(scores, (height, width), mode="bilinear", align_corners=False)
        return large[0].argmax(0).numpy() - 1

    assert set(found["cells"]) == {"clean", "fog_3"}
    expected = own_truth.mean_iou(data, own_truth.once(predict), 5)
    assert found["cells"]["clean"]["metrics"]["mIoU"] == pytest.approx(expected, abs=1e-3)


def test_what_cannot_be(
    made: tuple[Path, dict[str, Any]], data: Path, made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, state = made
    monkeypatch.setenv("RTX_WEIGHTS", str(tmp_path))
    with pytest.raises(BadValue, match="segments images, but the data of --data-root score boxes"):
        open_model(f"pirat:{file}", made_coco)
    with pytest.raises(WeightsError, match=r"upernet_convnext_tiny_cvst_pirat_voc\.pth.*https://nc\.mlcloud"):
        open_model(f"pirat:{ROW}", data)
    with pytest.raises(UnknownName, match=f"did you mean '{ROW}'"):
        open_model(f"pirat:{ROW[:-1]}", data)
    with pytest.raises(BadValue, match="3 class names for a model of 20 classes"):
        open_model(f"pirat:{file}", data, classes=("a", "b", "c"))
    for key, fault in (
        ("decode_head.fpn_convs.1.conv.weight", "1 missing keys"),
        ("backbone.norm2.bias", "1 missing keys"),
    ):
        torch.save({name: value for name, value in state.items() if name != key}, tmp_path / "bad.pth")
        with pytest.raises(WeightsMismatch, match=f"does not fit its UperNet: {fault}"):
            open_model(f"pirat:{tmp_path / 'bad.pth'}", data)
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsMismatch, match="is no UperNet of PIR-AT"):
        open_model(f"pirat:{tmp_path / 'other.pth'}", data)
