"""Yamada & Otani (2022), Table 2: the robustness of a frozen backbone on ADE20K."""

experiment = dict(
    title="fixed-feature transfer to ADE20K: regular, ANT, DeepAug+AugMix, Swin-T",
    paper="yamada2022",
    place="Table 2, section 3",
    question="Which source's robustness is still there when only the segmenter around it is trained?",
    evaluation="corruptions",
    doubts=[
        "severities are not stated; 1 to 5 here",
        "whether frozen batch norm keeps its statistics is not stated; it does here",
        "Swin trains 160k iterations and the ResNets 80k, so the comparison mixes both",
    ],
)

runs = [
    dict(
        name="regular",
        config="upernet_r50_ade20k.py",
        source="resnet50_in1k_v1",
        transfer="fixed",
        published=[dict(place="Table 2", backbone="resnet50", source="in1k")],
        doubts=["which regular ResNet-50 is not stated; torchvision's V1 here (mmseg's own default is a V1c net)"],
    ),
    dict(
        name="ant",
        config="upernet_r50_ade20k.py",
        source="resnet50_ant",
        transfer="fixed",
        published=[dict(place="Table 2", backbone="resnet50", source="ant")],
        doubts=["which ANT (1x1 or 3x3 noise) is not stated; 1x1 here"],
    ),
    dict(
        name="deepaug_augmix",
        config="upernet_r50_ade20k.py",
        source="resnet50_deepaug_augmix",
        transfer="fixed",
        published=[dict(place="Table 2", backbone="resnet50", source="deepaug_augmix")],
    ),
    dict(
        name="swin_t",
        config="upernet_swin_t_160k_ade20k.py",
        source="swin_t_in1k",
        transfer="fixed",
        published=[dict(place="Table 2", backbone="swin_t", source="in1k")],
        doubts=["whether Swin's output norms train, which no pretraining gives, is not stated; they do here"],
    ),
]
