"""THE list of pretrained source models.

Each fact comes from the publisher's repository or paper named in the record; a field listed in `unverified` rests on
memory, inference or a third party. Hashes are never invented: most publishers gave none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from rtx.errors import unknown_name
from rtx.sources.record import Source

MIRROR = "https://huggingface.co/madrylab/robust-imagenet-models/resolve/main/"
TORCHVISION = "https://download.pytorch.org/models/"

# microsoft/robust-models-transfer README, ImageNet top-1 in percent per eps.
_L2_EPS = ("0", "0.01", "0.03", "0.05", "0.1", "0.25", "0.5", "1", "3", "5")
_L2_TOP1 = {
    "resnet18": (69.79, 69.90, 69.24, 69.15, 68.77, 67.43, 65.49, 62.32, 53.12, 45.59),
    "resnet50": (75.80, 75.68, 75.76, 75.59, 74.78, 74.14, 73.16, 70.43, 62.83, 56.13),
    "wide_resnet50_2": (76.97, 77.25, 77.26, 77.17, 76.74, 76.21, 75.11, 73.41, 66.90, 60.94),
    "wide_resnet50_4": (77.91, 78.02, 77.87, 77.77, 77.64, 77.10, 76.52, 75.51, 69.67, 65.20),
}
_LINF_EPS = ("0.5", "1", "2", "4", "8")
_LINF_TOP1 = {
    "resnet18": (66.13, 63.46, 59.63, 52.49, 42.11),
    "resnet50": (73.73, 72.05, 69.10, 63.86, 54.53),
    "wide_resnet50_2": (75.82, 74.65, 72.35, 68.41, 60.82),
}


def _salman(arch: str, threat: str, eps: str, top1: float, stem: str | None = None) -> Source:
    """One file of Salman et al. (2020); file names write eps as the README does (Linf with one decimal)."""
    file_eps = f"{float(eps):.1f}" if threat == "linf" else eps
    filename = f"{stem or arch}_{threat}_eps{file_eps}.ckpt"
    standard = eps == "0"
    return Source(
        name=f"{arch}_{threat}_eps{eps}",
        arch=arch,
        recipe=threat,
        threat="none" if standard else ("linf" if threat == "linf" else "l2"),
        eps=float(eps) / 255 if threat == "linf" else float(eps),
        filename=filename,
        urls=(MIRROR + filename,),
        layout="robustness",
        licence="MIT",
        paper="Salman et al., Do Adversarially Robust ImageNet Models Transfer Better?, NeurIPS 2020",
        clean_top1=round(top1 / 100, 4),
        # Only a few addresses of the mirror were ever seen; the publisher's own links expired in 2021.
        unverified=("urls",),
        note="standard training with the recipe of the robust nets, not torchvision's" if standard else "",
    )


def _torchvision(arch: str, filename: str, top1: float) -> Source:
    """One of torchvision's first-generation (V1) classification weights; the file name carries 8 digits of sha256."""
    return Source(
        name=f"{arch}_in1k_v1",
        arch=arch,
        recipe="in1k_v1",
        filename=filename,
        urls=(TORCHVISION + filename,),
        layout="torchvision",
        licence="BSD-3-Clause (torchvision)",
        paper="He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
        clean_top1=round(top1 / 100, 5),
        sha256_prefix=filename.removesuffix(".pth").rpartition("-")[2],
        note="torchvision IMAGENET1K_V1; the V2 weights of the same name are another recipe",
    )


def _build() -> Iterable[Source]:
    yield _torchvision("resnet18", "resnet18-f37072fd.pth", 69.758)
    yield _torchvision("resnet34", "resnet34-b627a593.pth", 73.314)
    yield _torchvision("resnet50", "resnet50-0676ba61.pth", 76.130)
    yield _torchvision("resnet101", "resnet101-63fe2227.pth", 77.374)
    for arch, row in _L2_TOP1.items():
        for eps, top1 in zip(_L2_EPS, row, strict=True):
            yield _salman(arch, "l2", eps, top1)
    for arch, linf_row in _LINF_TOP1.items():
        for eps, top1 in zip(_LINF_EPS, linf_row, strict=True):
            source = _salman(arch, "linf", eps, top1)
            if source.name == "resnet50_linf_eps4":
                # The one hash and size anybody pinned, in a third-party registry.
                source = replace(
                    source,
                    sha256="9e62216975c111b8081481533b6142dec34be69abe5d90b54d7f860015c263db",
                    size=204_818_947,
                    unverified=("urls", "sha256", "size"),
                )
            yield source


CATALOG: Mapping[str, Source] = {source.name: source for source in _build()}

_SHORT_ARCHS = {
    "r18": "resnet18",
    "r34": "resnet34",
    "r50": "resnet50",
    "r101": "resnet101",
    "wrn50_2": "wide_resnet50_2",
    "wrn50_4": "wide_resnet50_4",
}


def _short_names() -> dict[str, str]:
    """Short forms of config file names: `r50` is the standard net, `r50_eps3` the L2 one, `r50_linf_eps4`, ..."""
    names: dict[str, str] = {}
    for short, arch in _SHORT_ARCHS.items():
        for name in CATALOG:
            if name == f"{arch}_in1k_v1":
                names[short] = name
            elif name.startswith(f"{arch}_l2_eps"):
                names[f"{short}_{name.removeprefix(f'{arch}_l2_')}"] = name
            elif name.startswith(f"{arch}_linf_eps"):
                names[f"{short}_{name.removeprefix(f'{arch}_')}"] = name
    return names


SHORT_NAMES: Mapping[str, str] = _short_names()


def find(name: str) -> Source:
    """The record of a source by its name or short name.

    Raises:
        UnknownName: there is none; the nearest names are shown.

    Example:
        >>> find("r50_eps3").name
        'resnet50_l2_eps3'
    """
    full = SHORT_NAMES.get(name, name)
    if full not in CATALOG:
        raise unknown_name(
            "source",
            name,
            place="rtx/sources/catalog.py",
            choices=(*CATALOG, *SHORT_NAMES, "random"),
            remedy="see `rtx weights list`; a path to a weights file and 'random' work too",
        )
    return CATALOG[full]
