"""Utrera et al. (2021): Table 7, differences of sources paired by seed, blocks, and scores by epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache

from rtx.reports.published import Record, all_records
from rtx.reports.runs.naming import UNKNOWN, SourceName
from rtx.reports.studies.order import (
    is_random,
    is_standard,
    size_name,
    sizes_of,
    sources_of,
    target_name,
    targets_of,
    transfer_rank,
    transfers_of,
)
from rtx.reports.studies.rows import Setting, Study
from rtx.reports.tables.table import Entry, Table, best_of, row
from rtx.reports.text.wording import DASH, interval_text, percent, signed
from rtx.results.over_seeds import Scores, paired, spread
from rtx.results.studies import Curves, at_epoch, curve_difference, learning_curve

SHOWN_EPOCHS = (1, 11, 21, 41, 81, 150)
"""Epochs of Figure 3, and the first."""
_TESTED = (10, 20, 40, 80, 150)
"""Those of them that a training by the recipe, which is tested every ten epochs, comes closest to."""
MOST_SOURCES = 8
"""Columns of Table 7 at most; a study of many eps has other tables."""
_FULL = ("full", "full_strict")
PARTIAL = "The data are a part of a published set: no published number compares."
References = Callable[[SourceName], SourceName | None]
Groups = Iterator[tuple[tuple[str, str, str], dict[Setting, Scores]]]


def groups_of(study: Study) -> Groups:
    """(transfer, view, training) -> their rows; only within these are sources compared."""
    keys = {(s.transfer, s.view, s.training): None for s in study.scores}
    for key in sorted(keys, key=lambda k: (transfer_rank(k[0]), k[1:])):
        yield key, study.part(transfer=key[0], view=key[1], training=key[2])


def table_7(study: Study) -> list[Table]:
    """Scores by target, size and source, one table for each transfer; beside three blocks the printed ones."""
    found: list[Table] = []
    for (transfer, view, training), part in groups_of(study):
        columns = [(source, transfer) for source in sources_of(part)]
        scratch = {s: v for s, v in study.part(view=view, training=training).items() if _is_scratch(s)}
        if transfer == "blocks:3":
            part = {**part, **scratch}
            columns += sorted({(s.source, s.transfer) for s in scratch}, key=str)
        if not 2 <= len(columns) <= MOST_SOURCES:
            continue
        rows, partial = [], any(s.partial or s.view for s in part)
        for target in targets_of(part):
            for size in sizes_of(s for s in part if s.target == target):
                here = {(s.source, s.transfer): v for s, v in part.items() if (s.target, s.images) == (target, size)}
                means = [spread(here[c], resamples=0).mean if c in here else None for c in columns]
                marked = best_of(means, digits=2)
                cells = [
                    Entry(
                        percent(mean, 2), "" if partial else _beside(_printed(*column, target, size)), place in marked
                    )
                    for place, (column, mean) in enumerate(zip(columns, means, strict=True))
                ]
                counts = sorted({len(scores) for scores in here.values()})
                rows.append(row(target_name(target), size_name(size), " or ".join(map(str, counts)), *cells))
        names = [s.text if mode == transfer else f"{s.text}, {mode}" for s, mode in columns]
        notes = [f"In percent, means over seeds; of trainings the last epoch. {_trained(transfer, view, training)}"]
        notes += [PARTIAL] if any(s.partial for s in part) else []
        if any(entry.below for entries in rows for entry in entries):
            notes.append(
                "In brackets what Utrera et al. print in Table 7: their natural source beside a standard one, theirs "
                "of the same norm and eps beside a robust one, whoever trained it."
            )
        title = f"Score by size of the training set, {transfer} (layout of Utrera et al., Table 7)"
        name = f"utrera_table7_{len(found) + 1}"
        found.append(Table(name, title, ("target", "images", "seeds", *names), tuple(rows), 2, tuple(notes)))
    return found


def _is_scratch(s: Setting) -> bool:
    return is_random(s.source) and s.transfer in _FULL


def _trained(transfer: str, view: str, training: str) -> str:
    return f"Transfer {transfer}, {training or 'recipe not stated'}{f', images seen through {view}' if view else ''}."


def _printed(source: SourceName, transfer: str, target: str, images: int | None) -> Record | None:
    """Table 7's number for a source like this one."""
    name = _like(source)
    if source.arch not in ("resnet50", UNKNOWN) or transfer not in (_FULL if name == "random" else ("blocks:3",)):
        return None
    return _printed_numbers().get((target, name, images))


@cache
def _printed_numbers() -> dict[tuple[str, str | None, int | None], Record]:
    """(target, source, images) -> Table 7's number."""
    found = [r for r in all_records() if (r.paper, r.place) == ("utrera2021", "Table 7")]
    return {(r.dataset, r.source, r.images): r for r in found}


def _like(source: SourceName) -> str | None:
    if is_random(source):
        return "random"
    if is_standard(source):
        return "in1k"
    return f"{source.norm}_eps{source.eps:g}" if source.norm and source.eps else None


def _beside(record: Record | None) -> str:
    return f"({percent(record.value, 2)})" if record else ""


def differences(study: Study, reference: References) -> Table | None:
    """Each source minus its reference, paired by seed (Figures 2b and 5); None without another source."""
    rows = []
    for (transfer, view, training), part in groups_of(study):
        how = ", ".join(filter(None, (training, view)))
        for source in sources_of(part):
            other = reference(source)
            if other is None or source == other:
                continue
            for target in targets_of(part):
                for size in sizes_of(part):
                    first, second = (_at(part, one, target, size) for one in (source, other))
                    if not first.keys() & second.keys():
                        continue
                    found = paired(first, second).difference
                    sure = Entry(signed(found.mean, 2), best=found.excludes_zero)
                    ends = (_ends(found.t), _ends(found.bootstrap))
                    words = (source.text, other.text, target_name(target), size_name(size), transfer, how)
                    rows.append(row(*words, str(found.n), sure, *ends))
    if not rows:
        return None
    head = ("source", "minus", "target", "images", "transfer", "training", "seeds", "points", "95 % (t)", "bootstrap")
    notes = (
        "Paired by seed. Bold where the interval by Student's t holds no zero; many rows are tested, so that one in "
        "twenty is bold by chance. Utrera et al. draw the bootstrapped interval, which is too narrow for few seeds.",
    )
    return Table("differences", "Differences of sources (Utrera et al., Figures 2b and 5)", head, tuple(rows), 6, notes)


def _ends(ends: tuple[float, float] | None) -> str:
    return DASH if ends is None else interval_text(ends, 2, sign=True)


def _at(part: Mapping[Setting, Scores], source: SourceName, target: str, images: int | None) -> Scores:
    wanted = (source, target, images)
    return next((scores for s, scores in part.items() if (s.source, s.target, s.images) == wanted), {})


BEST = "after the best epoch of each run, selected on the test set, as Utrera et al. do here: higher than can be known"
"""Of tables of best epochs."""


def at_best(study: Study) -> Study:
    """The settings whose runs were tested after several epochs, each run with its best score on the test set."""
    several = {s: curves for s, curves in study.epochs.items() if all(len(curve) > 1 for curve in curves.values())}
    return replace(study, scores={s: at_epoch(curves, "best") for s, curves in several.items()})


def selection(study: Study) -> Table | None:
    """Scores after the last and after the best epoch of each run, and what the choice on the test set adds.

    None where no run was tested after two epochs.
    """
    rows = []
    best = at_best(study).scores
    for setting, curves in sorted(study.epochs.items(), key=lambda pair: _key(pair[0])):
        if setting not in best:
            continue
        means = [spread(scores, resamples=0).mean for scores in (at_epoch(curves, "last"), best[setting])]
        words = (*_words(setting), ", ".join(filter(None, (setting.training, setting.view))), str(len(curves)))
        epochs = str(len(set().union(*curves.values())))
        rows.append(row(*words, epochs, *(percent(m, 2) for m in means), signed(means[1] - means[0], 2)))
    if not rows:
        return None
    head = (
        "source", "target", "images", "transfer", "training", "seeds", "epochs tested", "last", "best", "best - last",
    )  # fmt: skip
    note = f"In percent, means over seeds. Last: after the last epoch, as in the other tables. Best: {BEST}."
    return Table("selection", "Last and best epoch (Utrera et al., sections 4 and A.4)", head, tuple(rows), 5, (note,))


def blocks(study: Study, *, best: bool = False) -> Table | None:
    """Scores by how much trains, and the difference of three and one block (Figure 4); None for one mode.

    Args:
        study: the rows.
        best: after the best epoch of each run on the test set, as in the paper, instead of the last one.
    """
    study = at_best(study) if best else study
    transfers = transfers_of(study.scores)
    if len(transfers) < 2:
        return None
    rows = []
    for source in sources_of(study.scores):
        for target in targets_of(study.scores):
            for size in sizes_of(study.scores):
                for training in dict.fromkeys(s.training for s in study.scores):
                    part = study.part(source=source, target=target, images=size, view="", training=training)
                    here = {s.transfer: scores for s, scores in part.items()}
                    if len(here) < 2:
                        continue
                    means = [spread(here[t], resamples=0).mean if t in here else None for t in transfers]
                    marked = best_of(means, digits=2)
                    cells = [Entry(percent(mean, 2), "", n in marked) for n, mean in enumerate(means)]
                    last = _three_minus_one(here)
                    rows.append(row(source.text, target_name(target), size_name(size), training, *cells, *last))
    if not rows:
        return None
    head = ("source", "target", "images", "training", *transfers, "3 − 1 blocks", "95 % (t)")  # noqa: RUF001
    title = "How much to train (Utrera et al., Figure 4)"
    if best:
        note = f"In percent, means over seeds, {BEST}."
        return Table("blocks_best", f"{title}, best epoch on the test set", head, tuple(rows), 4, (note,))
    note = (
        "In percent, means over seeds, after the last epoch; blocks_best has the best one, as Utrera et al. take here."
    )
    return Table("blocks", title, head, tuple(rows), 4, (note,))


def _three_minus_one(here: Mapping[str, Scores]) -> tuple[Entry | str, str]:
    three, one = here.get("blocks:3", {}), here.get("blocks:1", {})
    if not three.keys() & one.keys():
        return DASH, DASH
    found = paired(three, one, resamples=0).difference
    return Entry(signed(found.mean, 2), best=found.excludes_zero), _ends(found.t)


def epochs_table(study: Study, reference: References) -> Table | None:
    """Scores after some epochs, and their difference to the reference's (Figure 3); None without two of them."""
    rows = []
    every = sorted({e for curves in study.epochs.values() for curve in curves.values() for e in curve})
    shown = [e for e in (_TESTED if set(_TESTED) <= set(every) else SHOWN_EPOCHS) if e in every]
    # Counted from the end: the last epoch is the one that other tables hold.
    shown = shown if len(shown) > 1 else every[:: -max(1, -(-len(every) // 6))][::-1]
    if len(shown) < 2:
        return None
    for setting, curves in sorted(study.epochs.items(), key=lambda pair: _key(pair[0])):
        curve = learning_curve(curves, resamples=0)
        cells = [percent(curve[e].mean, 2) if e in curve else DASH for e in shown]
        rows.append(row(*_words(setting), "", str(len(curves)), *cells))
        against = reference(setting.source)
        other = curves_of(study, setting, against)
        if against is not None and curves.keys() & other.keys():
            change = curve_difference(curves, other, resamples=0)
            gains = [
                Entry(signed(change[e].mean, 2), best=change[e].excludes_zero) if e in change else Entry(DASH)
                for e in shown
            ]
            both = str(len(curves.keys() & other.keys()))
            rows.append(row(*_words(setting), f"minus {against.text}", both, *gains))
    if not rows:
        return None
    head = ("source", "target", "images", "transfer", "", "seeds", *(f"epoch {e}" for e in shown))
    note = (
        "In percent, means over seeds. Differences in points, paired by seed; bold where the t interval holds no zero."
    )
    return Table("epochs", "Scores by epoch (Utrera et al., Figure 3)", head, tuple(rows), 5, (note,))


def curves_of(study: Study, setting: Setting, source: SourceName | None) -> Curves:
    """The scores by epoch of another source under the same setting; empty where there are none."""
    if source is None or source == setting.source:
        return {}
    return study.epochs.get(replace(setting, source=source), {})


def _words(s: Setting) -> tuple[str, ...]:
    return s.source.text, target_name(s.target), size_name(s.images), s.transfer


def _key(s: Setting) -> tuple[object, ...]:
    return transfer_rank(s.transfer), s.target, s.images is None, s.images or 0, s.view, s.training, s.source.text
