"""Salman et al. (2020): do adversarially robust ImageNet models transfer better? Printed and published numbers.

The body of its Table 1 could not be read at the source, so it is not here; the best single runs that the authors
publish beside their code are.
"""

from __future__ import annotations

from rtx.reports.published.record import Paper, Record, fraction
from rtx.sources.catalog.salman import salman_sources

PAPER = Paper(
    "salman2020",
    "Salman, Ilyas, Engstrom, Kapoor, Madry: Do Adversarially Robust ImageNet Models Transfer Better?, NeurIPS 2020",
    "https://arxiv.org/abs/2007.08489",
    (
        "the eps of the robust detectors is not stated in the text; 'robust-best' is the best of several",
        "schedule of the COCO detectors not stated; 39.80 lies near detectron2's 3x schedule, not 1x",
        "trained with detectron2: FREEZE_AT 2 and frozen batch norm, BGR statistics replaced by RGB ones",
        "the best eps was chosen on the test set",
    ),
)

# task, test set, method, metric, standard, spread, robust-best, spread; COCO: standard deviation of 4 runs
# VOC: detectron2's AP
_FIGURE_4 = (
    ("voc2007_test", "Faster R-CNN", "AP_d2", 52.80, None, 53.87, None),
    ("coco_val2017", "Faster R-CNN", "bbox_mAP", 39.80, 0.08, 40.07, 0.10),
    ("coco_val2017", "Mask R-CNN", "bbox_mAP", 40.67, 0.06, 40.91, 0.15),
    ("coco_val2017", "Mask R-CNN", "segm_mAP", 36.92, 0.08, 37.08, 0.10),
)
_ARCHS = ("resnet18", "resnet50", "wide_resnet50_2", "wide_resnet50_4")
# Best single run: accuracy @ eps for fixed R18, R50, WRN-2, WRN-4, then full. * = another learning rate than usual.
_BEST_RUNS = """
sun397 51.77@0 54.88@.01 55.70@0 58.81@.01 59.58@0 62.38@0 63.52@.03 65.01@.01
aircraft 41.91@.5 42.15@1 41.34@.5 44.38@.05 80.89@0* 86.14@.01* 86.83@0* 86.44@.25
birdsnap 45.94@.01 49.25@.1 48.76@.03 50.75@.01 68.51@.01* 73.71@.25* 75.11@.01 76.69@.01
caltech101 89.49@.1 91.07@1 91.80@.5 92.76@.25 92.06@0 94.61@.03 95.41@.5 95.69@.05
caltech256 78.40@.05 82.51@.05 83.34@.03 85.08@.03 80.16@.05 84.63@.05 86.33@.05 87.74@.05
cifar10 91.64@3 94.81@3 95.21@3 95.57@3 97.14@3 98.27@3 98.55@5 98.72@1
cifar100 74.01@3 79.50@3 80.77@3 81.15@3 84.41@1 87.45@3 88.23@3 89.18@1
dtd 67.13@0 70.59@.01 70.21@0 70.96@.03* 72.34@0 75.53@.01 76.17@.01 77.39@.03
flowers 91.36@.1 91.46@.1 92.23@0 91.95@.01 96.22@0* 96.98@.01* 97.33@.01* 97.12@0*
food 60.26@.03 66.03@.05 65.83@0 69.35@.01 84.06@.01 87.71@0* 88.37@.05 89.30@.1
pets 89.78@0 91.32@.03 92.03@0 92.23@.03 92.05@0 93.71@.05 94.51@.05 94.59@.01
cars 45.67@.1 47.38@.5 46.91@.25 51.06@.01 88.22@0* 91.49@0* 91.64@0* 91.42@0*
"""
_PER_CLASS = frozenset({"aircraft", "caltech101", "caltech256", "flowers", "pets"})
# Six architectures A to F of Table 2 (the letters are the paper's); ImageNet and CIFAR-10 accuracy.
_TABLE_2 = {
    ("eps0", "imagenet_val"): (77.37, 77.32, 73.66, 65.26, 64.25, 60.97),
    ("eps0", "cifar10"): (97.84, 97.47, 96.08, 95.86, 95.82, 95.55),
    ("l2_eps3", "imagenet_val"): (66.12, 65.92, 56.78, 50.05, 42.87, 41.03),
    ("l2_eps3", "cifar10"): (98.67, 98.22, 97.27, 96.91, 96.23, 95.99),
}


def records() -> list[Record]:
    """Every number."""
    return [*_figure_4(), *_sources(), *_best_runs(), *_table_2()]


def _figure_4() -> list[Record]:
    found = []
    for dataset, method, metric, standard, s1, robust, s2 in _FIGURE_4:
        for source, value, spread in (("in1k", standard, s1), ("l2_robust_best", robust, s2)):
            note = "" if source == "in1k" else "best of several eps"
            sure = None if spread is None else fraction(spread)
            row = (dataset, method, "resnet50", source, "full", metric, "P", fraction(value), sure, note)
            found.append(Record(PAPER.key, "Figure 4", *row))
    return found


def _sources() -> list[Record]:
    made = ("code release", "imagenet_val", "classifier")
    return [
        Record(PAPER.key, *made, net.arch, net.name.removeprefix(f"{net.arch}_"), "", "top1", "P", net.clean_top1)
        for net in salman_sources()
        if net.clean_top1 is not None
    ]


def _best_runs() -> list[Record]:
    found = []
    for line in _BEST_RUNS.split("\n"):
        dataset, *cells = line.split() or [""]
        for index, cell in enumerate(cells):
            accuracy, _, eps = cell.rstrip("*").partition("@")
            other = "; other learning rate" if cell.endswith("*") else ""
            model = ("classifier", _ARCHS[index % 4], f"l2_eps{float(eps):g}", "fixed" if index < 4 else "full")
            metric = "mean_per_class" if dataset in _PER_CLASS else "top1"
            row = (dataset, *model, metric, "P", fraction(float(accuracy)))
            note = f"best of several eps, chosen on the test set{other}"
            found.append(Record(PAPER.key, "code release, best runs", *row, note=note))
    return found


def _table_2() -> list[Record]:
    note = "the architecture's name is not printed beside its letter"
    rows = (
        (dataset, "classifier", f"architecture {letter}", source, "", "top1", "P", fraction(value))
        for (source, dataset), values in _TABLE_2.items()
        for letter, value in zip("ABCDEF", values, strict=True)
    )
    return [Record(PAPER.key, "Table 2", *row, note=note) for row in rows]
