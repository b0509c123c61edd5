"""Fixed, blocks:1 and full on two targets with 200 images: sources standard, adversarially trained, random.

Needs the files of evidence_sources, and kmnist and fashion_mnist (parts of them will do) in data/:
rtx experiments run evidence_transfer --data-root data
"""

experiment = dict(
    title="how much of the network to train with 200 images, from a standard, a robust and a random source",
    paper="utrera2021",
    place="Figure 4; Salman et al. (2020), Table 1",
    question="Does the robust source win however much of it is trained?",
    evaluation="clean",
    keep_weights=False,
    doubts=["EfficientNet-Lite0 at 64 pixels, 10 epochs, three seeds"],
)

FILES = "timm:tf_efficientnet_lite0@work_dirs/evidence_sources"
SOURCES = {
    "standard": f"{FILES}/standard/source.pth",
    "l2_0.5": f"{FILES}/l2_0.5/source.pth",
    "random": "timm:tf_efficientnet_lite0@random",
}
runs = [
    dict(
        name=f"{name}_{target}_{transfer.replace(':', '')}",
        config="classify_r50.py",
        source=source,
        transfer=transfer,
        flags=dict(target=target, subset=True, images=200, image_size=64, epochs=10, recipe="salman"),
        options={"train_dataloader.batch_size": 16},
        seeds=(0, 1, 2),
    )
    for name, source in SOURCES.items()
    for target in ("kmnist", "fashion_mnist")
    for transfer in ("fixed", "blocks:1", "full")
]

ROBUST, STANDARD, RANDOM = "*l2_0.5/*", "*standard/*", "*@random"
claims = [
    dict(
        name="full-over-fixed",
        claim="Full training of the standard source is better than fixed features, with 200 images",
        paper="salman2020",
        place="Table 1",
        found="full-network transfer is better on all twelve targets",
        kind="difference",
        first=dict(source=STANDARD, transfer="full"),
        second=dict(source=STANDARD, transfer="fixed"),
    ),
    dict(
        name="full-over-fixed-robust",
        claim="Full training of the robust source is better than fixed features, with 200 images",
        paper="salman2020",
        place="Table 1",
        found="full-network transfer is better on all twelve targets",
        kind="difference",
        first=dict(source=ROBUST, transfer="full"),
        second=dict(source=ROBUST, transfer="fixed"),
    ),
    *(
        dict(
            name=f"robust-{transfer.replace(':', '')}",
            claim=f"With 200 images and transfer {transfer}, the robust source is better than the standard one",
            paper="utrera2021",
            place="Figure 4",
            found="the robust source is better on small subsets, however many blocks are trained",
            kind="difference",
            first=dict(source=ROBUST, transfer=transfer),
            second=dict(source=STANDARD, transfer=transfer),
        )
        for transfer in ("blocks:1", "full")
    ),
    dict(
        name="full-over-scratch",
        claim="Full training of the standard source is better than training from nothing",
        paper="utrera2021",
        place="Table 7",
        found="training from nothing is behind all sources",
        kind="difference",
        first=dict(source=STANDARD, transfer="full"),
        second=dict(source=RANDOM, transfer="full"),
    ),
]
