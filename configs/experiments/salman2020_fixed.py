"""Salman et al. (2020), Figures 2, 5 and 6a, Table 1 (first half): fixed features over eps, width and target."""

experiment = dict(
    title="fixed-feature transfer to 12 targets: ResNet-18, ResNet-50 and its two widths, ten L2 eps",
    paper="salman2020",
    place="Figures 2, 5 and 6a, Table 1, section 2",
    question="Do adversarially robust sources give better features, and how robust should a source be?",
    evaluation="clean",
    keep_weights=False,
    published=[dict(place="code release, best runs", transfer="fixed")],
    doubts=[
        "batch norm: the authors' code lets the statistics of frozen layers drift (--norm upstream); kept here, so "
        "that the features are the source's own",
        "pixels: the authors' code drops ImageNet's statistics at transfer (--normalise upstream); kept here",
        "eps and learning rate were chosen on the test set; the table of this experiment says so",
        "the paper's text gives WRN-50-4 a coarser grid of eps; its release has all ten, which are here",
        "error bars are the extremes of three trials; which seeds is not stated, 0 to 2 here",
    ],
)

ARCHS = ("resnet18", "resnet50", "wide_resnet50_2", "wide_resnet50_4")
EPS = ("0", "0.01", "0.03", "0.05", "0.1", "0.25", "0.5", "1", "3", "5")
TARGETS = (
    "aircraft", "birdsnap", "cifar10", "cifar100", "caltech101", "caltech256", "cars", "dtd", "flowers", "food", "pets",
    "sun397",
)  # fmt: skip
# The tuned table of the code release: .01, with one exception.
OTHER_RATE = {("wide_resnet50_4", "dtd"): 0.001}

runs = [
    dict(
        name=f"{arch}_eps{eps}_{target}",
        config="classify_r50.py",
        source=f"{arch}_l2_eps{eps}",
        transfer="fixed",
        flags=dict(target=target, recipe="salman", lr=OTHER_RATE.get((arch, target), 0.01)),
        seeds=(0, 1, 2),
    )
    for arch in ARCHS
    for eps in EPS
    for target in TARGETS
]
