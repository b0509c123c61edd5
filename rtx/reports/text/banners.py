"""Warnings above the numbers: gaps, previews, mixed protocols, small test sets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rtx.errors import some
from rtx.reports.runs.groups import Group
from rtx.reports.runs.runs import BENCHMARK_CELLS, Run
from rtx.reports.text.wording import dataset_name, metric_name
from rtx.results.cell import mixed_makers, mixed_text
from rtx.results.protocol import pixels, stated, without_subset, words
from rtx.types import CLEAN, Condition

SMALL = 500


@dataclass(frozen=True)
class Banner:
    """Something a reader must see before the numbers.

    Attributes:
        level: "stop" where numbers must not be compared, "warn" where they mean less than they seem, "note" else.
        title: what is the matter, in a few words.
        text: which runs, and what to do.
        command: the command that fixes it, if there is one.
    """

    level: str
    title: str
    text: str
    command: str = ""


def banners(groups: Sequence[Group]) -> list[Banner]:
    """Everything that must be said over a set of runs, the gravest first."""
    found = []
    if len(groups) > 1:
        parts = (
            (dataset_name(g.dataset), metric_name(g.metric), some([run.name for run in g.runs], 4)) for g in groups
        )
        text = "; ".join(f"{dataset} ({metric}): {names}" for dataset, metric, names in parts)
        found.append(Banner("note", f"{len(groups)} test sets or metrics", f"Shown apart and never compared. {text}."))
    for group in groups:
        found += _mixed(group)
        for run in group.runs:
            found += _of_run(run)
    order = ("stop", "warn", "note")
    return sorted(found, key=lambda banner: order.index(banner.level))


def _mixed(group: Group) -> list[Banner]:
    cards = [(run.name, pixels(run.card)) for run in group.runs]
    for _, card in cards:
        if "origin" in card:  # what an imported card leaves open its own banner names
            for name in [name for name, value in card.items() if "unknown" in (name, value)]:
                del card[name]
            card.setdefault("limit", None)
    fields = sorted({name for _, card in cards for name in card})
    if len({stated("limit", card.get("limit")) for _, card in cards}) > 1:
        fields = without_subset(fields)
    found = []
    # The line through published detectors is drawn under those that were imported.
    imported = any(run.card.get("origin") for run in group.runs)
    aside = ", but for the distance from the published trend" if imported else ""
    for name in fields:
        values: dict[str, list[str]] = {}
        for run_name, card in cards:
            if name in card or "origin" not in card or name == "origin":
                key = json.dumps(card.get(name), sort_keys=True, default=str)
                values.setdefault(key, []).append(run_name)
        if len(values) > 1:
            parts = [f"{stated(name, json.loads(key))}: {some(names, 4)}" for key, names in values.items()]
            text = (
                f"On {group.dataset}, {'; '.join(parts)}. Runs that differ in it are drawn side by side, but no "
                f"difference between them is computed{aside}."
            )
            found.append(Banner("stop", f"Mixed protocols: {words(name)}", text))
    return found


def _of_run(run: Run) -> list[Banner]:
    found = []

    def add(level: str, matter: str, text: str, command: str = "") -> None:
        found.append(Banner(level, f"{matter}: {run.name}", text, command))

    if run.clean_only:
        text = "Nothing but the clean images was asked for, so there is P and no mPC; corruptions are evaluated by"
        add("note", "Clean images only", f"{text} the command.", run.remedy())
    elif run.missing and not run.attacks:
        total, label = len(BENCHMARK_CELLS), run.summary.label
        text = f"{total - len(run.missing)} of {total} cells. {label} is a mean over what is there, not mPC; "
        add("stop", "Incomplete", f"{text}missing: {missing_text(run)}.", run.remedy())
    if run.preview:
        text = f"A subset of {run.n_images} images (--limit), not the score of {run.dataset}."
        add("stop", "PREVIEW", text, run.remedy(whole=True))
    if run.score(CLEAN) == 0:
        add("stop", "P is 0", "rPC and every drop are undefined: did the model learn?")
    if mixed := mixed_makers(run.cells.values()):
        rest = "Versions and devices are no part of a protocol's key, but may move scores a little."
        add("warn", "Cells made in different ways", f"{mixed_text(mixed)}. {rest}")
    flags = Counter(flag for cell in run.cells.values() for flag in cell.flags)
    for flag, count in sorted(flags.items()):
        add("warn", "Flagged", f"“{flag}” in {count} of {len(run.cells)} cells.")
    unknown = run.card.get("unknown")
    if unknown:
        origin = str(run.card.get("origin", "imported"))
        text = f"{origin[:1].upper()}{origin[1:]}; not stated there: {', '.join(map(str, unknown))}."
        add("note", "Imported", text)
    sure = run.intervals.of("P" if run.attacks else "mPC") is not None
    if sure and run.tiny:
        text = f"{run.n_images} images: too few to trust the intervals, which are likely too narrow."
        add("warn", "Tiny test set", text)
    if not sure and run.n_images is not None and run.n_images < SMALL:
        why = f" ({run.intervals.absent})" if run.intervals.absent else ""
        text = f"{run.n_images} images and no interval{why}: differences of a few points may be chance."
        add("warn", "Small test set", text)
    return found


def merged(found: Sequence[Banner], most: int = 4) -> list[Banner]:
    """Banners of one kind about many runs as one, so that twenty models do not fill the first screen."""
    kinds: dict[tuple[str, str], list[Banner]] = {}
    for banner in found:
        kinds.setdefault((banner.level, banner.title.partition(":")[0]), []).append(banner)
    result = []
    for (level, kind), members in kinds.items():
        told_once = len(members) > 1 and len({banner.text for banner in members}) == 1
        if (len(members) <= most and not told_once) or (level == "stop" and kind.startswith("Mixed")):
            result += members
            continue
        names = [banner.title.partition(": ")[2] for banner in members]
        commands = "\n".join(banner.command for banner in members if banner.command)
        texts = {banner.text for banner in members}
        who = ", ".join(names) if level == "stop" else some(names, 4)  # a reader must be able to find the gravest
        text = f"{who}. {members[0].text}"
        if len(texts) > 1:
            text = f"{who}. The first: {members[0].text} For the others see the completeness matrix and the cards."
        result.append(Banner(level, f"{kind}: {len(members)} runs", text, commands))
    return result


def missing_text(run: Run) -> str:
    """The cells of a run without a score in words, whole corruptions and severities together, undefined ones apart."""
    parts = _in_words([c for c in run.missing if c not in run.undefined])
    if run.undefined:
        why = f"evaluated, but {metric_name(run.metric)} is undefined there"
        parts.append(f"{', '.join(_in_words(run.undefined))} ({why})")
    return ", ".join(parts)


def _in_words(cells: Sequence[Condition]) -> list[str]:
    by_name: dict[str, list[float]] = {}
    for condition in cells:
        by_name.setdefault(condition.corruption, []).append(condition.severity)
    return [
        "the clean images" if name == "clean" else name if len(levels) == 5 else f"{name} {','.join(map(str, levels))}"
        for name, levels in by_name.items()
    ]
