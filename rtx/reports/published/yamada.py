"""Yamada & Otani (2022): does robustness on ImageNet transfer to downstream tasks? Printed numbers."""

from __future__ import annotations

from rtx.reports.published.record import Paper, Record, fraction

PAPER = Paper(
    "yamada2022",
    "Yamada, Otani: Does Robustness on ImageNet Transfer to Downstream Tasks?, CVPR 2022",
    "https://arxiv.org/abs/2204.03934",
    (
        "the severities are never stated; rtx averages 1 to 5",
        "schedule and batch size of the R50 COCO models not stated; the ANT, PRIME and DeepAugment variants not named",
        "channel order of the corruptions not stated; mmdet's own reader gives BGR",
        "overall drop: the mean over 15 corruptions is not the mean of the four families (3, 4, 4 and 4 corruptions)",
    ),
)
FAMILY_ORDER = ("noise", "blur", "digital", "weather")
"""The order of the columns in its tables."""

# source -> drop in % for noise, blur, digital, weather; backbone frozen
_TABLE_1 = {
    ("resnet50", "in1k"): (36.09, 44.00, 21.17, 17.59),
    ("resnet50", "ant"): (21.90, 39.25, 17.70, 16.22),
    ("resnet50", "deepaug_augmix"): (16.39, 29.25, 15.49, 11.27),
    ("swin_t", "in1k"): (18.01, 38.18, 17.90, 10.12),
}
_TABLE_2 = {
    ("resnet50", "in1k"): (48.98, 29.42, 17.01, 25.68),
    ("resnet50", "ant"): (17.78, 23.41, 12.99, 25.62),
    ("resnet50", "deepaug_augmix"): (20.07, 19.47, 13.01, 19.12),
    ("swin_t", "in1k"): (13.57, 23.50, 16.42, 14.28),
}
# dataset, method, metric, table -> training recipe -> clean, corrupted, drop
_TABLES_4_5 = (
    ("coco_val2017", "Mask R-CNN", "bbox_mAP", "Table 4", "prime", (36.42, 28.30, 22.29)),
    ("coco_val2017", "Mask R-CNN", "bbox_mAP", "Table 4", "pr_prime", (31.47, 24.80, 21.21)),
    ("ade20k_val", "UperNet", "mIoU", "Table 5", "prime", (40.64, 28.56, 29.73)),
    ("ade20k_val", "UperNet", "mIoU", "Table 5", "pr_prime", (40.91, 30.56, 25.31)),
)


def records() -> list[Record]:
    """Every number."""
    found = []
    for place, dataset, method, metric, table in (
        ("Table 1", "coco_val2017", "Mask R-CNN", "bbox_mAP", _TABLE_1),
        ("Table 2", "ade20k_val", "UperNet", "mIoU", _TABLE_2),
    ):
        for (arch, source), drops in table.items():
            of = (PAPER.key, place, dataset, method, arch, source, "fixed", metric)
            by_family = zip(FAMILY_ORDER, drops, strict=True)
            found += [Record(*of, f"drop:{family}", fraction(value)) for family, value in by_family]
    for dataset, method, metric, place, source, values in _TABLES_4_5:
        # Both columns start from the PRIME source; only PR-PRIME augments with PRIME while fine-tuning.
        note = "PRIME source, " + ("PRIME while fine-tuning" if source == "pr_prime" else "standard fine-tuning")
        for quantity, value in zip(("P", "mPC", "drop"), values, strict=True):
            row = (dataset, method, "resnet50", source, "", metric, quantity, fraction(value))
            found.append(Record(PAPER.key, place, *row, note=note))
    return found
