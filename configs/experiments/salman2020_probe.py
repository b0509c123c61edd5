"""Salman et al. (2020), Figures 2, 5 and 6a, Table 1: fixed features by probes, one pass over the images a source.

The grid of salman2020_fixed without random crops and SGD: logistic regression on cached features, its weight decay
chosen on held-out training images. A part:  rtx experiments run salman2020_probe 'resnet18_*'
"""

from rtx.datasets.classification import TARGETS as ROWS

experiment = dict(
    title="probes of 12 targets: ResNet-18, ResNet-50 and its two widths, ten L2 eps (Salman et al. 2020, Figure 2)",
    kind="rtx.probe.unit:probe",
)

ARCHS = ("resnet18", "resnet50", "wide_resnet50_2", "wide_resnet50_4")
EPS = ("0", "0.01", "0.03", "0.05", "0.1", "0.25", "0.5", "1", "3", "5")
TARGETS = (
    "aircraft", "birdsnap", "cifar10", "cifar100", "caltech101", "caltech256", "cars", "dtd", "flowers", "food", "pets",
    "sun397",
)  # fmt: skip


def passes(target: str) -> int | None:
    row = ROWS[target]
    return None if row.train is None or row.test is None else row.train + row.test


runs = [
    dict(
        name=f"{arch}_eps{eps}_{target}",
        settings=dict(source=f"{arch}_l2_eps{eps}", target=target, data_root=f"data/{target}", images="all"),
        images=passes(target),
    )
    for arch in ARCHS
    for eps in EPS
    for target in TARGETS
]
