"""What a report draws of a group: each chart says which cells it needs, and names what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from rtx.reports.figures import (
    attacks,
    breakdown,
    curve,
    diagnosis,
    drift,
    families,
    heat,
    influence_of_runs,
    multiples,
    scatter,
    transfer,
)
from rtx.reports.runs.groups import Group
from rtx.reports.runs.runs import BENCHMARK_CELLS, Run
from rtx.reports.text.wording import metric_name
from rtx.types import Condition


@dataclass(frozen=True)
class Chart:
    """One figure of the report.

    Attributes:
        name: file name of the figure.
        title: heading on the page.
        about: how to read it, one or two sentences.
        draw: makes the figure; None where there is nothing to draw.
        point: what the figure says, one sentence from the data.
        required: the cells that it needs of every run.
        absent: what to say where it cannot be drawn though every cell is there.
        lacking: (run, what it lacks, command) of runs that lack something else than cells.
    """

    name: str
    title: str
    about: str
    draw: Callable[[Group], Figure | None]
    point: Callable[[Group], str]
    required: tuple[Condition, ...] = BENCHMARK_CELLS
    absent: Callable[[Group], str] = lambda group: ""
    lacking: Callable[[Group], tuple[tuple[str, str, str], ...]] = lambda group: ()

    def missing(self, group: Group) -> list[tuple[Run, tuple[Condition, ...]]]:
        """Runs that lack cells which this chart needs, with those cells."""
        found = [(run, tuple(c for c in self.required if c not in run.grid())) for run in group.runs]
        return [(run, cells) for run, cells in found if cells]


def _no_classes(group: Group) -> str:
    if all(run.card.get("origin") for run in group.runs):
        return f"The imported results hold no {metric_name(group.metric)} by class."
    return f"No {metric_name(group.metric)} by class here: an evaluation writes by_class.json beside its cells."


def _no_eps(group: Group) -> str:
    found = sorted({run.source.text for run in group.runs})
    return (
        "Needs comparable, complete runs of one model and transfer mode, at least two radii; "
        f"sources here: {', '.join(found)}. Train another with: "
        "rtx train CONFIG --source resnet50_l2_eps3 --transfer fixed"
    )


CURVE = Chart(
    "curve",
    "Severity curve",
    "Mean over the 15 corruptions at each severity; 0 is the clean images. "
    "A band is a 95 % interval; of more than four models it is drawn for the baseline, the best and the worst. No band "
    "means that none was computed.",
    curve.draw,
    curve.point,
)
HEAT = Chart(
    "heat",
    "What each corruption leaves",
    "Mean over severities 1 to 5 as a share of the model's own clean score, in percent. Dark is where it breaks.",
    heat.draw,
    heat.point,
)
MULTIPLES = Chart(
    "multiples",
    "Every corruption by severity",
    "One panel a corruption on one scale, titles in the colour of the family; dotted: the baseline's clean score.",
    multiples.draw,
    multiples.point,
)
FAMILY_DROPS = Chart(
    "families",
    "Drop by family",
    "Drop = 1 − score / P. Right: difference to the baseline, paired over the same pixels; a hollow mark has no "  # noqa: RUF001
    "interval and may be chance. Of more than six models only the ends are named; differences are in the table.",
    families.draw,
    families.point,
)
SCATTER = Chart(
    "scatter",
    "Clean against corrupted",
    "Grey: published detectors on the same test set, corrupted in BGR, and the straight line through them. Dotted: how "
    "far a model of the same protocol lies from that trend. Dashed: nothing lost.",
    scatter.draw,
    scatter.point,
)
SIZES = Chart(
    "sizes",
    "Drop by object size",
    "Drop of the score of small, medium and large objects, each against its own clean score.",
    breakdown.draw_sizes,
    breakdown.size_point,
    absent=lambda group: (
        f"These cells hold no {metric_name(group.metric)} by object size; COCO scoring gives it (APs, APm, APl)."
    ),
)
CLASSES = Chart(
    "classes",
    "Drop by class",
    "Drop of each class against its own clean score, the baseline's largest first.",
    breakdown.draw_classes,
    breakdown.class_point,
    absent=_no_classes,
)
DIAGNOSIS = Chart(
    "diagnosis",
    "What the loss consists of, and how far confidence is right",
    "Bars: points of AP50 lost under each corruption, mean over its severities, divided among the error types (TIDE) "
    "whose dAP rose above that on clean images; a loss below one point is not divided. Lines: expected calibration "
    "error by severity, of detections of score 0.3 and above (D-ECE), or of the most likely classes (ECE).",
    diagnosis.draw,
    diagnosis.point,
    required=(),
    absent=diagnosis.absent,
    lacking=diagnosis.lacking,
)
EPS = Chart(
    "eps",
    "Transfer: score against the source's eps",
    "Clean and corrupted score, and the drop, against the radius that the source was trained with (log axis; 0 is a "
    "source trained without adversary).",
    transfer.draw_eps,
    transfer.eps_point,
    absent=_no_eps,
)
SOURCE_AXIS = Chart(
    "source_axis",
    "Transfer: source axis against target axis",
    "How robust the source is on its own task (published accuracy on ImageNet-C, ResNet-50) against what is left on "
    "the target.",
    transfer.draw_axes,
    transfer.axis_point,
    absent=lambda group: (
        "Needs complete runs from at least two ResNet-50 sources whose accuracy on ImageNet-C is published "
        "(in1k_v1, ant, ant3x3, augmix, deepaug, prime, speckle, ...)."
    ),
)
ATTACKS = Chart(
    "attacks",
    "Score under attack",
    "Score against the size of the perturbation (eps), 0 for the clean images; bars are 95 % intervals over images. "
    "An attack gives an upper bound of what a model withstands.",
    attacks.draw,
    attacks.point,
    required=(),
)
DRIFT = Chart(
    "drift",
    "Where in the network features part",
    "Linear CKA by layer, mean over corruptions and severities; 1 means alike up to rotation and scale. Left: clean "
    "against corrupted images, dashed for the source itself. Right: the source against the run, dashed on corrupted "
    "images. Bands are 95 % intervals over images. Measured by rtx drift.",
    drift.draw,
    drift.point,
    required=(),
)
INFLUENCE = Chart(
    "influence",
    "Training images behind the answers",
    "Share of test images with the label of their training image of each rank, from the most helpful on, through the "
    "last layer; dotted: chance. Measured by rtx influence, whose galleries show the images.",
    influence_of_runs.draw,
    influence_of_runs.point,
    required=(),
)
BEFORE_STRIPS = (CURVE,)
AFTER_STRIPS = (HEAT, MULTIPLES, FAMILY_DROPS, SCATTER, DIAGNOSIS, SIZES, CLASSES)
TRANSFER = (EPS, SOURCE_AXIS)
EVERY = (*BEFORE_STRIPS, *AFTER_STRIPS, *TRANSFER, DRIFT, INFLUENCE, ATTACKS)


def charts_of(group: Group) -> tuple[Chart, ...]:
    """The charts that a group of runs is drawn in."""
    if group.attacked:
        return (ATTACKS,)
    more = [*(TRANSFER if wants_transfer(group) else ())]
    more += [DRIFT] if drift.drifts_of(group) else []
    more += [INFLUENCE] if influence_of_runs.influences_of(group) else []
    return (*BEFORE_STRIPS, *AFTER_STRIPS, *more)


def wants_transfer(group: Group) -> bool:
    """Whether the runs differ by source or transfer mode."""
    return len({(run.source.text, run.transfer) for run in group.runs}) > 1
