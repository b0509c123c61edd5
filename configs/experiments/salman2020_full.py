"""Salman et al. (2020), Figures 3 and 6b, Table 1 (second half): full-network transfer over eps, width and target."""

experiment = dict(
    title="full-network transfer to 12 targets: ResNet-18, ResNet-50 and its two widths, ten L2 eps",
    paper="salman2020",
    place="Figures 3 and 6b, Table 1, section 3.1",
    question="Do robust sources still help when every weight is trained?",
    evaluation="clean",
    keep_weights=False,
    published=[dict(place="code release, best runs", transfer="full")],
    doubts=[
        "pixels: the authors' code drops ImageNet's statistics at transfer (--normalise upstream); kept here",
        "the learning rate is that of the best run of its architecture and target in the code release (.001 or .01); "
        "for other eps of the same pair the release says nothing",
        "eps and learning rate were chosen on the test set; the table of this experiment says so",
        "error bars are the extremes of three trials; which seeds is not stated, 0 to 2 here",
    ],
)

ARCHS = ("resnet18", "resnet50", "wide_resnet50_2", "wide_resnet50_4")
EPS = ("0", "0.01", "0.03", "0.05", "0.1", "0.25", "0.5", "1", "3", "5")
TARGETS = (
    "aircraft", "birdsnap", "cifar10", "cifar100", "caltech101", "caltech256", "cars", "dtd", "flowers", "food", "pets",
    "sun397",
)  # fmt: skip
# Where the tuned table has .01: target -> how many of ARCHS, from the first.
HIGH_RATE = {"aircraft": 3, "birdsnap": 2, "cars": 4, "flowers": 4}
RATE = {(arch, target): 0.01 for target, count in HIGH_RATE.items() for arch in ARCHS[:count]}
RATE[("resnet50", "food")] = 0.01

runs = [
    dict(
        name=f"{arch}_eps{eps}_{target}",
        config="classify_r50.py",
        source=f"{arch}_l2_eps{eps}",
        transfer="full",
        flags=dict(target=target, recipe="salman", lr=RATE.get((arch, target), 0.001)),
        seeds=(0, 1, 2),
    )
    for arch in ARCHS
    for eps in EPS
    for target in TARGETS
]
