"""How robust the published source models are on ImageNet-C: the source axis."""

from __future__ import annotations

from rtx.reports.published.record import Paper, Record, fraction

PAPERS = (
    Paper(
        "rusak2020",
        "Rusak, Schott, Zimmermann, Bitterwolf, Bringmann, Bethge, Brendel: "
        "A Simple Way to Make Neural Networks Robust Against Diverse Image Corruptions, ECCV 2020",
        "https://arxiv.org/abs/2001.06057",
        (),
    ),
    Paper(
        "modas2022",
        "Modas, Rade, Ortiz-Jiménez, Moosavi-Dezfooli, Frossard: "
        "PRIME: A Few Primitives Can Boost Robustness to Common Corruptions, ECCV 2022",
        "https://arxiv.org/abs/2112.13547",
        (),
    ),
    Paper(
        "hendrycks2021",
        "Hendrycks et al.: The Many Faces of Robustness, ICCV 2021",
        "https://arxiv.org/abs/2006.16241",
        (),
    ),
)
# paper, recipe of a ResNet-50, ImageNet top-1, mean top-1 on ImageNet-C, mCE
_ROWS = (
    ("rusak2020", "in1k", 76.1, 39.2, 76.7),
    ("rusak2020", "speckle", 75.8, 46.4, 68.3),
    ("rusak2020", "gauss_0.5", 75.9, 49.4, 64.5),
    ("rusak2020", "ant", 76.1, 51.1, 62.5),
    ("rusak2020", "ant_sin", 74.9, 52.2, 61.2),
    ("rusak2020", "ant3x3", 76.1, 50.4, 63.4),
    ("rusak2020", "ant3x3_sin", 74.1, 52.6, 60.7),
    ("modas2022", "augmix", 77.5, 48.3, 65.3),
    ("modas2022", "deepaug", 76.7, 52.6, 60.4),
    ("modas2022", "prime_nojsd", 77.0, 55.0, 57.5),
    ("modas2022", "prime", 75.3, 56.4, 55.5),
)
_MCE_ONLY = (("hendrycks2021", "deepaug_augmix", 53.6), ("hendrycks2021", "sin", 69.3))


def records() -> list[Record]:
    """Every number; a mCE is relative to AlexNet and may exceed 1."""
    printed = [(p, s, "top1", "P", v) for p, s, v, _, _ in _ROWS]
    printed += [(p, s, "top1", "mPC", v) for p, s, _, v, _ in _ROWS]
    printed += [(p, s, "error", "mCE", v) for p, s, *_, v in (*_ROWS, *_MCE_ONLY)]
    rows = (
        (p, "results table", "imagenet_val" if q == "P" else "imagenet_c", "classifier", "resnet50", s, "", m, q, v)
        for p, s, m, q, v in printed
    )
    return [Record(*row[:-1], fraction(row[-1])) for row in rows]
