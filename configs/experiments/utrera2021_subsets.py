"""Utrera et al. (2021), Figures 2 to 5 and Table 7: 12,576 fine-tuned ResNet-50s.

Four sources, 0, 1, 3 or 9 blocks that train, six targets, ten sizes of the training set; 131 runs for each of the 96
combinations (Table 4). One part:  rtx experiments run utrera2021_subsets figure3
"""

experiment = dict(
    title="small subsets of six targets from a natural and three robust ResNet-50s, 0, 1, 3 and 9 blocks trained",
    paper="utrera2021",
    place="Figures 2, 3, 4 and 5, Table 7, section 4",
    question="Do robust sources transfer better with few images, and faster?",
    evaluation="clean",
    keep_weights=False,
    parts=dict(
        figure2=("natural_k3_*", "l2_k3_*"),
        figure3=("natural_k3_*_n3200", "l2_k3_*_n3200"),
        figure4=("l2_*",),
        figure5=("l2_k3_*", "linf4_k3_*", "linf8_k3_*"),
        table7=("*_k3_*",),
    ),
    doubts=[
        "seeds: the text says 10 for all larger subsets and 14,400 models, Table 4 gives 10, 5 and 1, that is "
        "12,576; Table 4 here",
        "subsets: every class has an image, as the text says; the code draws blindly (--subset-rule utrera_code)",
        "head: initialised as PyTorch does; the code draws N(0, 1), which slows early epochs (--head-init utrera)",
        "pixels: one policy for all sources; in the code robust ones keep ImageNet's statistics and the natural one "
        "gets the target's (--normalise upstream)",
        "batch norm of frozen blocks keeps its statistics; in the code they drift (--norm upstream)",
        "learning rate: drops after 1/3 and 2/3 of the epochs, as Table 3 says; the code drops a third time at the end "
        "of 100 (--lr-drops code)",
        "Figure 2 takes the last epoch, the study of blocks the best one on the test set; all tested epochs are kept",
    ],
)

SOURCES = {
    "natural": ("resnet50_in1k_v1", "in1k"),
    "l2": ("resnet50_madry_l2_eps3", "l2_eps3"),
    "linf4": ("resnet50_madry_linf_eps4", "linf_eps4"),
    "linf8": ("resnet50_madry_linf_eps8", "linf_eps8"),
}
BLOCKS = (0, 1, 3, 9)
TARGETS = ("cifar100", "cifar10", "svhn", "fashion_mnist", "kmnist", "mnist")
# Table 4: images -> seeds; equation 6: the seeds themselves.
SEEDS = {100 * 2**i: 20 for i in range(5)} | {3200: 10, 6400: 10, 12_800: 5, 25_600: 5, None: 1}

runs = [
    dict(
        name=f"{name}_k{k}_{target}_n{images or 'all'}",
        config="classify_r50.py",
        source=source,
        transfer=f"blocks:{k}",
        flags=dict(target=target, recipe="utrera", **({"images": images} if images else {})),
        seeds=tuple(20_000_000 + 100_000 * i for i in range(count)),
        published=[dict(place="Table 7", dataset=target, source=printed, images=images)] if k == 3 else [],
    )
    for name, (source, printed) in SOURCES.items()
    for k in BLOCKS
    for target in TARGETS
    for images, count in SEEDS.items()
]
