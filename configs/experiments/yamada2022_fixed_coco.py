"""Yamada & Otani (2022), Table 1: the robustness of a frozen backbone on COCO."""

experiment = dict(
    title="fixed-feature transfer to COCO: regular, ANT, DeepAug+AugMix, Swin-T",
    paper="yamada2022",
    place="Table 1, section 3",
    question="Which source's robustness is still there when only the detector around it is trained?",
    evaluation="corruptions",
    doubts=[
        "severities are not stated; 1 to 5 here",
        "whether frozen batch norm keeps its statistics is not stated; it does here",
        "the ResNet schedule and batch size are not stated; 1x and 16 images, mmdet's defaults, here",
        "Swin trains 36 epochs with multi-scale crops and the ResNets 12 without, so the comparison mixes both",
    ],
)

runs = [
    dict(
        name="regular",
        config="maskrcnn_r50_lr04_coco.py",
        source="resnet50_in1k_v1",
        transfer="fixed",
        published=[dict(place="Table 1", backbone="resnet50", source="in1k")],
        doubts=["which regular ResNet-50 is not stated; torchvision's V1, mmdet's own default, here"],
    ),
    dict(
        name="ant",
        config="maskrcnn_r50_lr04_coco.py",
        source="resnet50_ant",
        transfer="fixed",
        published=[dict(place="Table 1", backbone="resnet50", source="ant")],
        doubts=["which ANT (1x1 or 3x3 noise) is not stated; 1x1 here"],
    ),
    dict(
        name="deepaug_augmix",
        config="maskrcnn_r50_lr04_coco.py",
        source="resnet50_deepaug_augmix",
        transfer="fixed",
        published=[dict(place="Table 1", backbone="resnet50", source="deepaug_augmix")],
    ),
    dict(
        name="swin_t",
        config="maskrcnn_swin_t_3x_coco.py",
        source="swin_t_in1k",
        transfer="fixed",
        published=[dict(place="Table 1", backbone="swin_t", source="in1k")],
        doubts=["whether Swin's output norms train, which no pretraining gives, is not stated; they do here"],
    ),
]
