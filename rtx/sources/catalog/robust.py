"""The part of the catalogue with adversarially trained networks of 2020 to 2024 beyond Salman et al.'s, and DINOv3.

Facts are those of the publishers' repositories (thu-ml/ares 306e35f, thu-ml/oddefense f147296, nmndeep/revisiting-at
d7166c0, nmndeep/robust-segmentation afe839e) and of RobustBench's model zoo (78fcc9e), which keeps copies of others'
files. Pixel statistics are those that its code puts before each network: none for some, which then see [0, 1] pixels.
Networks with a MeanSparse operator, MIMIR's Swins, RobArch, XCiT-M12 and -L12 and mixtures are left out: timm has no
such networks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rtx.sources.catalog.record import Source

DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
_ARES = "https://ml.cs.tsinghua.edu.cn/~xiaoyang/aresbench/ckpt-imagenet/"
_RAW: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def _linf(name: str, arch: str, filename: str, *urls: str, top1: float | None = None, **facts: Any) -> Source:
    """A network trained against Linf 4/255; `top1` in percent."""
    defaults: dict[str, Any] = {"licence": "not stated", "layout": "torchvision"}
    recipe = name.removeprefix(f"{arch.removeprefix('timm:')}_").removesuffix("_linf_eps4")
    accuracy = None if top1 is None else round(top1 / 100, 5)
    return Source(
        name=name, arch=arch, recipe=recipe, filename=filename, urls=urls, threat="linf", eps=4 / 255,
        clean_top1=accuracy, **{**defaults, **facts},
    )  # fmt: skip


def _ares() -> Iterable[Source]:
    for name, arch, stem, top1 in (
        ("resnet50", "resnet50", "ResNet50", 67.0),
        ("resnet101", "resnet101", "ResNet101", 71.0),
        ("resnet152", "resnet152", "ResNet152", 72.4),
        ("wide_resnet50_2", "wide_resnet50_2", "Wide_ResNet50_2", 70.5),
        ("convnext_small", "timm:convnext_small", "ConvNext_Small", 77.3),
        ("convnext_base", "timm:convnext_base", "ConvNext_Base", 77.2),
        ("convnext_large", "timm:convnext_large", "ConvNext_Large", 78.8),
        ("vit_small_patch16_224", "timm:vit_small_patch16_224", "ViT_small_patch16_224", 70.7),
        ("vit_base_patch16_224", "timm:vit_base_patch16_224", "ViT_base_patch16_224", 74.7),
        ("swin_large_patch4_window7_224", "timm:swin_large_patch4_window7_224", "Swin_large_patch4_window7_224", 79.7),
    ):
        filename = f"ARES_{stem}_AT.pth"
        yield _linf(
            f"{name}_ares_linf_eps4", arch, filename, _ARES + filename, top1=top1,
            licence="Apache-2.0 (repository)", paper="Liu et al., arXiv:2302.14301", unverified=("layout",),
            note="accuracy on 1,000 images",
        )  # fmt: skip


def _oddefense() -> Iterable[Source]:
    hub = "https://huggingface.co/suixin1424/oddefense/resolve/main/"
    facts: dict[str, Any] = {"licence": "MIT (repository)", "paper": "Li et al., TIFS 2025, arXiv:2305.17438"}
    yield _linf(
        "resnet50_oddefense_linf_eps4", "resnet50", "resnet50_linf_eps4_pure.pth", hub + "resnet50_linf_eps4_pure.pth",
        unverified=("layout", "eps", "threat"),
        note="eps is that of the file's name; perhaps Salman et al.'s weights", **facts,
    )  # fmt: skip
    filename = "convnext_tiny_mmcls-linf-eps-4-advan.pth"
    yield _linf(
        "convnext_tiny_oddefense_linf_eps4", "timm:convnext_tiny", filename, hub + filename,
        unverified=("layout", "eps", "threat"), note="OpenMMLab's keys; eps is that of the file's name", **facts,
    )  # fmt: skip


def _singh() -> Iterable[Source]:
    facts: dict[str, Any] = {"paper": "Singh et al., NeurIPS 2023, arXiv:2303.01870"}
    for arch, share, top1, pixels in (
        ("convnext_tiny_cvst", "1-FjtOF6LJ3-bf4VezsmWwncCxYSx-USP", 72.7, _RAW),
        ("convnext_small_cvst", "1-ZrMYajCCnrtV4oT0wa3qJJoQy1nUSnL", 74.1, _RAW),
        ("convnext_base_cvst", "1-lE-waaVvfL7lgBrydmZIM9UJimmHnVe", 75.9, _RAW),
        ("convnext_large_cvst", "10-YOVdM2EQjHemSi9x2H44qKRSOXVQmh", 77.0, _RAW),
        ("vit_small_patch16_cvst", "1-1sUYXnj6bDXacIKI3KKqn4rlkmL-ZI2", 72.5, {}),
        ("vit_base_patch16_cvst", "1-JBbfi_eH3tKMXObvPPHprrZae0RiQGT", 76.3, _RAW),
    ):
        name = f"{arch}_singh2023_linf_eps4"
        yield _linf(
            name, f"timm:{arch}", f"{name}.pt", DRIVE + share, top1=top1,
            unverified=("layout", "filename", "mean", "std"),
            note="RobustBench's copy, whose code puts these pixel statistics before it", **facts, **pixels,
        )  # fmt: skip
    yield _linf(
        "vit_medium_patch16_cvst_singh2023_linf_eps4", "timm:vit_medium_patch16_cvst",
        "vit_medium_patch16_cvst_singh2023_linf_eps4.pt", top1=72.4,
        unverified=("layout", "filename", "mean", "std"),
        note="in the folder https://nc.mlcloud.uni-tuebingen.de/index.php/s/q2mkEYtq5Zjpa4e of the authors",
        **facts, **_RAW,
    )  # fmt: skip


def _pirat() -> Iterable[Source]:
    """Whole UperNets, which `rtx corrupt_eval --model pirat:NAME` evaluates; as a source, their backbones."""
    cloud = "https://nc.mlcloud.uni-tuebingen.de/index.php/s/{}/download"
    for size, data, share, clean, attacked in (
        ("tiny", "voc", "zSFgoAngcm47FZm", 75.2, 63.8),
        ("small", "voc", "MBXnMd5QKztmZaa", 76.6, 66.2),
        ("tiny", "ade20k", "ACMQRiyfyXboXwT", 31.7, 18.6),
        ("small", "ade20k", "Smogk2BWbfMxkyo", 32.1, 19.2),
    ):
        arch = f"convnext_{size}_cvst"
        yield _linf(
            f"{arch}_pirat_{data}_linf_eps4", f"timm:{arch}", f"upernet_{arch}_pirat_{data}.pth", cloud.format(share),
            layout="mmengine", paper="Croce et al., ECCV 2024, arXiv:2306.12941",
            unverified=("urls", "layout", "filename"),
            note=f"UperNet on {data}: published mIoU {clean}, {attacked} under attack (SEA, 4/255); keys are those of "
            "its code", **_RAW,
        )  # fmt: skip


def _robustbench() -> Iterable[Source]:
    for name, arch, share, top1, paper, pixels in (
        ("resnet50_wong2020", "resnet50", "1deM2ZNS5tf3S_-eRURJi-IlvUL8WJQ_w", 55.62,
         "Wong et al., ICLR 2020, arXiv:2001.03994", {}),
        ("wide_resnet50_2_chen2024", "wide_resnet50_2", "1-PBlZVILAKFQ7mF8srKjdkTKJZAr61Uf", 68.76,
         "Chen & Lee, Pattern Recognition 2024", _RAW),
        ("vit_base_patch16_224_mo2022", "timm:vit_base_patch16_224", "1-dUFdvDBflqMsMLjZv3wlPJTm-Jm7net", 68.38,
         "Mo et al., NeurIPS 2022, arXiv:2210.07540", {}),
        ("swin_large_patch4_window7_224_rodriguezmunoz2024", "timm:swin_large_patch4_window7_224",
         "1-Dc9WhPU2wv4OMskLo1U57n5O8VbpNXv", 79.36, "Rodriguez-Munoz et al., arXiv:2409.20139", {}),
    ):  # fmt: skip
        full = f"{name}_linf_eps4"
        yield _linf(
            full, arch, f"{full}.pt", DRIVE + share, top1=top1, paper=paper,
            unverified=("layout", "filename", *(("mean", "std") if pixels else ())),
            note="RobustBench's copy; the accuracy is RobustBench's", **pixels,
        )  # fmt: skip
    filename = "debenedetti2022light-xcit-s-imagenet-linf.pth.tar"  # timm has no M12 and L12 of this patch size
    yield _linf(
        "xcit_small_12_p16_224_debenedetti2022_linf_eps4", "timm:xcit_small_12_p16_224", filename,
        f"https://github.com/RobustBench/robustbench/releases/download/v1.1/{filename}", top1=72.34,
        paper="Debenedetti et al., arXiv:2209.07399", unverified=("layout", "mean", "std"),
        note="RobustBench's copy and accuracy; its code puts no pixel statistics before it", **_RAW,
    )  # fmt: skip


_DINOV3 = "DINOv3 License (Meta): who passes on these weights, or what was trained from them, passes on this licence"


def _dinov3() -> Iterable[Source]:
    for arch in (
        "vit_small_patch16_dinov3", "vit_small_plus_patch16_dinov3", "vit_base_patch16_dinov3",
        "vit_large_patch16_dinov3", "convnext_tiny", "convnext_small", "convnext_base", "convnext_large",
    ):  # fmt: skip
        tag = "dinov3_lvd1689m" if arch.startswith("convnext") else "lvd1689m"
        yield Source(
            name=f"{arch}_{tag}", arch=f"timm:{arch}", recipe=tag, filename=f"{arch}.{tag}.safetensors",
            urls=(f"https://huggingface.co/timm/{arch}.{tag}/resolve/main/model.safetensors",), layout="torchvision",
            licence=_DINOV3,
            paper="Simeoni et al., arXiv:2508.10104", unverified=("layout",),
            note="self-supervised, no classifier; the licence is at ai.meta.com/resources/models-and-libraries",
        )  # fmt: skip


def robust_sources() -> Iterable[Source]:
    """All of them."""
    for part in (_ares, _oddefense, _singh, _pirat, _robustbench, _dinov3):
        yield from part()
