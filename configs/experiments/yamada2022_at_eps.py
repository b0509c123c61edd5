"""Yamada & Otani (2022), Figure 4: adversarially trained sources of four strengths on COCO and ADE20K."""

experiment = dict(
    title="full-network transfer of adversarially trained ResNet-50s (L2 eps 0.1, 1, 3, 5) to COCO and ADE20K",
    paper="yamada2022",
    place="Figure 4, section 6 (values in the figure only)",
    question="Does adversarial training on ImageNet make detectors and segmenters robust to corruptions?",
    evaluation="corruptions",
    doubts=[
        "severities are not stated; 1 to 5 here",
        "the paper has no eps 0 in this figure; resnet50_l2_eps0 with the same leaves is that control",
        "the ResNet schedule and batch size on COCO are not stated; 1x and 16 images, mmdet's defaults, here",
    ],
)

runs = [
    dict(name=f"l2_eps{eps}_{target}", config=config, source=f"resnet50_l2_eps{eps}", transfer="full")
    for target, config in (("coco", "maskrcnn_r50_lr04_coco.py"), ("ade20k", "upernet_r50_ade20k.py"))
    for eps in ("0.1", "1", "3", "5")
]
