"""Salman et al. (2020): Table 1, the best eps by target, Table 2 with its R2, and width."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from rtx.reports.published import Record, all_records
from rtx.reports.runs.naming import SourceName
from rtx.reports.studies.order import is_random, is_standard, target_name, targets_of, transfers_of
from rtx.reports.studies.rows import Setting, Study
from rtx.reports.tables.table import Entry, Table, best_of, row
from rtx.reports.text.wording import DASH, percent
from rtx.results.over_seeds import Scores, spread
from rtx.results.studies import best, r_squared

RELEASED = "released best run"
TRIALS = "Every number is a mean over seeds."
ON_TEST = (
    "Selected on the test set: the maximum over architectures, eps and learning rates, as the paper does. It is higher "
    "than a model chosen without the test set would be."
)


def whole(study: Study) -> Study:
    """The part of a study that Salman et al. have: all training images, no view."""
    kept = {s: scores for s, scores in study.scores.items() if s.images is None and not s.view}
    return replace(study, scores=kept)


def table_1(study: Study) -> Table | None:
    """Best robust, standard and random source of each target, in each mode; below, the authors' best released run.

    None where no mode has two of the three.
    """
    study = whole(study)
    targets = targets_of(study.scores)
    rows: list[tuple[Entry, ...]] = []
    for transfer in transfers_of(study.scores):
        part = study.part(transfer=transfer)
        kinds = {
            "robust": {s: scores for s, scores in part.items() if s.source.eps},
            "standard": {s: scores for s, scores in part.items() if is_standard(s.source)},
            "random": {s: scores for s, scores in part.items() if is_random(s.source)},
        }
        means = {name: {t: _best_of(kind, t) for t in targets} for name, kind in kinds.items() if kind}
        if len(means) < 2:
            continue
        for name, found in means.items():
            cells = []
            for target in targets:
                pair = [means[other][target] for other in (name, *(n for n in means if n != name))]
                winner = 0 in best_of([one[0] if one else None for one in pair], digits=2)
                mine = found[target]
                cells.append(Entry(percent(mine[0], 2), f"({_which(mine[1])})", winner) if mine else Entry(DASH))
            rows.append(row(transfer, name, *cells))
        printed = {} if any(s.partial for s in part) else _released(transfer)
        if any(target in printed for target in targets):
            cells = [
                Entry(percent(r.value, 2), f"({r.backbone} {r.source})") if (r := printed.get(target)) else Entry(DASH)
                for target in targets
            ]
            rows.append(row(transfer, RELEASED, *cells))
    if not rows:
        return None
    metrics = {target: next(s.metric for s in study.scores if s.target == target) for target in targets}
    by_class = ", ".join(target_name(t) for t in targets if metrics[t] != "top-1")
    notes = [f"In percent, top-1{f'; mean per class for {by_class}' if by_class else ''}. {TRIALS} {ON_TEST}"]
    if any(entries[1].text == RELEASED for entries in rows):
        notes.append(
            f"{RELEASED.capitalize()}: the best of all eps and architectures among the single runs that the authors "
            "publish beside their code, standard or robust. The numbers of their Table 1 could not be read at the "
            "source."
        )
    head = ("transfer", "source", *map(target_name, targets))
    title = "Best source of each target (layout of Salman et al., Table 1)"
    return Table("salman_table1", title, head, tuple(rows), 2, tuple(notes))


def _best_of(settings: Mapping[Setting, Scores], target: str) -> tuple[float, SourceName] | None:
    means = [(spread(scores, resamples=0).mean, s.source) for s, scores in settings.items() if s.target == target]
    return max(means, key=lambda pair: pair[0], default=None)


def _which(source: SourceName) -> str:
    eps = "" if source.eps is None else f" {source.norm or 'eps'} {source.eps:g}" if source.eps else ""
    return f"{source.arch}{eps}"


def _radius(source: SourceName) -> str:
    return f"{'' if source.norm == 'l2' else f'{source.norm} '}eps {source.eps:g}"


def _released(transfer: str) -> dict[str, Record]:
    """Target -> the best of the released single runs over architectures."""
    found: dict[str, Record] = {}
    for record in all_records():
        if record.place == "code release, best runs" and record.transfer == transfer:
            known = found.get(record.dataset)
            found[record.dataset] = record if known is None or record.value > known.value else known
    return found


def best_eps(study: Study) -> Table | None:
    """The best eps of each target, architecture and mode, and those that seeds do not tell apart from it.

    None where no source differs from another in eps alone.
    """
    rows = []
    for line, scores in by_eps(study):
        found = best(scores)
        how = ", ".join(filter(None, (line.training, line.view)))
        note = "" if not found.untested else f"; {_list(found.untested)}: too few seeds to say"
        ties = (_list(found.ties) or "none") + note
        score = f"{percent(found.score.mean, 2)}"
        range_ = f"{percent(found.score.lowest, 2)} to {percent(found.score.highest, 2)}" if found.score.n > 1 else DASH
        words = (target_name(line.target), line.arch, line.transfer, how)
        rows.append(row(*words, f"{found.key:g}", ties, score, range_, str(found.score.n)))
    if not rows:
        return None
    head = ("target", "architecture", "transfer", "training", "best eps", "ties", "score", "min to max", "seeds")
    notes = (
        "L2 sources, in percent. Ties: the 95 % interval (t) of the difference paired by seed holds zero. The best is "
        "chosen on the test set.",
    )
    return Table("best_eps", "Best eps by target (Salman et al., section 4.3)", head, tuple(rows), 4, notes)


@dataclass(frozen=True)
class EpsCurve:
    """What is the same along a line of eps."""

    transfer: str
    target: str
    arch: str
    training: str
    view: str


def by_eps(study: Study) -> Iterator[tuple[EpsCurve, dict[float, Scores]]]:
    """Scores by the eps of L2 sources (0 is standard), all images, where there are two eps or more."""
    lines: dict[EpsCurve, dict[float, Scores]] = {}
    for s, scores in study.scores.items():
        if s.images is None and s.source.norm == "l2" and s.source.eps is not None:
            family = s.source.recipe.rpartition("l2_eps")[0].rstrip("_")  # another recipe is another line
            arch = f"{s.source.arch} ({family})" if family else s.source.arch
            lines.setdefault(EpsCurve(s.transfer, s.target, arch, s.training, s.view), {})[s.source.eps] = scores
    for transfer in transfers_of(study.scores):
        for target in targets_of(study.scores):
            for key, found in lines.items():
                if (key.transfer, key.target) == (transfer, target) and len(found) > 1:
                    yield key, dict(sorted(found.items()))


def _list(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def source_and_target(study: Study, accuracy: Callable[[SourceName], float | None]) -> Table | None:
    """Source against target accuracy over architectures at one eps, with R2 (Table 2).

    Args:
        study: the rows.
        accuracy: ImageNet top-1 of a source as published, a fraction; None where it is not known.

    None where no eps has three architectures on one target.
    """
    study = whole(study)
    rows = []
    for transfer in transfers_of(study.scores):
        for target in targets_of(study.scores):
            groups: dict[str, dict[SourceName, Scores]] = {}
            for s, scores in study.part(transfer=transfer, target=target).items():
                groups.setdefault(f"{s.source.recipe}|{s.training}", {})[s.source] = scores
            for name, found in groups.items():
                pairs = {
                    source: (known, spread(scores, resamples=0).mean)
                    for source, scores in found.items()
                    if (known := accuracy(source)) is not None
                }
                if len({source.arch for source in pairs}) < 3:
                    continue
                x, y = zip(*pairs.values(), strict=True)
                recipe, training = name.split("|")
                points = ", ".join(
                    f"{source.arch} {percent(a, 2)} → {percent(b, 2)}"
                    for source, (a, b) in sorted(pairs.items(), key=_down)
                )
                rows.append(row(target_name(target), transfer, training, recipe, f"{r_squared(x, y):.2f}", points))
    if not rows:
        return None
    head = ("target", "transfer", "training", "source", "R2", "ImageNet → target")
    notes = (
        "R2 is the squared correlation over architectures. Salman et al. print 0.79 at eps 0 and 0.97 at L2 eps 3 for "
        f"six architectures on CIFAR-10. ImageNet top-1 as published. {TRIALS}",
    )
    return Table(
        "source_accuracy",
        "Does source accuracy predict the target's? (Salman et al., Table 2)",
        head,
        tuple(rows),
        4,
        notes,
    )


def _down(pair: tuple[SourceName, tuple[float, float]]) -> float:
    return -pair[1][0]


def width(study: Study) -> Table | None:
    """Standard and best robust score by architecture, for each target and mode (Figure 6).

    None with fewer than two architectures.
    """
    study = whole(study)
    arches = [
        a
        for a in ("resnet18", "resnet50", "wide_resnet50_2", "wide_resnet50_4")
        if a in {s.source.arch for s in study.scores}
    ]
    if len(arches) < 2:
        return None
    rows = []
    for (transfer, target), kinds in _kinds(study):
        for name, found in kinds.items():
            values = [_best_of({s: v for s, v in found.items() if s.source.arch == arch}, target) for arch in arches]
            if any(values):
                marked = best_of([v[0] if v else None for v in values], digits=2)
                cells = [
                    Entry(percent(v[0], 2), f"({_radius(v[1])})" if v[1].eps else "", n in marked) if v else Entry(DASH)
                    for n, v in enumerate(values)
                ]
                rows.append(row(target_name(target), transfer, name, *cells))
    if not rows:
        return None
    head = ("target", "transfer", "source", *arches)
    note = f"In percent. {TRIALS} Robust: the best eps of each architecture, chosen on the test set."
    return Table("width", "Architecture and width (Salman et al., Figure 6)", head, tuple(rows), 3, (note,))


def _kinds(study: Study) -> Iterator[tuple[tuple[str, str], dict[str, dict[Setting, Scores]]]]:
    for target in targets_of(study.scores):
        for transfer in transfers_of(study.scores):
            part = study.part(transfer=transfer, target=target)
            yield (
                (transfer, target),
                {
                    "standard": {s: v for s, v in part.items() if is_standard(s.source)},
                    "robust": {s: v for s, v in part.items() if s.source.eps},
                },
            )
