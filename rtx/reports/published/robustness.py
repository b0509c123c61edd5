"""MadryLab's robustness library (2019): how robust its ImageNet models are. Numbers of its README."""

from __future__ import annotations

from rtx.reports.published.record import Paper, Record, fraction

PAPER = Paper(
    "engstrom2019",
    "Engstrom, Ilyas, Salman, Santurkar, Tsipras: Robustness (Python Library), 2019",
    "https://github.com/MadryLab/robustness",
    ("at the same eps these models are less accurate than those of Salman et al. (2020): another recipe",),
)
# Source -> norm, eps of the test (Linf in 1/255) -> accuracy after PGD of 20 and of 100 steps of 2.5 eps / steps.
_ROBUST = {
    ("madry_l2_eps3", "L2"): {
        "0.5": (54.42, 54.42),
        "1": (50.67, 50.67),
        "2": (43.04, 43.02),
        "3": (35.16, 35.09),
    },
    ("madry_linf_eps4", "Linf"): {"4": (33.58, 33.38), "8": (13.13, 12.73), "16": (1.53, 1.37)},
    ("madry_linf_eps8", "Linf"): {"4": (33.06, 33.03), "8": (19.63, 19.52), "16": (5.00, 4.82)},
}


def records() -> list[Record]:
    """Accuracy under attack."""
    found = []
    for (source, norm), table in _ROBUST.items():
        for eps, values in table.items():
            for steps, value in zip((20, 100), values, strict=True):
                note = f"PGD({steps}), {norm} eps {eps}{'/255' if norm == 'Linf' else ''}"
                row = ("imagenet_val", "classifier", "resnet50", source, "", "top1", "adversarial", fraction(value))
                found.append(Record(PAPER.key, "README", *row, note=note))
    return found
