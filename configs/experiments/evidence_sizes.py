"""Fixed, blocks:1 and full from a trained and a random ResNet-18, 100 to 1600 images of five targets.

Needs the files of small_sources, and in data/ cifar10, mnist, fashion_mnist, kmnist (parts of them will do) and folder,
a set of class folders with 400 images and more (of Caltech-101, say):
rtx experiments run evidence_sizes --data-root data
"""

experiment = dict(
    title="ResNet-18 at 32 pixels on five targets: fixed, blocks:1 and full with 100 to 1600 images",
    paper="utrera2021",
    place="Figures 2 and 4, Table 7; Salman et al. (2020), Table 1",
    question="What does a source give, by size of the target and by how much of the network is trained?",
    evaluation="clean",
    keep_weights=False,
    doubts=[
        "sources are ResNet-18 trained on some 2,300 photos of CIFAR-10, for CIFAR-10 itself on 400 of Caltech-101",
        "8 epochs whatever the size, one seed",
        "with the CIFAR-10 source's own batch-norm statistics, features of digits on black lie along one direction "
        "(effective rank 1.04 on MNIST; 35 on CIFAR-10; 78 with random weights): a source of other pixels",
    ],
)

TARGETS = {
    "mnist": (100, 400, 1600),
    "fashion_mnist": (100, 400, 1600),
    "kmnist": (100, 400, 1600),
    "cifar10": (100, 400, 1600),
    "folder": (100, 400),
}
runs = [
    dict(
        name=f"{name}_{target}_{transfer.replace(':', '')}_n{size}",
        config="classify_r50.py",
        source=source
        or f"resnet18:work_dirs/small_sources/{'folder' if target == 'cifar10' else 'cifar10'}/source.pth",
        transfer=transfer,
        flags=dict(target=target, subset=True, images=size, image_size=32, epochs=8, recipe="salman"),
        options={"train_dataloader.batch_size": 32},
    )
    for target, sizes in TARGETS.items()
    for size in sizes
    for name, source in (("trained", ""), ("random", "resnet18:random"))
    for transfer in ("fixed", "blocks:1", "full")
]

claims = [
    *(
        dict(
            name=f"sizes-full-{size}",
            claim=f"From a small trained source, full training is better than fixed features with {size} images",
            paper="salman2020",
            place="Table 1",
            found="full-network transfer is better on all twelve targets, which have 2,000 images and more",
            kind="images",
            first=dict(run=f"trained_*_full_n{size}/seed0"),
            second=dict(run=f"trained_*_fixed_n{size}/seed0"),
        )
        for size in (100, 400, 1600)
    ),
    *(
        dict(
            name=f"sizes-source-{size}",
            claim=f"After full training with {size} images, a small trained source is better than none",
            paper="utrera2021",
            place="Table 7",
            found="training from nothing is behind all sources",
            kind="images",
            first=dict(run=f"trained_*_full_n{size}/seed0"),
            second=dict(run=f"random_*_full_n{size}/seed0"),
        )
        for size in (100, 400, 1600)
    ),
    dict(
        name="sizes-blocks",
        claim="With 100 images, training one block is better than fixed features",
        paper="utrera2021",
        place="Figure 4",
        found="with few images few blocks are best, with many all of them",
        kind="images",
        first=dict(run="trained_*_blocks1_n100/seed0"),
        second=dict(run="trained_*_fixed_n100/seed0"),
    ),
]
