"""Utrera et al. (2021), Table 1a, first half: ImageNet's own heads on Stylized-ImageNet, without any training."""

experiment = dict(
    title="natural and robust ResNet-50 with their ImageNet heads, tested on Stylized-ImageNet",
    paper="utrera2021",
    place="Table 1a, section 5",
    question="Do robust sources look at shapes where natural ones look at textures?",
    evaluation="own_head",
    doubts=[
        "the images are made with the published code of Stylized-ImageNet from ImageNet's validation set; rtx reads "
        "them from data/stylized_imagenet/val and makes none",
    ],
)

SOURCES = {"natural": ("resnet50_in1k_v1", "in1k"), "l2": ("resnet50_madry_l2_eps3", "l2_eps3")}
runs = [
    dict(
        name=name,
        config="classify_r50.py",
        source=source,
        flags=dict(target="stylized_imagenet"),
        published=[dict(place="Table 1a", source=printed, note="ImageNet's own head, not fine-tuned")],
    )
    for name, (source, printed) in SOURCES.items()
]
