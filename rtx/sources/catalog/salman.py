"""The part of the catalogue that one publication fills: the 67 networks of Salman et al. (2020)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rtx.sources.catalog.record import Source, Threat

MIRROR = "https://huggingface.co/madrylab/robust-imagenet-models/resolve/main/"

# microsoft/robust-models-transfer README: ImageNet top-1 in percent per eps. Its own links expired in October 2021; the
# maintainers name the mirror (MadryLab/robustness, issue 125).
L2_EPS = ("0", "0.01", "0.03", "0.05", "0.1", "0.25", "0.5", "1", "3", "5")
L2_TOP1 = {
    "resnet18": (69.79, 69.90, 69.24, 69.15, 68.77, 67.43, 65.49, 62.32, 53.12, 45.59),
    "resnet50": (75.80, 75.68, 75.76, 75.59, 74.78, 74.14, 73.16, 70.43, 62.83, 56.13),
    "wide_resnet50_2": (76.97, 77.25, 77.26, 77.17, 76.74, 76.21, 75.11, 73.41, 66.90, 60.94),
    "wide_resnet50_4": (77.91, 78.02, 77.87, 77.77, 77.64, 77.10, 76.52, 75.51, 69.67, 65.20),
}
LINF_EPS = ("0.5", "1", "2", "4", "8")
LINF_TOP1 = {
    "resnet18": (66.13, 63.46, 59.63, 52.49, 42.11),
    "resnet50": (73.73, 72.05, 69.10, 63.86, 54.53),
    "wide_resnet50_2": (75.82, 74.65, 72.35, 68.41, 60.82),
}
# Architecture: (stem of the file name, top-1 at eps 0 and 3).
_EXTRA_TOP1 = {
    "densenet161": ("densenet", (77.37, 66.98)),
    "mnasnet1_0": ("mnasnet", (60.97, 41.83)),
    "mobilenet_v2": ("mobilenet", (65.26, 50.40)),
    "resnext50_32x4d": ("resnext50_32x4d", (77.38, 66.25)),
    "shufflenet_v2_x1_0": ("shufflenet", (64.25, 43.32)),
    "vgg16_bn": ("vgg16_bn", (73.66, 57.19)),
}
# The mirror's whole ResNet-50 L2 row is used by third-party code; of the other files only the names are known.
_SEEN_ON_MIRROR = {f"resnet50_l2_eps{eps}" for eps in L2_EPS} | {"resnet50_linf_eps4"}


def _salman(arch: str, threat: Threat, eps: str, top1: float, stem: str | None = None) -> Source:
    """One file of Salman et al. (2020); file names write eps as the README does (Linf with one decimal)."""
    filename = f"{stem or arch}_{threat}_eps{f'{float(eps):.1f}' if threat == 'linf' else eps}.ckpt"
    name = f"{arch}_{threat}_eps{eps}"
    standard = eps == "0"
    # Their training code wraps these networks once more; no file was at hand to confirm it.
    unverified = ("layout",) if stem else ()
    return Source(
        name=name,
        arch=arch,
        recipe=threat,
        threat="none" if standard else threat,
        eps=float(eps) / 255 if threat == "linf" else float(eps),
        filename=filename,
        urls=(MIRROR + filename,),
        layout="robustness_wrapped" if stem else "robustness",
        licence="MIT",
        paper="Salman et al., NeurIPS 2020, arXiv:2007.08489",
        clean_top1=round(top1 / 100, 5),
        unverified=unverified if name in _SEEN_ON_MIRROR else (*unverified, "urls"),
        note="standard training with the recipe of the robust nets, not torchvision's" if standard else "",
    )


def salman_sources() -> Iterable[Source]:
    """All of them, in the order of the README."""
    for arch, row in L2_TOP1.items():
        for eps, top1 in zip(L2_EPS, row, strict=True):
            yield _salman(arch, "l2", eps, top1)
    for arch, linf_row in LINF_TOP1.items():
        for eps, top1 in zip(LINF_EPS, linf_row, strict=True):
            source = _salman(arch, "linf", eps, top1)
            if source.name == "resnet50_linf_eps4":
                # The only hash and size known, from a third-party registry.
                pinned = "9e62216975c111b8081481533b6142dec34be69abe5d90b54d7f860015c263db"
                source = replace(source, sha256=pinned, size=204_818_947, unverified=("sha256", "size"))
            yield source
    for arch, (stem, pair) in _EXTRA_TOP1.items():
        for eps, top1 in zip(("0", "3"), pair, strict=True):
            yield _salman(arch, "l2", eps, top1, stem)
