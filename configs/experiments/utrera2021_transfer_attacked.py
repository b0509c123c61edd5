"""Utrera et al. (2021): the networks of Figure 4 under their code's attack, which the paper prints no number of."""

experiment = dict(
    title="robust accuracy of transferred ResNet-50: what fixed, blocks:k and full leave of a source's robustness",
    paper="utrera2021",
    place="networks of Figure 4, attack of appendix A.2 (nothing printed)",
    question="Does adversarial robustness survive transfer?",
    evaluation="attacks",
    attack=dict(threat="l2", eps=["0.25", "0.5", "1"], steps=128),
    doubts=[
        "eps is not stated; three here. Steps and step size, 128 of 2.5 eps / 128, are those of the test script",
        "the attack is on the enlarged image, since this is what the network gets",
        "3,200 training images and one seed of utrera2021_subsets; Figure 4 has more",
    ],
)

SOURCES = {"natural": "resnet50_in1k_v1", "l2": "resnet50_madry_l2_eps3", "linf": "resnet50_madry_linf_eps4"}
TRANSFERS = ("fixed", "blocks:1", "blocks:3", "blocks:6", "blocks:9", "full")
runs = [
    dict(
        name=f"{name}_{target}_{transfer.replace(':', '')}",
        config="classify_r50.py",
        source=source,
        transfer=transfer,
        flags=dict(target=target, recipe="utrera", images=3200),
        seeds=(20_000_000,),
    )
    for name, source in SOURCES.items()
    for target in ("cifar10", "svhn")
    for transfer in TRANSFERS
]
