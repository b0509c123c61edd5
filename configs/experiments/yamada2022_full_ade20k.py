"""Yamada & Otani (2022), Figure 2: what fine-tuning on ADE20K leaves of a source's robustness."""

experiment = dict(
    title="full-network transfer to ADE20K: regular, ANT, DeepAug+AugMix, Swin-T",
    paper="yamada2022",
    place="Figure 2, section 4 (values in the figure only)",
    question="Does the robustness of the source survive training the whole network?",
    evaluation="corruptions",
    doubts=[
        "severities are not stated; 1 to 5 here",
        "Swin trains 160k iterations and the ResNets 80k, so the comparison mixes both",
    ],
)

R50, SWIN = "upernet_r50_ade20k.py", "upernet_swin_t_160k_ade20k.py"
runs = [
    dict(
        name="regular",
        config=R50,
        source="resnet50_in1k_v1",
        transfer="full",
        doubts=["which regular ResNet-50 is not stated; torchvision's V1 here (mmseg's own default is a V1c net)"],
    ),
    dict(
        name="ant",
        config=R50,
        source="resnet50_ant",
        transfer="full",
        doubts=["which ANT (1x1 or 3x3 noise) is not stated; 1x1 here"],
    ),
    dict(name="deepaug_augmix", config=R50, source="resnet50_deepaug_augmix", transfer="full"),
    dict(name="swin_t", config=SWIN, source="swin_t_in1k", transfer="full"),
]
