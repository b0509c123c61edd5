"""Between the fixed and the fully trained network of evidence_recipes (WiSE-FT).

Needs the run folders of evidence_recipes:  rtx experiments run evidence_interpolation
"""

experiment = dict(
    title="EfficientNet-Lite0 on CIFAR-10: weights between fixed features and full training",
    kind="rtx.experiments.between:evaluate",
    settings=dict(
        a="work_dirs/evidence_recipes/fixed/seed0",
        b="work_dirs/evidence_recipes/full/seed0",
        work_dir="work_dirs/evidence_interpolation",
    ),
)

runs = [dict(name=f"alpha_{alpha:g}", settings=dict(alpha=alpha)) for alpha in (0.5, 1, 0, 0.75, 0.25)]

FOUND = "Wortsman et al. (2022): the mean of both keeps most of either, in and out of distribution"
claims = [
    dict(
        name=f"interpolation-{name}",
        claim=claim,
        found=FOUND,
        kind="images",
        quantity=quantity,
        expect=expect,
        first=dict(run="alpha_0.5"),
        second=dict(run="alpha_1"),
    )
    for name, claim, quantity, expect in (
        ("mpc", "The mean of fixed and full weights (WiSE-FT) has a better mPC than full training", "mPC", "+"),
        (
            "drop",
            "The mean of fixed and full weights (WiSE-FT) loses less under corruption than full training",
            "drop",
            "-",
        ),
    )
]
