"""Two ResNet-18 trained at 32 pixels on small sets of photos, the sources of evidence_sizes.

Needs cifar10 and folder, class folders of other things (parts of CIFAR-10 and Caltech-101 will do), in data/:
rtx experiments run small_sources --data-root data
"""

experiment = dict(
    title="sources for 32 pixels: ResNet-18 from nothing on CIFAR-10 and on class folders",
    kind="rtx.experiments.sources:train",
    settings=dict(
        arch="resnet18",
        recipe="standard",
        subset=True,
        image_size=32,
        epochs=20,
        lr=0.05,
        batch_size=64,
        robust_images=50,
        robust_steps=1,
    ),
)

runs = [
    dict(name=target, settings=dict(target=target, data_root="data", work_dir=f"work_dirs/small_sources/{target}"))
    for target in ("cifar10", "folder")
]
