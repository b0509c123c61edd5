"""Few and many labels, eps: probes on four targets that the sources have not seen (Utrera et al., Salman et al.).

Needs the files of evidence_sources, and in data/ mnist, fashion_mnist and kmnist (parts of them will do) and folder, a
set of class folders with 400 images and more (of Caltech-101, say):
rtx experiments run evidence_labels --data-root data
"""

experiment = dict(
    title="probes with 100 to 1600 labels on four targets: six sources from standard to random",
    kind="rtx.probe.unit:probe",
    settings=dict(subset=True, image_size=64, workers=1),
)

EPS = (0.25, 0.5, 1)
FILES = "timm:tf_efficientnet_lite0@work_dirs/evidence_sources"
SOURCES = {
    "standard": f"{FILES}/standard/source.pth",
    "prime": f"{FILES}/prime/source.pth",
    **{f"l2_{eps}": f"{FILES}/l2_{eps}/source.pth" for eps in EPS},
    "random": "timm:tf_efficientnet_lite0@random",
}
SIZES = {
    "mnist": (100, 200, 400, 1600),
    "fashion_mnist": (100, 200, 400, 1600),
    "kmnist": (100, 200, 400, 1600),
    "folder": (100, 200),
}
runs = [
    dict(
        name=f"{name}_{target}_n{size}",
        settings=dict(source=source, target=target, data_root=f"data/{target}", images=size),
        seeds=tuple(range(20)),
    )
    for target, sizes in SIZES.items()
    for size in sizes
    for name, source in SOURCES.items()
]

ROBUST, STANDARD, RANDOM = "*l2_0.5/*", "*standard/*", "*@random"
DIGITS = ["mnist", "fashion_mnist", "kmnist"]
claims = [
    dict(
        name="few-labels",
        claim="With 100 labels, a robust source is better than the standard one",
        paper="utrera2021",
        place="Figure 2",
        found="robust sources are better on all six targets, most with few labels",
        kind="difference",
        first=dict(source=ROBUST, images=100),
        second=dict(source=STANDARD, images=100),
    ),
    dict(
        name="few-labels-mild",
        claim="With 100 labels, a mildly robust source is better than the standard one",
        paper="utrera2021",
        place="Figure 2; eps as by Salman et al. (2020), Figure 5",
        found="the best eps of a target is often a small one",
        kind="difference",
        first=dict(source="*l2_0.25/*", images=100),
        second=dict(source=STANDARD, images=100),
    ),
    dict(
        name="gain-shrinks",
        claim="The robust source's gain shrinks from 100 to 1600 labels",
        paper="utrera2021",
        place="Figure 2",
        found="the difference falls with the number of labels",
        kind="shrinks",
        first=dict(source=ROBUST, target=DIGITS),
        second=dict(source=STANDARD, target=DIGITS),
        sizes=(100, 1600),
    ),
    dict(
        name="robust-over-random",
        claim="A robust source is better than random weights",
        paper="utrera2021",
        place="Table 7",
        found="training from nothing is behind all sources",
        kind="difference",
        first=dict(source=ROBUST, images=400),
        second=dict(source=RANDOM, images=400),
    ),
    dict(
        name="standard-over-random",
        claim="The standard source is better than random weights",
        paper="utrera2021",
        place="Table 7",
        found="training from nothing is behind all sources",
        kind="difference",
        first=dict(source=STANDARD, images=400),
        second=dict(source=RANDOM, images=400),
    ),
    dict(
        name="too-robust",
        claim="The most robust source is worse than a mildly robust one",
        paper="salman2020",
        place="Figure 5",
        found="accuracy rises with eps and falls again",
        kind="difference",
        first=dict(source="*l2_0.25/*", images=400),
        second=dict(source="*l2_1/*", images=400),
    ),
    dict(
        name="accuracy-tells",
        claim="The better a source's own accuracy, the better its probe on a target",
        paper="salman2020",
        place="Table 2",
        found="at one eps R2 is high; over all eps accuracy alone does not tell which source is better",
        kind="tracks",
        first=dict(images=100),
        options={"0": STANDARD, **{str(eps): f"*l2_{eps}/*" for eps in EPS}, "PRIME": "*prime/*"},
    ),
    dict(
        name="best-eps",
        claim="The best eps differs from target to target",
        paper="salman2020",
        place="Figure 5",
        found="it lies between 0 and 5 and differs by target",
        kind="best_differs",
        first=dict(images=400),
        options={"0": STANDARD, **{str(eps): f"*l2_{eps}/*" for eps in EPS}},
    ),
]
