"""Salman et al. (2020), Figure 7: fixed-feature transfer of targets that were scaled down to 32 pixels and up again."""

experiment = dict(
    title="fixed-feature transfer to 12 targets at 32 pixels, ResNet-50, ten L2 eps",
    paper="salman2020",
    place="Figure 7, section 4.3 (values in the figure only)",
    question="Is it the granularity of a target that decides which eps is best?",
    evaluation="clean",
    keep_weights=False,
    doubts=[
        "the text says 32 x 32, the commented line of the code scales the short side to 32; as the code here "
        "(--view downscale:32x32 for the other)",
        "which architectures is not in the text; ResNet-50 here",
        "batch norm and pixels as in salman2020_fixed",
    ],
)

EPS = ("0", "0.01", "0.03", "0.05", "0.1", "0.25", "0.5", "1", "3", "5")
TARGETS = (
    "aircraft", "birdsnap", "cifar10", "cifar100", "caltech101", "caltech256", "cars", "dtd", "flowers", "food", "pets",
    "sun397",
)  # fmt: skip
runs = [
    dict(
        name=f"resnet50_eps{eps}_{target}",
        config="classify_r50.py",
        source=f"resnet50_l2_eps{eps}",
        transfer="fixed",
        flags=dict(target=target, recipe="salman", lr=0.01, view="downscale:32"),
        seeds=(0, 1, 2),
    )
    for eps in EPS
    for target in TARGETS
]
