"""Your numbers in the layout of the papers' tables, and beside the numbers that the papers print."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rtx.reports.figures.families import drop
from rtx.reports.groups import Group
from rtx.reports.published import PAPERS, Record, all_records
from rtx.reports.published.utrera import SOURCES
from rtx.reports.published.yamada import FAMILY_ORDER
from rtx.reports.runs import Run
from rtx.reports.tables import Entry, Table, best_of, row
from rtx.reports.wording import DASH, dataset_name, metric_name, percent, signed

# A metric of ours and the metric of a paper that mean the same thing.
_SAME_METRIC = {"AP50_07": "AP50", "AP50_area": "AP50"}


def transfer_tables(groups: Sequence[Group]) -> list[Table]:
    """Tables in the layouts of the three papers, for groups whose runs differ by source or transfer mode."""
    runs = [run for group in groups for run in group.comparable if not run.preview]
    known = [run for run in runs if run.source.text != "unknown"]
    if len({(run.source.recipe, run.transfer) for run in known}) < 2:
        return []
    found = [_salman(known), _utrera(known), *(_yamada(group) for group in groups)]
    return [table for table in found if table is not None]


def _salman(runs: Sequence[Run]) -> Table | None:
    """Table 1 of Salman et al.: mode and kind of source in rows, targets in columns, the best source of a kind."""
    targets = list(dict.fromkeys((run.dataset, run.metric, _detector(run, runs)) for run in runs))
    modes = [mode for mode in ("fixed", "full") if any(run.transfer == mode for run in runs)]
    rows = []
    for mode in modes:
        for kind in ("robust", "standard"):
            cells = []
            for target in targets:
                mine = [
                    run
                    for run in runs
                    if (run.dataset, run.metric, _detector(run, runs)) == target
                    and run.transfer == mode
                    and run.source.eps is not None
                    and (run.source.eps > 0) == (kind == "robust")
                ]
                best = max(mine, key=lambda run: run.summary.P, default=None)
                cells.append(
                    Entry(percent(best.summary.P, 2), f"({percent(best.summary.mPC, 2)}) eps {best.source.eps:g}")
                    if best
                    else Entry(DASH)
                )
            if any(cell.text != DASH for cell in cells):
                rows.append(row({"fixed": "Fixed-feature", "full": "Full-network"}[mode], kind.capitalize(), *cells))
    if not rows:
        return None
    head = ("mode", "model", *(_target(*target) for target in targets))
    notes = (
        "Clean score, mPC in brackets, of the best eps of each kind; chosen on this very test set, as in the paper.",
    )
    return Table("layout_salman", "Layout of Salman et al. (2020), Table 1", head, tuple(rows), 2, notes)


def _utrera(runs: Sequence[Run]) -> Table | None:
    """Table 7 of Utrera et al.: data in rows, sources in columns."""
    titles = {
        "in1k": "natural",
        "l2_eps3": "L2, 3",
        "linf_eps4": "Linf, 4/255",
        "linf_eps8": "Linf, 8/255",
        "random": "scratch",
    }
    columns: dict[str, dict[tuple[str, str, str, str], list[Run]]] = {}
    natural = {run.source.recipe for run in runs if run.source.eps == 0}
    for run in runs:
        # Several sources without adversary are several sources: each has its own column.
        name = "in1k" if {run.source.recipe} == natural else run.source.recipe
        key = (run.dataset, run.metric, _detector(run, runs), run.transfer)
        columns.setdefault(name, {}).setdefault(key, []).append(run)
    present = [name for name in SOURCES if name in columns] + sorted(set(columns) - set(SOURCES))
    if len(present) < 2:
        return None
    rows = []
    for key in dict.fromkeys(key for held in columns.values() for key in held):
        there = [columns[name].get(key, []) for name in present]
        values = [math.fsum(run.summary.P for run in held) / len(held) if held else None for held in there]
        best = best_of(values, digits=2)
        counts = [f"mean of {len(held)}" if len(held) > 1 else "" for held in there]
        cells = [Entry(percent(v, 2), counts[i], i in best) for i, v in enumerate(values)]
        rows.append(row(f"{_target(*key[:3])}, {key[3]}", *cells))
    head = ("data", *(titles.get(name, name) for name in present))
    notes = ("Clean score in percent; natural stands for a source trained without adversary.",)
    return Table("layout_utrera", "Layout of Utrera et al. (2021), Table 7", head, tuple(rows), 1, notes)


def _yamada(group: Group) -> Table | None:
    """Tables 1 and 2 of Yamada & Otani: sources in rows, drop by family in columns."""
    rows = []
    runs = [run for run in group.comparable if not run.preview]
    several = len({run.method for run in runs}) > 1
    for run in runs:
        cells = [percent(drop(run, family), 2) for family in FAMILY_ORDER]
        who = [run.method] if several else []
        rows.append(row(run.source.text, *who, run.transfer, *cells, percent(run.summary.drop, 2)))
    if len(runs) < 2:
        return None
    title = f"Layout of Yamada & Otani (2022), Tables 1 and 2: drop of {metric_name(group.metric)}"
    notes = (
        f"Drop in percent on {dataset_name(group.dataset)}; overall over 15 corruptions, not the mean of the families.",
    )
    head = ("source", *(["model"] if several else []), "transfer", *FAMILY_ORDER, "overall")
    return Table("layout_yamada", title, head, tuple(rows), 3 if several else 2, notes)


def _detector(run: Run, runs: Sequence[Run]) -> str:
    """The detector and backbone of a run where those of one test set and metric differ in it, else ""."""
    alike = [other for other in runs if (other.dataset, other.metric) == (run.dataset, run.metric)]
    parts = [read(run) for read in (_method, _arch) if len({read(other) for other in alike}) > 1]
    return " ".join(parts)


def _method(run: Run) -> str:
    return run.method


def _arch(run: Run) -> str:
    return run.source.arch


def _target(dataset: str, metric: str, detector: str) -> str:
    return ", ".join(part for part in (dataset_name(dataset), metric_name(metric), detector) if part)


def matching(run: Run) -> list[Record]:
    """Printed numbers with this run's test set, method and metric."""
    metric = _SAME_METRIC.get(run.metric, run.metric)
    metrics = {metric, *(m for m in run.metrics if m in ("bbox_mAP", "segm_mAP", "mIoU"))}
    return [
        record
        for record in all_records()
        if record.dataset == run.dataset and record.method == run.method and record.metric in metrics
    ]


def yours(run: Run, record: Record) -> float | None:
    """The run's own value of what a record holds, None where it has none."""
    metric = run.metric if _SAME_METRIC.get(run.metric, run.metric) == record.metric else record.metric
    summary = run.summary_of(metric)
    if record.quantity == "P":
        return summary.P
    if not summary.complete:
        return None
    if record.quantity.startswith("drop:"):
        return drop(run, record.quantity[5:]) if metric == run.metric else None
    return {"mPC": summary.mPC, "rPC": summary.rPC, "drop": summary.drop}.get(record.quantity)


def paper_against_yours(runs: Sequence[Run]) -> tuple[Table | None, tuple[str, ...]]:
    """Printed numbers beside one's own where test set, method and metric match, with what the papers leave open.

    Returns:
        The table, None where nothing matches; and the doubts that belong to the papers in it.
    """
    rows, used = [], []
    for run in runs:
        if run.preview or run.card.get("origin"):  # published runs beside themselves say nothing
            continue
        for record in _nearest(run, matching(run)):
            value = yours(run, record)
            if value is None:
                continue
            change = value - record.value
            used.append(record.paper)
            printed = Entry(percent(record.value, 2), f"± {percent(record.spread, 2)}" if record.spread else "")
            same = _alike(run, record)
            paper = f"{_short(record.paper)}, {record.place}"
            what = f"{metric_name(record.metric)} {record.quantity.replace(':', ' under ')}"
            setting = ", ".join(p for p in (record.backbone, record.source, record.transfer, record.note) if p)
            rows.append(
                (
                    same,
                    row(
                        run.name, paper, setting, what, printed, percent(value, 2), signed(change, 2), _match_word(same)
                    ),
                )
            )
    if not rows:
        return None, ()
    rows.sort(key=lambda item: -item[0])
    doubts = tuple(
        f"{_short(key)}: {'; '.join(PAPERS[key].doubts)}. {PAPERS[key].citation}, {PAPERS[key].url}"
        for key in dict.fromkeys(used)
        if PAPERS[key].doubts
    )
    head = ("model", "paper", "printed for", "number", "printed", "yours", "difference", "match")
    notes = (
        "In percent. Test set, method and metric match in every row; match says how far source and transfer do too.",
    )
    return Table("paper_against_yours", "Paper against yours", head, tuple(r for _, r in rows), 4, notes), doubts


def _nearest(run: Run, records: Sequence[Record]) -> list[Record]:
    """Of the records that hold one number of one table, those whose source and transfer are most like the run's."""
    best: dict[tuple[str, ...], int] = {}
    for record in records:
        key = (record.paper, record.place, record.metric, record.quantity)
        best[key] = max(best.get(key, 0), _alike(run, record))
    return [r for r in records if _alike(run, r) == best[r.paper, r.place, r.metric, r.quantity]]


def _alike(run: Run, record: Record) -> int:
    arch = run.source.arch == record.backbone
    mine = "in1k" if run.source.recipe.startswith("in1k") or run.source.recipe == "l2_eps0" else run.source.recipe
    return int(arch) + int(mine == record.source) + int(record.transfer == run.transfer)


def _match_word(same: int) -> str:
    return {3: "all", 2: "all but one", 1: "partly"}.get(same, "setting differs")


def _short(key: str) -> str:
    return {
        "michaelis2019": "Michaelis et al. 2019",
        "salman2020": "Salman et al. 2020",
        "utrera2021": "Utrera et al. 2021",
        "yamada2022": "Yamada & Otani 2022",
    }.get(key, key)
