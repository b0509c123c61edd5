"""Utrera et al. (2021), Table 1b: ImageNet's own heads of networks trained on Stylized-ImageNet, under PGD(3)."""

experiment = dict(
    title="ResNet-50 of ImageNet, Stylized-ImageNet and both, with their own heads, under PGD(3)",
    paper="utrera2021",
    place="Table 1b, section 5",
    question="Does a network that looks at shapes withstand attacks?",
    evaluation="own_head",
    attack=dict(threat="l2", eps=["3/32", "3/16"], steps=3, no_random_start=True),
    doubts=[
        "the norm is not stated; L2 here, as of their sources",
        "the step is 2.5 eps / 3 as in the code of the authors (--step 2.5); the worst of the steps counts",
        "which network of IN + SIN is meant is not stated; that without fine-tuning here (resnet50_sin_in)",
    ],
)

SOURCES = {"in": ("resnet50_in1k_v1", "in1k"), "sin": ("resnet50_sin", "sin"), "sin_in": ("resnet50_sin_in", "sin_in")}
runs = [
    dict(
        name=name,
        config="classify_r50.py",
        source=source,
        flags=dict(target="imagenet"),
        published=[dict(place="Table 1b", source=printed)],
    )
    for name, (source, printed) in SOURCES.items()
]
