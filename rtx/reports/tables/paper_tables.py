"""Your numbers in the layout of the papers' tables, and beside the numbers that the papers print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rtx.datasets.classification import TARGETS
from rtx.reports.figures.families import drop
from rtx.reports.published import OURS, PAPERS, Record, all_records, departures, published_metric
from rtx.reports.published.utrera import SOURCES
from rtx.reports.published.yamada import FAMILY_ORDER
from rtx.reports.runs.groups import Group
from rtx.reports.runs.models import (
    Model,
    mean_of,
    mode_of,
    mode_titles,
    model_of,
    model_titles,
    radius,
    repeats,
    source_key,
    source_titles,
)
from rtx.reports.runs.naming import label
from rtx.reports.runs.runs import Run
from rtx.reports.tables.table import Entry, Table, best_of, row
from rtx.reports.text.wording import DASH, dataset_name, metric_name, percent, signed

_ACCURACY = frozenset({"accuracy_top1", "mean_class_accuracy"})
# Notes of records that say nothing of how the model was trained on its target; any other is a difference.
_BEST = "best of several eps"
_NOT_OF_TRAINING = {"", _BEST, f"{_BEST}, chosen on the test set", "PRIME source, standard fine-tuning"}

_SHORT = {
    "michaelis2019": "Michaelis et al. 2019",
    "salman2020": "Salman et al. 2020",
    "utrera2021": "Utrera et al. 2021",
    "yamada2022": "Yamada & Otani 2022",
}
# Papers of one recipe each.
_RECIPES = {"salman2020": "salman", "utrera2021": "utrera"}
_MATCH = {4: "all", 3: "all but one", 2: "partly"}
_Target = tuple[str, str, Model]


def transfer_tables(groups: Sequence[Group]) -> list[Table]:
    """Tables in the layouts of the three papers, for groups whose runs differ by source or transfer mode."""
    runs = [run for group in groups for run in group.cleanly_comparable if not run.preview]
    known = [run for run in runs if run.source.text != "unknown"]
    if len({(run.source.recipe, run.transfer) for run in known}) < 2:
        return []
    found = [_salman(known), _utrera(known), *(_yamada(group) for group in groups)]
    return [table for table in found if table is not None]


def _salman(runs: Sequence[Run]) -> Table | None:
    """Table 1 of Salman et al.: mode and kind of source in rows, targets in columns, the best source of a kind."""
    targets = _targets(runs)
    modes = {key: title for key, title in mode_titles(runs).items() if key[0] in ("fixed", "full")}
    rows = []
    held: dict[tuple[tuple[str, str], bool, _Target], list[Run]] = {}
    for run in runs:
        if run.source.eps is not None:
            held.setdefault((mode_of(run), run.source.eps > 0, _target(run)), []).append(run)
    for mode, mode_title in sorted(modes.items()):
        for robust in (True, False):
            cells = [_best_setup(held.get((mode, robust, target), ())) for target in targets]
            if any(cell.text != DASH for cell in cells):
                word = mode_title.replace("fixed", "Fixed-feature", 1).replace("full", "Full-network", 1)
                rows.append(row(word, "Robust" if robust else "Standard", *cells))
    if not rows:
        return None
    head = ("mode", "model", *targets.values())
    note = "Clean score, mPC in brackets, of the best eps of each kind; chosen on this very test set, as in the paper."
    return Table("layout_salman", "Layout of Salman et al. (2020), Table 1", head, tuple(rows), 2, (note,))


def _target(run: Run) -> _Target:
    return run.dataset, run.metric, model_of(run)


def _targets(runs: Sequence[Run]) -> dict[_Target, str]:
    """Test set, metric and model of the runs, with what a table calls them."""
    found = {}
    for dataset, metric in dict.fromkeys((run.dataset, run.metric) for run in runs):
        names = model_titles([run for run in runs if (run.dataset, run.metric) == (dataset, metric)])
        for model, name in names.items():
            parts = (dataset_name(dataset), metric_name(metric), name)
            found[dataset, metric, model] = ", ".join(part for part in parts if part)
    return found


def _best_setup(runs: Sequence[Run]) -> Entry:
    """The source with the highest clean score; repeats of one experiment count as their mean."""
    setups = repeats(runs)
    if not setups:
        return Entry(DASH)
    best = max(setups, key=lambda held: mean_of(held, "P"))
    value = percent(mean_of(best, "P"), 2)
    alike = sum(percent(mean_of(held, "P"), 2) == value for held in setups) - 1
    eps = radius(best[0])
    if len({source_key(run) for run in runs if radius(run) == eps}) > 1:
        eps = source_titles(runs)[source_key(best[0])]
    eps += f", mean of {len(best)}" if len(best) > 1 else ""
    eps += f", as clean as {alike} more" if alike else ""
    mean = mean_of(best, "mPC")
    return Entry(value, eps if math.isnan(mean) else f"({percent(mean, 2)}) {eps}")


def _utrera(runs: Sequence[Run]) -> Table | None:
    """Table 7 of Utrera et al.: data in rows, sources in columns."""
    titles = dict(zip(SOURCES, ("natural", "L2, 3", "Linf, 4/255", "Linf, 8/255", "scratch"), strict=True))
    targets, modes = _targets(runs), mode_titles(runs)
    columns: dict[str, dict[tuple[_Target, tuple[str, str]], list[Run]]] = {}
    natural = {source_key(run) for run in runs if run.source.eps == 0}
    for run in runs:
        # Several sources without adversary are several sources: each has its own column.
        name = "in1k" if {source_key(run)} == natural else source_key(run)
        columns.setdefault(name, {}).setdefault((_target(run), mode_of(run)), []).append(run)
    present = [name for name in SOURCES if name in columns] + sorted(set(columns) - set(SOURCES))
    if len(present) < 2:
        return None
    rows = []
    for target, mode in dict.fromkeys(key for held in columns.values() for key in held):
        there = [repeats(columns[name].get((target, mode), [])) for name in present]
        values = [mean_of(held[0], "P") if len(held) == 1 else None for held in there]
        best = best_of(values, digits=2)
        cells = [_repeated(held, index in best) for index, held in enumerate(there)]
        rows.append(row(f"{targets[target]}, {modes[mode]}", *cells))
    head = ("data", *({**source_titles(runs), **titles}.get(name, name) for name in present))
    notes = ("Clean score in percent; natural stands for a source trained without adversary.",)
    return Table("layout_utrera", "Layout of Utrera et al. (2021), Table 7", head, tuple(rows), 1, notes)


def _repeated(held: Sequence[Sequence[Run]], best: bool) -> Entry:
    """The mean of repeats of one experiment; unlike experiments side by side."""
    counts = [len(runs) for runs in held]
    below = f"mean of {counts[0]}" if len(held) == 1 and counts[0] > 1 else ""
    if len(held) > 1:
        below = f"unlike setups of {' and '.join(map(str, counts))} runs, not averaged"
    return Entry(", ".join(percent(mean_of(runs, "P"), 2) for runs in held) or DASH, below, best)


def _yamada(group: Group) -> Table | None:
    """Tables 1 and 2 of Yamada & Otani: sources in rows, drop by family in columns."""
    runs = [run for run in group.comparable if not run.preview]
    if len(runs) < 2:
        return None
    models, sources, modes = model_titles(runs), source_titles(runs), mode_titles(runs)
    several = len(models) > 1
    plain = len({run.source.text for run in runs}) == len({(source_key(run), run.source.arch) for run in runs})
    rows = []
    for run in runs:
        cells = [percent(drop(run, family), 2) for family in FAMILY_ORDER]
        who = [models[model_of(run)]] if several else []
        source = run.source.text if plain else sources[source_key(run)]
        rows.append(row(source, *who, modes[mode_of(run)], *cells, percent(run.summary.drop, 2)))
    title = f"Layout of Yamada & Otani (2022), Tables 1 and 2: drop of {metric_name(group.metric)}"
    note = (
        f"Drop in percent on {dataset_name(group.dataset)}; overall over 15 corruptions, not the mean of the families."
    )
    head = ("source", *(["model"] if several else []), "transfer", *FAMILY_ORDER, "overall")
    return Table("layout_yamada", title, head, tuple(rows), 3 if several else 2, (note,))


def matching(run: Run) -> list[Record]:
    """Printed numbers with this run's test set, method and metric; of a classifier, its architecture is the method."""
    metrics = {published_metric(metric) for metric in run.metrics}
    found = [record for record in all_records() if record.dataset == run.dataset and record.metric in metrics]
    if run.metric not in _ACCURACY:
        return [record for record in found if record.method == run.method]
    found = [record for record in found if record.method == "classifier" and record.backbone == run.source.arch]
    found = [record for record in found if _as_many_images(run, record)]
    # Of other sources only what their authors call the best of several is worth a look.
    return [r for r in found if _source_like(run, r) or r.source == run.source.recipe or r.note.startswith(_BEST)]


def _as_many_images(run: Run, record: Record) -> bool:
    """Whether a record is of a training set of the run's size, or that size is not on its card."""
    target = run.card.get("target")
    if not isinstance(target, Mapping):
        return True
    images, row = target.get("images"), TARGETS.get(str(target.get("target")))
    return record.images == (None if row is not None and images == row.train else images)


def yours(run: Run, record: Record) -> float | None:
    """The run's own value of what a record holds, None where it has none."""
    metric = OURS.get(record.metric, record.metric)
    if metric not in run.metrics:
        return None
    summary = run.summary_of(metric)
    if record.quantity == "P":
        return summary.P
    if not summary.complete:
        return None
    if record.quantity.startswith("drop:"):
        return drop(run, record.quantity[5:]) if metric == run.metric else None
    known = record.quantity in ("mPC", "rPC", "drop")
    value: float | None = getattr(summary, record.quantity) if known else None
    return value


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
            if value is None or not math.isfinite(value):
                continue
            used.append(record.paper)
            other = departures(run.card, record.dataset, run.n_images, corrupted=record.quantity != "P")
            same = -1 if other else _unlike(run, record).count(False)
            match = f"not compared: {', '.join(other)}" if other else _MATCH.get(same, "setting differs")
            change = DASH if other else signed(value - record.value, 2)
            printed = Entry(percent(record.value, 2), f"± {percent(record.spread, 2)}" if record.spread else "")
            paper = f"{_SHORT.get(record.paper, record.paper)}, {record.place}"
            name = metric_name(OURS.get(record.metric, record.metric))
            what = f"{name} {record.quantity.replace(':', ' under ')}"
            parts = (record.backbone, record.source, record.transfer, record.schedule, record.note)
            setting = ", ".join(part for part in parts if part)
            rows.append((same, row(run.name, paper, setting, what, printed, percent(value, 2), change, match)))
    if not rows:
        return None, ()
    rows.sort(key=lambda item: -item[0])
    doubts = tuple(
        f"{_SHORT.get(key, key)}: {'; '.join(PAPERS[key].doubts)}. {PAPERS[key].citation}, {PAPERS[key].url}"
        for key in dict.fromkeys(used)
        if PAPERS[key].doubts
    )
    head = ("model", "paper", "printed for", "number", "printed", "yours", "difference", "match")
    note = (
        "In percent. Test set, method and metric match in every row; match says how far backbone, source, transfer and "
        "training do too."
    )
    return Table("paper_against_yours", "Paper against yours", head, tuple(r for _, r in rows), 4, (note,)), doubts


def _nearest(run: Run, records: Sequence[Record]) -> list[Record]:
    """Of the records that hold one number of one table, those that are most like the run, above all in the backbone."""

    def far(record: Record) -> tuple[int, tuple[bool, ...], bool]:
        unlike = _unlike(run, record)
        # A standard source of another kind is still nearer to a standard one than to any robust one.
        return unlike.count(True), unlike, run.source.eps == 0 and record.source != "in1k"

    best: dict[tuple[str, ...], tuple[int, tuple[bool, ...], bool]] = {}
    for record in records:
        key = (record.paper, record.place, record.metric, record.quantity)
        best[key] = min(best.get(key, far(record)), far(record))
    return [r for r in records if far(r) == best[r.paper, r.place, r.metric, r.quantity]]


def _unlike(run: Run, record: Record) -> tuple[bool, ...]:
    """Whether a run is not known to be like what a record is of: in backbone, source, transfer and training."""
    schedule = label(run.card, "schedule")
    trained = record.note in _NOT_OF_TRAINING or record.note == label(run.card, "training")
    if schedule and record.schedule and record.schedule not in schedule.split():
        trained = False
    recipe = (run.card.get("target") or {}).get("recipe")
    trained = trained and (recipe is None or _RECIPES.get(record.paper, recipe) == recipe)
    like = (run.source.arch == record.backbone, _source_like(run, record), record.transfer == run.transfer, trained)
    return tuple(not same for same in like)


def _source_like(run: Run, record: Record) -> bool:
    # The standard source of Salman et al. is their own eps 0, that of the others torchvision's first.
    standard = {"l2_eps0"} if record.paper == "salman2020" else {"in1k", "in1k_v1"}
    mine = "in1k" if run.source.recipe in standard and record.source == "in1k" else run.source.recipe
    if record.paper == "utrera2021" and run.source.eps:  # theirs are those of the robustness library
        mine = mine.removeprefix("madry_") if mine.startswith("madry_") else ""
    return record.source == mine
