"""Clean and corrupted scores of UperNet, fixed and full, from a standard source and a robust one.

Needs the files of evidence_sources, and data in ADE20K's layout with its classes.json:
rtx experiments run evidence_segmenters --data-root data/camvid --gpus 1
"""

experiment = dict(
    title="UperNet from standard and PRIME sources: what fixed and full keep under corruption",
    paper="yamada2022",
    place="the questions of sections 3 and 4, on other data",
    question="Does the robustness of the source survive in a segmenter, fixed and fully trained?",
    evaluation="corruptions",
    doubts=[
        "sources are EfficientNet-Lite0 trained on small images; images of 320x240, a narrow head, 200 steps: what two "
        "cores do in a few minutes; the learning rate is .08 for 16 images",
    ],
)

FILES = "timm:tf_efficientnet_lite0@work_dirs/evidence_sources"
OPTIONS = {
    "train_cfg.max_iters": 200,
    "train_cfg.val_interval": 1000,
    "train_dataloader.batch_size": 4,
    "train_dataloader.dataset.pipeline.2.scale": "(320,240)",
    "train_dataloader.dataset.pipeline.3.crop_size": "(192,192)",
    "test_dataloader.dataset.pipeline.1.scale": "(320,240)",
    "optim_wrapper.optimizer.lr": 0.08,
    "param_scheduler.0.end": 200,
    "model.data_preprocessor.size": "(192,192)",
    "model.decode_head.channels": 64,
    "model.auxiliary_head.channels": 32,
}
runs = [
    dict(
        name=f"{transfer}_{source}",
        config="upernet_r50_ade20k.py",
        source=f"{FILES}/{source}/source.pth",
        transfer=transfer,
        options=OPTIONS,
    )
    for transfer in ("fixed", "full")
    for source in ("standard", "prime")
]

claims = [
    dict(
        name="segmenter-full-loses",
        claim="A fully trained segmenter loses more of its mIoU under corruption than a fixed-feature one",
        paper="yamada2022",
        place="sections 4 and 7",
        found="training the whole network can erase robust features, freezing the backbone keeps them",
        kind="images",
        quantity="drop",
        first=dict(run="full_*"),
        second=dict(run="fixed_*"),
    ),
    dict(
        name="segmenter-full-better",
        claim="A fully trained segmenter has a better clean mIoU than a fixed-feature one",
        paper="yamada2022",
        place="section 7",
        found="freezing the backbone keeps robustness and sacrifices accuracy",
        kind="images",
        first=dict(run="full_*"),
        second=dict(run="fixed_*"),
    ),
    dict(
        name="segmenter-fixed-prime",
        claim="On frozen features, a PRIME source loses less of its mIoU under corruption than a standard one",
        paper="yamada2022",
        place="Table 2",
        found="ANT and DeepAugment+AugMix lose less than the regular source",
        kind="images",
        quantity="drop",
        expect="-",
        first=dict(run="fixed_prime/*"),
        second=dict(run="fixed_standard/*"),
    ),
    dict(
        name="segmenter-full-prime",
        claim="After full training, a PRIME source loses less of its mIoU under corruption than a standard one",
        paper="yamada2022",
        place="Figure 2",
        found="robust CNNs transfer their robustness less well than an architecture does",
        kind="images",
        quantity="drop",
        expect="-",
        first=dict(run="full_prime/*"),
        second=dict(run="full_standard/*"),
    ),
]
