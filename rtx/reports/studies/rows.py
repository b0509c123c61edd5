"""Tidy tables (CSV) of many trainings or probes, read into one row for each source, setting and seed."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rtx.datasets.classification import MEAN_PER_CLASS, TARGETS
from rtx.errors import BadValue
from rtx.reports.runs.naming import SourceName, source_of
from rtx.results.over_seeds import Scores
from rtx.types import THREATS

EPOCH = "score.epoch."
CELL = "score.cell."
GRID = ("state", "set.source", "set.target", "score.accuracy", "score.mean_per_class", "score.images")
"""Of a grid of probes, `rtx.probe.unit:probe`."""
PROBE = ("source", "target", "head", "images", "seed", "accuracy", "mean_per_class")
_TRAINING = (
    "lr", "epochs", "norm", "subset_rule", "caltech_split", "head_init", "normalise", "lr_drops", "image_size",
    "adversarial", "threat", "eps", "attack_steps",
)  # fmt: skip
PART = "part of the data"
"""In the words of a training: it is never compared with one on all of them."""
OWN_HEAD = "own_head"
"""In the place of a transfer mode: nothing was trained, the source's own classifier was tested."""
# Of a probe, with what goes without saying.
_PROBING = {
    "normalise": "imagenet", "image_size": "224", "subset_rule": "stratified", "head_init": "default",
    "caltech_split": "first",
}  # fmt: skip
EXPERIMENT = ("experiment", "state", "source", "transfer", "target", "score.P")


@dataclass(frozen=True)
class Setting:
    """What is the same for all seeds of a row.

    Attributes:
        source: of the weights.
        transfer: `fixed`, `full` or `blocks:k`; `own_head` where nothing was trained.
        target: the data set.
        images: size of the training subset; None for all.
        view: of the images, see `rtx.datasets.views`; "" for none.
        training: what trained it: a recipe with what was set otherwise, or the head of a probe.
        partial: the data are a part of the published set, so that no published number compares.
    """

    source: SourceName
    transfer: str
    target: str
    images: int | None
    view: str = ""
    training: str = ""
    partial: bool = False

    @property
    def metric(self) -> str:
        """The metric of the target."""
        return "mean per class" if TARGETS[self.target].metric == MEAN_PER_CLASS else "top-1"


@dataclass(frozen=True)
class Study:
    """All rows.

    Attributes:
        scores: setting -> seed -> score on the test set, a fraction.
        epochs: setting -> seed -> epoch -> score, where they are known.
        selected_on_test: probes whose weight decay was chosen on the test set.
        rates: setting without its learning rate -> learning rate -> seed -> (P, mPC), of trainings that were tested
            under corruption and whose learning rate is written down.
        attacks: setting -> key of an attacked condition -> seed -> score.
    """

    scores: Mapping[Setting, Scores]
    epochs: Mapping[Setting, Mapping[int, Mapping[int, float]]] = field(default_factory=dict)
    selected_on_test: bool = False
    rates: Mapping[Setting, Mapping[float, Mapping[int, tuple[float, float]]]] = field(default_factory=dict)
    attacks: Mapping[Setting, Mapping[str, Scores]] = field(default_factory=dict)

    def part(self, **wanted: object) -> dict[Setting, Scores]:
        """The settings with these values.

        Example:
            >>> setting = Setting(source_of({"source": "resnet50_l2_eps3"}), "fixed", "pets", None)
            >>> len(Study({setting: {0: 0.5}}).part(transfer="fixed", images=None))
            1
        """
        return {
            setting: scores
            for setting, scores in self.scores.items()
            if all(getattr(setting, name) == value for name, value in wanted.items())
        }

    def values(self, name: str) -> list[object]:
        """The different values of a field, in the order in which they come."""
        return list(dict.fromkeys(getattr(setting, name) for setting in self.scores))


def read_study(paths: Sequence[Path]) -> Study:
    """Read CSV files of `rtx experiments collect` and of `rtx probe`, in any mixture.

    Rows that are not done, and those of other tasks than classification, are left out.

    Raises:
        BadValue: a file is missing or has other columns, a score is no fraction, one setting and seed comes twice with
            different scores, or nothing is left.
    """
    scores: dict[Setting, dict[int, float]] = {}
    epochs: dict[Setting, dict[int, Mapping[int, float]]] = {}
    rates: dict[Setting, dict[float, dict[int, tuple[float, float]]]] = {}
    attacks: dict[Setting, dict[str, dict[int, float]]] = {}
    on_test = False
    for path in paths:
        for line, row in _lines(path):
            found = _probed(row) if "head" in row else _from_grid(row) if "set.source" in row else _trained(row)
            if found is None:
                continue
            setting, seed, score, curve = found
            if not 0 <= score <= 1:
                raise BadValue(f"{path}, line {line}: score {score} is no fraction of 1")
            known = scores.setdefault(setting, {})
            if known.setdefault(seed, score) != score:
                raise BadValue(
                    f"{path}, line {line}: {setting.source.text} on {setting.target} with seed {seed} is there twice, "
                    f"{known[seed]} and {score}; give one file of each experiment"
                )
            if row.get("lr") and row.get("score.mPC"):
                plain = replace(setting, training=_training({**row, "lr": ""}))
                rates.setdefault(plain, {}).setdefault(_number(row["lr"]), {})[seed] = score, _number(row["score.mPC"])
            for name, value in row.items():
                if value and name.startswith(CELL) and name.removeprefix(CELL).partition("_")[0] in THREATS:
                    cells = attacks.setdefault(setting, {}).setdefault(name.removeprefix(CELL), {})
                    cells[seed] = _number(value)
            if curve:
                epochs.setdefault(setting, {})[seed] = curve
            on_test |= "test" in (row.get("selected_on"), row.get("score.selected_on"))
    if not scores:
        raise BadValue(f"{', '.join(map(str, paths)) or 'no file'}: no finished training or probe of a target")
    return Study(scores, epochs, on_test, rates, attacks)


def _lines(path: Path) -> Iterable[tuple[int, Mapping[str, str]]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            names = set(table.fieldnames or ())
            if not any(names.issuperset(known) for known in (PROBE, EXPERIMENT, GRID)):
                raise BadValue(
                    f"{path}: lacks the columns of `rtx probe` ({', '.join(PROBE)}) and those of a study by "
                    f"`rtx experiments collect` ({', '.join(EXPERIMENT)}; of probes {', '.join(GRID)})"
                )
            yield from enumerate(table, 2)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadValue(f"{path}: cannot be read as CSV ({error})") from error


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _source(words: str) -> SourceName:
    """A source under the words that it was given by: files of two folders, and random weights of two sizes, differ."""
    return replace(source_of({"source": words}), text=words)


Found = tuple[Setting, int, float, dict[int, float]]


def _trained(row: Mapping[str, str]) -> Found | None:
    if row.get("state") != "done" or not row.get("score.P") or row.get("target") not in TARGETS:
        return None
    images = row.get("images") or ""
    partial = row.get("subset") == "True"
    curve = {
        int(name.removeprefix(EPOCH)): float(value) for name, value in row.items() if name.startswith(EPOCH) and value
    }
    source = _source(row["source"])
    size = int(images) if images else None
    setting = Setting(source, row["transfer"], row["target"], size, row.get("view") or "", _training(row), partial)
    return setting, int(row["seed"]), _number(row["score.P"]), curve


def _training(row: Mapping[str, str]) -> str:
    if row["transfer"] == OWN_HEAD:
        return "ImageNet's own head"
    how = [f"{name.replace('_', ' ')} {row[name]}" for name in _TRAINING if row.get(name)]
    part = [PART] if row.get("subset") == "True" else []
    options = [row["options"]] if row.get("options") else []
    return ", ".join([row.get("recipe") or "salman", *how, *options, *part])


def _probed(row: Mapping[str, str]) -> Found | None:
    target = row["target"]
    if target not in TARGETS:
        return None
    by_class = TARGETS[target].metric == MEAN_PER_CLASS
    images = int(row["images"])
    published = TARGETS[target].train
    size = None if images == published or row.get("whole") == "True" else images
    partial = size is None and published not in (None, images)
    source = _source(row["source"])
    usual = {"preprocessing": "utrera" if row["head"] == "utrera" else "salman", **_PROBING}
    how = [f"{n.replace('_', ' ')} {row[n]}" for n, value in usual.items() if row.get(n) not in (None, "", value)]
    partial = partial or row.get("subset") == "True"
    training = ", ".join(["probe", row["head"], *how, *([PART] if partial else [])])
    setting = Setting(source, "fixed", target, size, row.get("view") or "", training, partial)
    return setting, int(row["seed"]), _number(row["mean_per_class" if by_class else "accuracy"]), {}


def _from_grid(row: Mapping[str, str]) -> Found | None:
    """A row of a grid of probes, in the columns of `rtx probe`."""
    if row.get("state") != "done":
        return None
    scores = {name: row[f"score.{name}"] for name in ("accuracy", "mean_per_class", "images")}
    names = ("source", "target", "view", "preprocessing", "subset", *_PROBING)
    asked = {name: row.get(f"set.{name}") or "" for name in names}
    asked |= {"seed": row["seed"], "head": row.get("set.head") or "logistic"}
    return _probed({**asked, **scores, "whole": str(row.get("set.images") == "all")})
