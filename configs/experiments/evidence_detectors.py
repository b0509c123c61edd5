"""Clean and corrupted scores of Faster R-CNN, fixed and full, from a standard source and two robust ones.

Needs the files of evidence_sources, and data in VOC's layout (a part of it, or another set with its own classes, will
do):  rtx experiments run evidence_detectors --data-root data/VOCdevkit --gpus 1
"""

experiment = dict(
    title="Faster R-CNN from standard, PRIME and L2-trained sources: what fixed and full keep under corruption",
    paper="yamada2022",
    place="the questions of sections 3 and 4, on other data",
    question="Does the robustness of the source survive in a detector, fixed and fully trained?",
    evaluation="corruptions",
    doubts=[
        "sources are EfficientNet-Lite0 trained on small images; images of 320x240, a narrow head, 40 training images, "
        "160 steps: what two cores do in a few minutes; the learning rate is .032 for 16 images",
    ],
)

FILES = "timm:tf_efficientnet_lite0@work_dirs/evidence_sources"
TRAINING = "train_dataloader.dataset.dataset.datasets.0"
OPTIONS = {
    "train_dataloader.dataset.times": 1,
    f"{TRAINING}.indices": 40,
    f"{TRAINING}.pipeline.2.scale": "(320,240)",
    "val_dataloader.dataset.indices": 4,
    "val_dataloader.dataset.pipeline.1.scale": "(320,240)",
    "test_dataloader.dataset.indices": 20,
    "test_dataloader.dataset.pipeline.1.scale": "(320,240)",
    "train_cfg.max_epochs": 8,
    "train_cfg.val_interval": 8,
    "param_scheduler.0.end": 8,
    "param_scheduler.0.milestones": "[6]",
    "optim_wrapper.optimizer.lr": 0.032,
    "optim_wrapper.clip_grad.max_norm": 10,
    "model.neck.out_channels": 64,
    "model.rpn_head.in_channels": 64,
    "model.rpn_head.feat_channels": 64,
    "model.roi_head.bbox_roi_extractor.out_channels": 64,
    "model.roi_head.bbox_head.in_channels": 64,
    "model.roi_head.bbox_head.fc_out_channels": 256,
    "model.train_cfg.rcnn.sampler.num": 64,
    "model.train_cfg.rpn_proposal.max_per_img": 300,
    "model.test_cfg.rpn.max_per_img": 200,
}
runs = [
    dict(
        name=f"{transfer}_{source}",
        config="fasterrcnn_r50_voc.py",
        source=f"{FILES}/{source}/source.pth",
        transfer=transfer,
        options=OPTIONS,
    )
    for transfer in ("fixed", "full")
    for source in ("standard", "prime", "l2_0.5")
]

claims = [
    dict(
        name="detector-full-loses",
        claim="A fully trained detector loses more of its AP50 under corruption than a fixed-feature one",
        paper="yamada2022",
        place="sections 4 and 7",
        found="training the whole network can erase robust features, freezing the backbone keeps them",
        kind="images",
        quantity="drop",
        first=dict(run="full_*"),
        second=dict(run="fixed_*"),
    ),
    dict(
        name="detector-full-better",
        claim="A fully trained detector has a better clean AP50 than a fixed-feature one",
        paper="yamada2022",
        place="section 7",
        found="freezing the backbone keeps robustness and sacrifices accuracy",
        kind="images",
        first=dict(run="full_*"),
        second=dict(run="fixed_*"),
    ),
    dict(
        name="detector-fixed-prime",
        claim="On frozen features, a PRIME source loses less of its AP50 under corruption than a standard one",
        paper="yamada2022",
        place="Table 1",
        found="ANT and DeepAugment+AugMix lose less than the regular source",
        kind="images",
        quantity="drop",
        expect="-",
        first=dict(run="fixed_prime/*"),
        second=dict(run="fixed_standard/*"),
    ),
    dict(
        name="detector-full-prime",
        claim="After full training, a PRIME source loses less of its AP50 under corruption than a standard one",
        paper="yamada2022",
        place="Figure 2",
        found="robust CNNs transfer their robustness less well than an architecture does",
        kind="images",
        quantity="drop",
        expect="-",
        first=dict(run="full_prime/*"),
        second=dict(run="full_standard/*"),
    ),
    dict(
        name="detector-full-l2",
        claim="After full training, an adversarially trained source loses less of its AP50 than a standard one",
        paper="yamada2022",
        place="section 6, Figure 4",
        found="the larger the source's eps, the lower the clean score and the smaller the drop",
        kind="images",
        quantity="drop",
        expect="-",
        first=dict(run="full_l2_0.5/*"),
        second=dict(run="full_standard/*"),
    ),
]
