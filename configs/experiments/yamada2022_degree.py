"""Yamada & Otani (2022), Figure 5 (appendix B.1), on CIFAR-10: how far to fine-tune, by three learning rates."""

experiment = dict(
    title="full-network transfer of a PRIME source to CIFAR-10 by three learning rates",
    paper="yamada2022",
    place="Figure 5, appendix B.1 (values in the figure only)",
    question="How much of a source's robustness is left, the further it is fine-tuned?",
    evaluation="corruptions",
    doubts=[
        "the paper does this on COCO and ADE20K, with PRIME while training; on CIFAR-10 and without it here",
        "the three learning rates are not in the text; a tenth, once and ten times the recipe's .01 here",
        "epochs, images and corruptions as in yamada2022_cifar10; the budget is the same for all rates",
    ],
)

SOURCES = {"regular": "resnet50_in1k_v1", "prime": "resnet50_prime"}
RATES = (0.001, 0.01, 0.1)
runs = [
    dict(
        name=f"{name}_lr{rate}",
        config="classify_r50.py",
        source=source,
        transfer="full",
        flags=dict(target="cifar10", recipe="yamada", lr=rate),
        seeds=(0, 1, 2),
    )
    for name, source in SOURCES.items()
    for rate in RATES
]
