"""Salman et al. (2020), Table 2: ImageNet and CIFAR-10 accuracy of six architectures, standard and robust."""

experiment = dict(
    title="CIFAR-10 from six architectures at eps 0 and 3: does ImageNet accuracy predict transfer?",
    paper="salman2020",
    place="Table 2, section 4.1",
    question="Is source accuracy a good predictor once the robustness of the source is fixed?",
    evaluation="clean",
    keep_weights=False,
    doubts=[
        "the table prints letters A to F. The names here follow from the ImageNet accuracies of the code release",
        "fixed or full is not stated; full-network here, by the size of the accuracies",
        "learning rate and seeds are not stated; .001 and one seed here",
    ],
)

LETTERS = {
    "densenet161": "A",
    "resnext50_32x4d": "B",
    "vgg16_bn": "C",
    "mobilenet_v2": "D",
    "shufflenet_v2_x1_0": "E",
    "mnasnet1_0": "F",
}
runs = [
    dict(
        name=f"{arch}_eps{eps}",
        config="classify_r50.py",
        source=f"{arch}_l2_eps{eps}",
        transfer="full",
        flags=dict(target="cifar10", recipe="salman", lr=0.001),
        published=[dict(place="Table 2", dataset="cifar10", backbone=f"architecture {letter}", source=printed)],
    )
    for eps, printed in (("0", "eps0"), ("3", "l2_eps3"))
    for arch, letter in LETTERS.items()
]
