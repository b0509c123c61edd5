"""Yamada & Otani (2022), Figure 2: what fine-tuning on COCO leaves of a source's robustness."""

experiment = dict(
    title="full-network transfer to COCO: regular, ANT, DeepAug+AugMix, Swin-T",
    paper="yamada2022",
    place="Figure 2, section 4 (values in the figure only)",
    question="Does the robustness of the source survive training the whole network?",
    evaluation="corruptions",
    doubts=[
        "severities are not stated; 1 to 5 here",
        "'all weights' with mmdet's default configuration freezes stem, stage 1 and batch-norm statistics; so here",
        "the ResNet schedule and batch size are not stated; 1x and 16 images, mmdet's defaults, here",
        "Swin trains 36 epochs with multi-scale crops and the ResNets 12 without, so the comparison mixes both",
    ],
)

R50, SWIN = "maskrcnn_r50_lr04_coco.py", "maskrcnn_swin_t_3x_coco.py"
runs = [
    dict(
        name="regular",
        config=R50,
        source="resnet50_in1k_v1",
        transfer="full",
        doubts=["which regular ResNet-50 is not stated; torchvision's V1, mmdet's own default, here"],
    ),
    dict(
        name="ant",
        config=R50,
        source="resnet50_ant",
        transfer="full",
        doubts=["which ANT (1x1 or 3x3 noise) is not stated; 1x1 here"],
    ),
    dict(name="deepaug_augmix", config=R50, source="resnet50_deepaug_augmix", transfer="full"),
    dict(
        name="swin_t",
        config=SWIN,
        source="swin_t_in1k",
        transfer="full",
    ),
]
