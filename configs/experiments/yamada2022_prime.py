"""Yamada & Otani (2022), appendix B: PRIME sources at several learning rates (Figure 5; Tables 4 and 5, first column).

The second column of the tables and Figure 6 apply PRIME while fine-tuning: yamada2022_prime_augmented.
"""

experiment = dict(
    title="PRIME-pretrained ResNet-50: full-network transfer at several learning rates",
    paper="yamada2022",
    place="Figure 5, Tables 4 and 5 (column PRIME), appendix B",
    question="Does a smaller learning rate keep more of the source's robustness?",
    evaluation="corruptions",
    doubts=[
        "Figure 5's caption says that PRIME corrupts images during fine-tuning, the text of B.1 that the networks are "
        "PRIME-pretrained; pretrained alone here, the other in yamada2022_prime_augmented",
        "severities are not stated; 1 to 5 here",
        "which PRIME weights (with or without the JSD loss) is not stated; without here, as their own PRIME has none",
        "the three learning rates of Figure 5 are not in the text. On COCO the three of the grid search of appendix A "
        "are listed; on ADE20K the default one only",
    ],
)

runs = [
    dict(
        name=f"coco_lr{str(rate)[2:]}",
        config="maskrcnn_r50_lr04_coco.py",
        source="resnet50_prime_nojsd",
        transfer="full",
        options={} if rate == 0.04 else {"optim_wrapper.optimizer.lr": rate},
        published=[dict(place="Table 4", source="prime")] if rate == 0.04 else [],
    )
    for rate in (0.01, 0.04, 0.08)
]
runs += [
    dict(
        name="ade20k_lr01",
        config="upernet_r50_ade20k.py",
        source="resnet50_prime_nojsd",
        transfer="full",
        published=[dict(place="Table 5", source="prime")],
    )
]
