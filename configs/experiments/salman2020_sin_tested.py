"""Salman et al. (2020), Figure 8a, upper half: ImageNet's own heads on Stylized-ImageNet, without any training."""

experiment = dict(
    title="standard and robust ResNet-50 with their ImageNet heads, tested on Stylized-ImageNet",
    paper="salman2020",
    place="Figure 8a, section 4.4 (values in the figure only)",
    question="Do robust sources look at shapes where standard ones look at textures?",
    evaluation="own_head",
    doubts=[
        "which robust eps is tested is not in the text; all nine here",
        "the images are made with the published code of Stylized-ImageNet from ImageNet's validation set; rtx reads "
        "them from data/stylized_imagenet/val and makes none",
    ],
)

EPS = ("0", "0.01", "0.03", "0.05", "0.1", "0.25", "0.5", "1", "3", "5")
runs = [
    dict(
        name=f"resnet50_eps{eps}",
        config="classify_r50.py",
        source=f"resnet50_l2_eps{eps}",
        flags=dict(target="stylized_imagenet"),
    )
    for eps in EPS
]
