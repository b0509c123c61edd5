"""Utrera et al. (2021), Table 7, last column: a ResNet-50 without source."""

experiment = dict(
    title="small subsets of six targets, ResNet-50 from random weights",
    paper="utrera2021",
    place="Table 7, appendix A.5",
    question="What does a source give at all?",
    evaluation="clean",
    keep_weights=False,
    doubts=[
        "initialisation of the whole network: mmpretrain's",
        "seeds, subsets, head and learning rate as in utrera2021_subsets",
    ],
)

TARGETS = ("cifar100", "cifar10", "svhn", "fashion_mnist", "kmnist", "mnist")
SEEDS = {100 * 2**i: 20 for i in range(5)} | {3200: 10, 6400: 10, 12_800: 5, 25_600: 5, None: 1}
runs = [
    dict(
        name=f"scratch_{target}_n{images or 'all'}",
        config="classify_r50.py",
        source="random",
        transfer="full",
        flags=dict(target=target, recipe="utrera", **({"images": images} if images else {})),
        seeds=tuple(20_000_000 + 100_000 * i for i in range(count)),
        published=[dict(place="Table 7", dataset=target, source="random", images=images)],
    )
    for target in TARGETS
    for images, count in SEEDS.items()
]
