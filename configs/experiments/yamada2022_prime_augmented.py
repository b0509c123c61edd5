"""Yamada & Otani (2022), appendix B.2: PRIME while fine-tuning (Tables 4 and 5, column PR-PRIME; Figure 6)."""

experiment = dict(
    title="PRIME while fine-tuning on COCO and ADE20K: regular, DeepAug+AugMix, PRIME, Swin-T",
    paper="yamada2022",
    place="Tables 4 and 5 (column PR-PRIME), Figure 6, appendix B.2",
    question="Does augmenting the target's pictures do more than a robust source?",
    evaluation="corruptions",
    doubts=[
        "severities are not stated; 1 to 5 here",
        "where in the pipeline PRIME acts is not stated; right before packing here, on the unpadded picture",
        "PRIME's constants belong to 224 pixels and are kept; the filter moves the content by one pixel, as published",
        "which PRIME weights (with or without the JSD loss) is not stated; without here, as their own PRIME has none",
        "Swin trains longer than the ResNets, so the comparison mixes both",
    ],
)

R50 = {"regular": "resnet50_in1k_v1", "deepaug_augmix": "resnet50_deepaug_augmix", "prime": "resnet50_prime_nojsd"}
runs = [
    dict(
        name=f"{name}_{target}",
        config=config,
        source=source,
        transfer="full",
        published=[dict(place=table, source="pr_prime")] if name == "prime" else [],
    )
    for target, config, table in (
        ("coco", "maskrcnn_r50_prime_coco.py", "Table 4"),
        ("ade20k", "upernet_r50_prime_ade20k.py", "Table 5"),
    )
    for name, source in R50.items()
]
runs += [
    dict(
        name="swin_t_coco",
        config="maskrcnn_swin_t_prime_coco.py",
        source="swin_t_in1k",
        transfer="full",
    ),
    dict(name="swin_t_ade20k", config="upernet_swin_t_prime_ade20k.py", source="swin_t_in1k", transfer="full"),
]
