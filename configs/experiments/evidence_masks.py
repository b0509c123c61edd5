"""Clean and corrupted scores of Mask R-CNN, fixed and full, from a standard source.

Needs the standard file of evidence_sources, and data in COCO's layout with masks (a small set will do):
rtx experiments run evidence_masks --data-root data/coco --gpus 1
"""

experiment = dict(
    title="Mask R-CNN from a standard source: what fixed and full keep under corruption",
    paper="yamada2022",
    place="the questions of sections 3 and 4, on other data",
    question="Does the robustness of the source survive in an instance segmenter?",
    evaluation="corruptions",
    doubts=[
        "the source is EfficientNet-Lite0 trained on small images; images of 320x240, a narrow head, 30 epochs of "
        "few images: what two cores do in a few minutes; the learning rate is .064 for 16 images",
    ],
)

OPTIONS = {
    "train_dataloader.dataset.pipeline.2.scale": "(320,240)",
    "val_dataloader.dataset.pipeline.1.scale": "(320,240)",
    "test_dataloader.dataset.pipeline.1.scale": "(320,240)",
    "train_cfg.max_epochs": 30,
    "train_cfg.val_interval": 30,
    "param_scheduler.0.end": 20,
    "param_scheduler.1.end": 30,
    "param_scheduler.1.milestones": "[22]",
    "optim_wrapper.optimizer.lr": 0.064,
    "optim_wrapper.clip_grad.max_norm": 10,
    "model.neck.out_channels": 64,
    "model.rpn_head.in_channels": 64,
    "model.rpn_head.feat_channels": 64,
    "model.roi_head.bbox_roi_extractor.out_channels": 64,
    "model.roi_head.bbox_head.in_channels": 64,
    "model.roi_head.bbox_head.fc_out_channels": 256,
    "model.roi_head.mask_roi_extractor.out_channels": 64,
    "model.roi_head.mask_head.in_channels": 64,
    "model.roi_head.mask_head.conv_out_channels": 64,
    "model.train_cfg.rcnn.sampler.num": 64,
    "model.train_cfg.rpn_proposal.max_per_img": 300,
    "model.test_cfg.rpn.max_per_img": 200,
}
runs = [
    dict(
        name=transfer,
        config="maskrcnn_r50_coco.py",
        source="timm:tf_efficientnet_lite0@work_dirs/evidence_sources/standard/source.pth",
        transfer=transfer,
        options=OPTIONS,
    )
    for transfer in ("fixed", "full")
]

claims = [
    dict(
        name="mask-full-loses",
        claim="A fully trained Mask R-CNN loses more of its box AP under corruption than a fixed-feature one",
        paper="yamada2022",
        place="sections 4 and 7",
        found="training the whole network can erase robust features, freezing the backbone keeps them",
        kind="images",
        quantity="drop",
        first=dict(run="full/*"),
        second=dict(run="fixed/*"),
    ),
]
