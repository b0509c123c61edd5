"""ConvNeXts and ViTs with a convolutional stem: the published layers, keys and statistics, as models of timm."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from rtx.backbones import SourceTimm
from rtx.config import load, with_source
from rtx.errors import WeightsMismatch
from rtx.sources.catalog.rows import CATALOG
from rtx.sources.load import load_source

timm = pytest.importorskip("timm", reason="needs the extra timm")

CONFIG = Path(__file__).resolve().parents[2] / "configs/maskrcnn_r50_coco.py"
ROWS = [name for name in CATALOG if "_singh2023_" in name]


def published_stem(name: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the stem's weights as the paper's code has them (three kinds of `ConvBlock`), written down."""
    widths = {"tiny": (48, 96), "small": (48, 96), "base": (64, 96, 128), "large": (96, 144, 192)}
    out = {"small": 384, "medium": 512, "base": 768}
    kind, size = name.split("_")[:2]
    root = "stem.stem" if kind == "convnext" else "patch_embed.proj.stem"
    row = widths[size] if kind == "convnext" else (48, 96, 192, 384)
    shapes = {}
    for i, (before, after) in enumerate(zip((3, *row), row, strict=False)):
        shapes |= {f"{root}.{3 * i}.weight": (after, before, 3, 3), f"{root}.{3 * i}.bias": (after,)}
        shapes |= {f"{root}.{3 * i + 1}.{part}": (after,) for part in ("weight", "bias")}
    if kind == "vit":
        shapes |= {f"{root}.12.weight": (out[size], 384, 1, 1), f"{root}.12.bias": (out[size],)}
    return shapes


def small(name: str) -> bool:
    return name.startswith(("convnext_tiny", "vit_small"))


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if small(n) else pytest.mark.slow) for n in ROWS])
@pytest.mark.parametrize(
    "wrapping",
    [
        "",
        *(
            pytest.param(front, marks=pytest.mark.slow)
            for front in ("module.", "module.base_model.", "base_model.model.")
        ),
    ],
)
def test_a_published_file_loads_strictly(
    name: str, wrapping: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = CATALOG[name]
    monkeypatch.setenv("RTX_WEIGHTS", str(tmp_path))
    arch = source.arch.removeprefix("timm:")
    base = {"convnext": arch.removesuffix("_cvst"), "vit_smal": "deit_small_patch16_224",
            "vit_medi": "deit3_medium_patch16_224", "vit_base": "vit_base_patch16_224"}[arch[:8]]  # fmt: skip
    whole = timm.create_model(base)
    root = "stem." if arch.startswith("convnext") else "patch_embed.proj."
    state = {key: value for key, value in whole.state_dict().items() if not key.startswith(root)}
    state |= {key: torch.randn(shape) for key, shape in published_stem(arch).items()}
    wrapped = {wrapping + key: value for key, value in state.items()}
    if "model." in wrapping and source.mean[0] > 0:
        prefix = wrapping.removesuffix("model.") if wrapping.endswith(".model.") else wrapping
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (source.mean, source.std))
        wrapped |= {f"{prefix}normalize.mean": mean, f"{prefix}normalize.std": std}
    torch.save(wrapped, tmp_path / source.filename)
    backbone = SourceTimm(arch, source=name)
    backbone.init_weights()
    loaded = backbone.state_dict()
    assert all(torch.equal(loaded[f"net.{key}"], state[key]) for key in published_stem(arch))
    assert sum(key.startswith("net.") for key in loaded) == sum(
        not key.startswith(("head.fc", "head.w", "head.b")) for key in state
    )
    cfg = with_source(load(CONFIG), name)
    assert cfg.model.data_preprocessor.std == ([255.0] * 3 if source.mean[0] == 0 else [58.395, 57.12, 57.375])


def test_the_stem_computes_what_the_papers_code_does() -> None:
    """Convolution, mean and variance over channels, GELU; twice."""
    net = timm_net("convnext_tiny_cvst")
    x = y = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        for i in (0, 3):
            conv, norm = net.stem.stem[i], net.stem.stem[i + 1]
            y = nn.functional.conv2d(y, conv.weight, conv.bias, stride=2, padding=1)
            mean = y.mean(1, keepdim=True)
            y = (y - mean) / ((y - mean).pow(2).mean(1, keepdim=True) + 1e-6).sqrt()
            y = nn.functional.gelu(norm.weight[:, None, None] * y + norm.bias[:, None, None])
        torch.testing.assert_close(net.stem(x), y)
        assert net.stem(x).shape == (2, 96, 8, 12)


def timm_net(name: str) -> nn.Module:
    from rtx.sources.catalog.timm_models import build_timm

    return build_timm(name)


def test_other_pixel_statistics_in_the_file_are_refused(tmp_path: Path) -> None:
    state = timm_net("vit_small_patch16_cvst").state_dict()
    torch.save({**state, "normalize.mean": torch.full((1, 3, 1, 1), 0.5)}, tmp_path / "w.pth")
    with pytest.raises(WeightsMismatch, match=r"normalize.mean is \[0.5, 0.5, 0.5\]"):
        load_source(f"timm:vit_small_patch16_cvst@{tmp_path / 'w.pth'}", "timm:vit_small_patch16_cvst")


def test_transfer_modes_know_the_stem() -> None:
    backbone = SourceTimm("convnext_tiny_cvst", frozen_stages=0)
    assert backbone.plan.frozen == ("net.stem",) and backbone(torch.zeros(1, 3, 75, 64))[0].shape == (1, 96, 19, 16)


# -- OpenMMLab's ConvNeXt, in whose keys one robust file is published --------------------------------------------------


def test_openmmlabs_convnext_keys_become_timms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mmpretrain = pytest.importorskip("mmpretrain.models")
    torch.manual_seed(0)
    theirs = mmpretrain.ConvNeXt(
        "tiny", out_indices=(0, 1, 2, 3), layer_scale_init_value=1.0, gap_before_final_norm=False
    )
    theirs.eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.05)
    source = CATALOG["convnext_tiny_oddefense_linf_eps4"]
    monkeypatch.setenv("RTX_WEIGHTS", str(tmp_path))
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / source.filename)
    ours = SourceTimm("convnext_tiny", source=source.name, final=True).eval()
    ours.init_weights()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        mine, last = ours(x), theirs(x)
    norms = [theirs.norm0, theirs.norm1, theirs.norm2]
    for a, b, norm in zip(mine, last, norms, strict=False):
        torch.testing.assert_close(norm(a), b, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.net.head.norm(mine[3]), last[3], rtol=1e-4, atol=1e-4)
