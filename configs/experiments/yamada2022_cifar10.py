"""Yamada & Otani (2022), Figure 2: what fine-tuning on CIFAR-10 leaves of a source's robustness."""

experiment = dict(
    title="full-network transfer to CIFAR-10: regular, ANT, DeepAug+AugMix, Swin-T",
    paper="yamada2022",
    place="Figure 2, section 4 (values in the figure only)",
    question="Does the robustness of the source survive training the whole network on CIFAR-10?",
    evaluation="corruptions",
    doubts=[
        "the corruptions are not named: CIFAR-10-C's files (rtx imagenet_c), or made on 32 pixels (--corruption-at "
        "original_resolution, --engine rtx-cifar10c), or on the enlarged image; the last here. The card names it",
        "severities are not stated; 1 to 5 here",
        "epochs are not stated; 150 here, as the paper refers to Salman et al. (2020)",
        "how images are enlarged and augmented is not stated; as by Salman et al. here",
        "the same optimiser for Swin is the paper's word; SGD with .01",
    ],
)

SOURCES = {
    "regular": "resnet50_in1k_v1",
    "ant": "resnet50_ant",
    "deepaug_augmix": "resnet50_deepaug_augmix",
    "swin_t": "swin_t_in1k",
}
runs = [
    dict(
        name=name,
        config="classify_r50.py",
        source=source,
        transfer="full",
        flags=dict(target="cifar10", recipe="yamada"),
    )
    for name, source in SOURCES.items()
]
