"""Which runs may stand side by side, and what a reader must be told before comparing any."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rtx.evaluation.scores import CONTEXT_FIELDS, mixed_makers, mixed_text
from rtx.reports.naming import slug
from rtx.reports.runs import BENCHMARK_CELLS, Run
from rtx.reports.wording import dataset_name, metric_name, shortened
from rtx.types import CLEAN, Condition

# Two models differ in these by their nature; all else on the card must agree for their difference to mean anything.
_OF_THE_MODEL = frozenset({"weights_sha256", "config_sha256"})
_OF_THE_SUBSET = frozenset({"subset", "n_images", "data_sha256"})
_OPEN = ('"unknown"', "null")
SMALL = 500
TINY = 50
_WORDS = {
    "corruption_engine": "corruption engine",
    "corruption_engine_version": "engine version",
    "channel_order": "channel order",
    "corruption_seed": "corruption seed",
    "corruption_at": "where the corruption acts",
    "image_key": "what seeds an image",
    "precision": "precision",
    "limit": "subset (--limit)",
    "subset": "how the subset was drawn",
    "origin": "who evaluated",
    "unknown": "what is not stated",
    "n_images": "number of images",
    "data_sha256": "images or annotations (data hash)",
    "metric": "metric definition or scorer",
    "batching": "batching",
}


@dataclass(frozen=True)
class Banner:
    """Something a reader must see before the numbers.

    Attributes:
        level: "stop" where numbers must not be compared, "warn" where they mean less than they seem, "note" else.
        title: what is the matter, in a few words.
        text: which runs, and what to do.
        command: the command that mends it, if there is one.
    """

    level: str
    title: str
    text: str
    command: str = ""


@dataclass(frozen=True)
class Group:
    """Runs on one test set under one metric: what can share a plot.

    Attributes:
        dataset: name of the test set.
        metric: the headline metric.
        runs: in the order they were given.
        hashed: whether its file names need a hash, as another group's name has the same letters.
    """

    dataset: str
    metric: str
    runs: tuple[Run, ...]
    hashed: bool = False

    @property
    def slug(self) -> str:
        """For file names; no other group of the report has the same."""
        plain = slug(f"{self.dataset}_{self.metric}")
        if not self.hashed:
            return plain
        return f"{plain}_{hashlib.sha256(repr((self.dataset, self.metric)).encode()).hexdigest()[:8]}"

    @cached_property
    def baseline(self) -> Run:
        """What others are compared with.

        The run named so; else the first that has all cells of all images, from a standard source, under a protocol
        that another such run shares, as far as there is one, in this order of importance.
        """
        named = [run for run in self.runs if run.baseline]
        if named:
            return named[0]
        whole = [run for run in self.complete if not run.preview]

        def lack(run: Run) -> tuple[bool, bool, bool]:
            alone = not any(other is not run and not unlike(other, run) for other in whole)
            return run not in whole, run.source.eps != 0, alone

        return min(self.runs, key=lack)

    @property
    def complete(self) -> tuple[Run, ...]:
        """Runs whose grid is whole."""
        return tuple(run for run in self.runs if run.summary.complete)

    @cached_property
    def comparable(self) -> tuple[Run, ...]:
        """Complete runs that may be compared with the baseline, the baseline among them."""
        return tuple(run for run in self.complete if not unlike(self.baseline, run))

    def called(self, run: Run, most: int = 32) -> str:
        """A run's name for a figure, apart from the names of the others."""
        return shortened([other.name for other in self.runs], most)[self.runs.index(run)]

    @property
    def claimed(self) -> tuple[Run, ...]:
        """Runs that a sentence about the group may be made of: comparable ones on all images, or the baseline alone."""
        return tuple(run for run in self.comparable if not run.preview) or (self.baseline,)


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Sort runs by test set and metric, in order of first appearance.

    A name that ends with the test set only because another group holds the same name loses that ending.
    """
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        found.setdefault((run.dataset, run.metric), []).append(run)
    held = {key: {_without_set(run) for run in members} for key, members in found.items()}
    for key, members in found.items():
        elsewhere = set().union(*(names for other, names in held.items() if other != key))
        short = [name if (name := _without_set(run)) in elsewhere else run.name for run in members]
        if len(set(short)) == len(short):
            members[:] = [replace(run, name=name) for run, name in zip(members, short, strict=True)]
    groups = [Group(dataset, metric, tuple(members)) for (dataset, metric), members in found.items()]
    often = Counter(group.slug for group in groups)
    return [replace(group, hashed=often[group.slug] > 1) for group in groups]


def _without_set(run: Run) -> str:
    """A run's name without the test set at its end, where that was put behind what the run itself is called."""
    labels = run.card.get("labels") or {}
    own = str(labels.get("name") or labels.get("run") or run.folder.name)
    return run.name.removesuffix(f" {run.dataset}") if run.name.startswith(f"{own} ") else run.name


def unlike(a: Run, b: Run) -> tuple[str, ...]:
    """Fields of the protocol in which two runs differ; their numbers are not comparable unless it is empty."""
    one, two = identity(a.card), identity(b.card)
    fields = [name for name in sorted(set(one) | set(two)) if one.get(name) != two.get(name)]
    return (*(["headline metric"] if a.metric != b.metric else []), *(_WORDS.get(name, name) for name in fields))


def differing(a: Run, b: Run) -> list[tuple[str, str, str]]:
    """The same fields in words with both values; what follows from another subset is left out where that differs."""
    one, two = identity(a.card), identity(b.card)
    fields = [name for name in sorted(set(one) | set(two)) if one.get(name) != two.get(name)]
    if "limit" in fields:
        fields = [name for name in fields if name not in _OF_THE_SUBSET]
    return [(_WORDS.get(name, name), *_apart(name, one.get(name), two.get(name))) for name in fields]


def _apart(field: str, one: str | None, two: str | None) -> tuple[str, str]:
    """Two values, and of two objects only the entries in which they differ."""
    first, second = (json.loads(text or "null") for text in (one, two))
    if isinstance(first, dict) and isinstance(second, dict):
        names = sorted(name for name in set(first) | set(second) if first.get(name) != second.get(name))
        one, two = (json.dumps({name: side[name] for name in names if name in side}) for side in (first, second))
    given = ("not stated" if text is None else _short(_value(field, text)) for text in (one, two))
    return next(given), next(given)


def identity(card: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a card that must agree, as text.

    What else was scored beside the headline (`kinds`) does not touch it: the box AP of a detector with masks is
    comparable with that of one without.
    """
    plain = {name: value for name, value in card.items() if name not in CONTEXT_FIELDS | _OF_THE_MODEL}
    metric = plain.get("metric")
    if isinstance(metric, Mapping):
        plain["metric"] = {name: value for name, value in metric.items() if name != "kinds"}
    return {name: json.dumps(value, sort_keys=True, default=str) for name, value in plain.items()}


def banners(groups: Sequence[Group]) -> list[Banner]:
    """Everything that must be said over a set of runs, the gravest first."""
    found = []
    if len(groups) > 1:
        parts = [
            f"{dataset_name(g.dataset)} ({metric_name(g.metric)}): {_some([run.name for run in g.runs])}"
            for g in groups
        ]
        text = "; ".join(parts)
        found.append(Banner("note", f"{len(groups)} test sets or metrics", f"Shown apart and never compared. {text}."))
    for group in groups:
        found += _mixed(group)
        for run in group.runs:
            found += _of_run(run)
    order = ("stop", "warn", "note")
    return sorted(found, key=lambda banner: order.index(banner.level))


def _mixed(group: Group) -> list[Banner]:
    cards = [(run.name, _as_stated(run)) for run in group.runs]
    fields = sorted({name for _, card in cards for name in card})
    if len({card.get("limit") for _, card in cards}) > 1:
        fields = [name for name in fields if name not in _OF_THE_SUBSET]
    found = []
    # The line through published detectors is drawn under those that were imported.
    aside = (
        ", but for the distance from the published trend" if any(run.card.get("origin") for run in group.runs) else ""
    )
    for name in fields:
        values: dict[str, list[str]] = {}
        for run_name, card in cards:
            if name in card or "origin" not in card or name == "origin":
                values.setdefault(card.get(name, "not stated"), []).append(run_name)
        if len(values) > 1:
            parts = [f"{_short(_value(name, value))}: {_some(names)}" for value, names in values.items()]
            found.append(
                Banner(
                    "stop",
                    f"Mixed protocols: {_WORDS.get(name, name)}",
                    f"On {group.dataset}, {'; '.join(parts)}. Runs that differ in it are drawn side by side, but no "
                    f"difference between them is computed{aside}.",
                )
            )
    return found


def _as_stated(run: Run) -> dict[str, str]:
    """A card's identity; of an imported one without what it leaves open, which its own banner names."""
    card = identity(run.card)
    if "origin" not in card:
        return card
    return {name: text for name, text in card.items() if name == "limit" or (text not in _OPEN and name != "unknown")}


def _of_run(run: Run) -> list[Banner]:
    found = []
    summary = run.summary
    if run.missing:
        done = len(BENCHMARK_CELLS) - len(run.missing)
        found.append(
            Banner(
                "stop",
                f"Incomplete: {run.name}",
                f"{done} of {len(BENCHMARK_CELLS)} cells. {summary.label} is a mean over what is there, not mPC; "
                f"missing: {missing_text(run)}.",
                run.remedy(),
            )
        )
    if run.preview:
        found.append(
            Banner(
                "stop",
                f"PREVIEW: {run.name}",
                f"A subset of {run.n_images} images (--limit), not the score of {run.dataset}.",
                run.remedy(whole=True),
            )
        )
    if CLEAN in run.grid() and run.grid()[CLEAN] == 0:
        found.append(Banner("stop", f"P is 0: {run.name}", "rPC and every drop are undefined: did the model learn?"))
    if mixed := mixed_makers(run.cells.values()):
        text = (
            f"{mixed_text(mixed)}. Versions and devices are no part of a protocol's key, but may move scores a little."
        )
        found.append(Banner("warn", f"Cells made in different ways: {run.name}", text))
    flags: dict[str, int] = {}
    for cell in run.cells.values():
        for flag in cell.flags:
            flags[flag] = flags.get(flag, 0) + 1
    for flag, count in sorted(flags.items()):
        found.append(Banner("warn", f"Flagged: {run.name}", f"“{flag}” in {count} of {len(run.cells)} cells."))
    unknown = run.card.get("unknown")
    if unknown:
        origin = str(run.card.get("origin", "imported"))
        text = f"{origin[:1].upper()}{origin[1:]}; not stated there: {', '.join(map(str, unknown))}."
        found.append(Banner("note", f"Imported: {run.name}", text))
    if run.n_images is not None and run.n_images < TINY and run.intervals.of("mPC") is not None:
        text = f"{run.n_images} images: too few to trust the intervals, which are likely too narrow."
        found.append(Banner("warn", f"Tiny test set: {run.name}", text))
    if run.n_images is not None and run.n_images < SMALL and run.intervals.of("mPC") is None:
        why = f" ({run.intervals.absent})" if run.intervals.absent else ""
        text = f"{run.n_images} images and no interval{why}: differences of a few points may be chance."
        found.append(Banner("warn", f"Small test set: {run.name}", text))
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
        who = ", ".join(names) if level == "stop" else _some(names)  # a reader must be able to find the gravest
        text = f"{who}. {members[0].text}"
        if len(texts) > 1:
            text = f"{who}. The first: {members[0].text} For the others see the completeness matrix and the cards."
        result.append(Banner(level, f"{kind}: {len(members)} runs", text, commands))
    return result


def missing_text(run: Run) -> str:
    """The cells of a run without a score in words, whole corruptions and severities together, undefined ones apart."""
    parts = _in_words([c for c in run.missing if c not in run.undefined])
    if run.undefined:
        parts.append(
            f"{', '.join(_in_words(run.undefined))} (evaluated, but {metric_name(run.metric)} is undefined there)"
        )
    return ", ".join(parts)


def _in_words(cells: Sequence[Condition]) -> list[str]:
    by_name: dict[str, list[int]] = {}
    for condition in cells:
        by_name.setdefault(condition.corruption, []).append(condition.severity)
    parts = []
    for name, levels in by_name.items():
        if name == "clean":
            parts.append("the clean images")
        else:
            parts.append(name if len(levels) == 5 else f"{name} {','.join(map(str, levels))}")
    return parts


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"


def _value(field: str, text: str) -> str:
    if text == "not stated" and field == "origin":
        return "rtx"
    return "all images" if field == "limit" and text == "null" else text.strip('"')


def _short(text: str) -> str:
    return text if len(text) <= 48 else text[:45] + "..."
