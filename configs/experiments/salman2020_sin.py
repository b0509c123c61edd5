"""Salman et al. (2020), Figure 8: texture-invariant (Stylized-ImageNet) against standard and robust sources."""

experiment = dict(
    title="ResNet-50 trained on Stylized-ImageNet to 12 targets; standard and robust ones to Stylized-ImageNet",
    paper="salman2020",
    place="Figure 8, section 4.4 (values in the figure only)",
    question="Is it invariance to texture that makes robust sources transfer?",
    evaluation="clean",
    keep_weights=False,
    doubts=[
        "standard and robust sources on the 12 targets are the runs of salman2020_fixed and salman2020_full",
        "fixed or full is not stated; both here",
        "which robust eps is fine-tuned on Stylized-ImageNet is not in the text; 3 here",
        "the upper half of Figure 8a takes no training: salman2020_sin_tested",
        "the schedule on Stylized-ImageNet is not stated; the recipe's 150 epochs would take weeks, 10 here",
    ],
)

TARGETS = (
    "aircraft", "birdsnap", "cifar10", "cifar100", "caltech101", "caltech256", "cars", "dtd", "flowers", "food", "pets",
    "sun397",
)  # fmt: skip
SHARED = dict(config="classify_r50.py")
RATES = {"fixed": 0.01, "full": 0.001}
runs = [
    dict(
        SHARED,
        name=f"sin_{transfer}_{target}",
        source="resnet50_sin",
        transfer=transfer,
        flags=dict(target=target, recipe="salman", lr=rate),
        seeds=(0, 1, 2),
    )
    for transfer, rate in RATES.items()
    for target in TARGETS
]
runs += [
    dict(
        SHARED,
        name=f"{name}_{transfer}_stylized_imagenet",
        source=source,
        transfer=transfer,
        flags=dict(target="stylized_imagenet", recipe="salman", lr=rate, epochs=10),
    )
    for name, source in (("standard", "resnet50_l2_eps0"), ("robust", "resnet50_l2_eps3"))
    for transfer, rate in RATES.items()
]
