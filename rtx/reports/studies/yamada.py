"""Yamada & Otani (2022), appendix B.1 and Figure 5: what the degree of fine-tuning leaves of a source's robustness."""

from __future__ import annotations

from rtx.reports.studies.order import size_name, sources_of, target_name, targets_of, transfer_rank
from rtx.reports.studies.rows import Study
from rtx.reports.tables.table import Entry, Table, best_of, row
from rtx.reports.text.wording import percent
from rtx.results.over_seeds import Spread
from rtx.results.studies import degrees


def degree(study: Study) -> Table | None:
    """P, mPC and the share that corruptions take, by learning rate; None where no setting has two rates."""
    rows = []
    for source in sources_of(study.rates):
        for target in targets_of(study.rates):
            here = [(s, runs) for s, runs in study.rates.items() if (s.source, s.target) == (source, target)]
            for s, runs in sorted(here, key=lambda pair: (transfer_rank(pair[0].transfer), pair[0].training)):
                if len(runs) < 2:
                    continue
                found = degrees(runs)
                marked = [
                    best_of([getattr(one, name).mean for one in found], digits=2) for name in ("clean", "corrupted")
                ]
                words = (source.text, target_name(target), size_name(s.images), s.transfer, s.training)
                for n, one in enumerate(found):
                    scores = (_entry(one.clean, n in marked[0]), _entry(one.corrupted, n in marked[1]))
                    rows.append(row(*words, f"{one.rate:g}", str(one.clean.n), *scores, _entry(one.drop, False)))
    if not rows:
        return None
    head = ("source", "target", "images", "transfer", "training", "learning rate", "seeds", "P", "mPC", "1 - mPC / P")
    note = "In percent, means over seeds, in brackets the 95 % interval (t). The drop is made for each seed."
    return Table("degree", "Degree of fine-tuning (Yamada & Otani, Figure 5)", head, tuple(rows), 5, (note,))


def _entry(value: Spread, best: bool) -> Entry:
    below = "" if value.t is None else f"({percent(value.t[0], 2)} to {percent(value.t[1], 2)})"
    return Entry(percent(value.mean, 2), below, best)
