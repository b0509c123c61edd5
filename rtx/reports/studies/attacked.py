"""Score under attack: by eps and source as in Utrera et al. (2021), Table 1b, and by what transfer has left of it."""

from __future__ import annotations

import re

from rtx.reports.published import all_records
from rtx.reports.runs.naming import SourceName
from rtx.reports.studies.order import is_standard, size_name, sources_of, target_name, targets_of, transfer_rank
from rtx.reports.studies.rows import OWN_HEAD, Setting, Study
from rtx.reports.tables.table import Entry, Table, best_of, row
from rtx.reports.text.wording import percent
from rtx.results.attack_text import eps_text
from rtx.results.over_seeds import spread
from rtx.types import CLEAN, Condition

_PERCENT = "In percent, means over seeds."


def table_1b(study: Study) -> Table | None:
    """Sources' own classifiers: a row for each eps, a column for each source; None where none was attacked."""
    settings = [s for s in study.attacks if s.transfer == OWN_HEAD]
    sources = sources_of(settings)
    rows = []
    for target in targets_of(settings):
        mine = {s.source: s for s in settings if s.target == target}
        for condition in _conditions(study, list(mine.values())):
            means = [_mean(study, mine[source], condition) if source in mine else None for source in sources]
            marked = best_of(means, digits=2)
            cells = [
                Entry(percent(mean, 2), _printed(source, target, condition), place in marked)
                for place, (source, mean) in enumerate(zip(sources, means, strict=True))
            ]
            rows.append(row(target_name(target), _called(condition), *cells))
    if not rows:
        return None
    notes = [_PERCENT]
    if any(entry.below for entries in rows for entry in entries):
        notes.append("In brackets what Utrera et al. print in Table 1b, for PGD(3); they do not state the norm.")
    head = ("target", "eps", *(source.text for source in sources))
    title = "Sources' own classifiers under attack (layout of Utrera et al., Table 1b)"
    return Table("utrera_table1b", title, head, tuple(rows), 2, tuple(notes))


def after_transfer(study: Study) -> Table | None:
    """Trained models: a row for each source and transfer, a column for each eps; None where none was attacked."""
    settings = [s for s in study.attacks if s.transfer != OWN_HEAD]
    conditions = _conditions(study, settings)
    rows = []
    for target in targets_of(settings):
        here = [s for s in settings if s.target == target]
        for source in sources_of(here):
            mine = [s for s in here if s.source == source]
            for s in sorted(mine, key=lambda s: (transfer_rank(s.transfer), s.images or 0, s.training)):
                means = [_mean(study, s, condition) for condition in conditions]
                words = (target_name(target), source.text, s.transfer, size_name(s.images), s.training)
                rows.append(row(*words, str(len(study.scores[s])), *(Entry(percent(mean, 2)) for mean in means)))
    if not rows:
        return None
    head = ("target", "source", "transfer", "images", "training", "seeds", *map(_called, conditions))
    return Table("attacked", "Score under attack, by source and transfer", head, tuple(rows), 5, (_PERCENT,))


def _conditions(study: Study, settings: list[Setting]) -> list[Condition]:
    """The clean images and every eps."""
    return sorted({CLEAN, *(Condition.from_key(key) for s in settings for key in study.attacks[s])})


def _called(condition: Condition) -> str:
    return "clean" if condition == CLEAN else eps_text(condition.key)


def _mean(study: Study, setting: Setting, condition: Condition) -> float | None:
    scores = study.scores[setting] if condition == CLEAN else study.attacks[setting].get(condition.key)
    return spread(scores, resamples=0).mean if scores else None


def _printed(source: SourceName, target: str, condition: Condition) -> str:
    """Table 1b's number for a source like this one."""
    if source.arch != "resnet50" or target != "imagenet" or condition.corruption != "l2":
        return ""
    like = "in1k" if is_standard(source) and source.recipe.startswith("in1k") else source.recipe
    for record in all_records():
        if (record.paper, record.place, record.source) == ("utrera2021", "Table 1b", like):
            eps = re.search(r"eps (\d+)/(\d+)", record.note)
            if eps and int(eps[1]) / int(eps[2]) == condition.severity:
                return f"({percent(record.value, 2)})"
    return ""
