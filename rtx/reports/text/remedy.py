"""The command that evaluates what a run lacks: the one that was typed, or one made from its card."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rtx.corruptions import ENGINES
from rtx.metrics.coco_backends import BACKENDS
from rtx.results.command import Command, read_commands
from rtx.types import SEVERITIES, Condition

WHOLE_GRID = ("--corruptions", "benchmark", "--severities", *map(str, SEVERITIES))
AGAIN = "run again what made it; finished cells are kept"
_CHOICES = {
    "corruption_seed": ("--seed", None),
    "corruption_engine": ("--engine", frozenset(ENGINES)),
    "channel_order": ("--channel-order", frozenset({"rgb", "bgr_legacy"})),
    "corruption_at": ("--corruption-at", frozenset({"original_resolution", "network_input"})),
}
"""Field of the card -> option of `rtx corrupt_eval`, and what that takes."""


def remedy(folder: Path, card: Mapping[str, Any], wanted: Iterable[Condition], *, whole: bool = False) -> str:
    """The command that evaluates cells; those that are there are kept.

    Args:
        folder: the evaluation, as it was given.
        card: its protocol card.
        wanted: what is missing; of a preview that is to become whole, every cell.
        whole: evaluate all images, into a folder beside it.

    Returns:
        A line for a shell, or what to do where there is none. `PATH/TO/` stands for a folder that nothing names.
    """
    if card.get("origin"):
        return "not in the imported file, nothing to run"
    typed = read_commands(folder)
    if typed:
        return _typed(typed[-1], folder, wanted, whole=whole)
    labels = card.get("labels") or {}
    config = labels.get("config")
    if not config or card.get("corruption_engine") not in ENGINES:
        return AGAIN
    return shlex.join(["rtx", "corrupt_eval", *_model(folder, card, str(config)), *_settings(folder, card, whole)])


def _typed(command: Command, folder: Path, wanted: Iterable[Condition], *, whole: bool) -> str:
    """The latest command that was typed for the folder; options at its end go before the same ones in its midst."""
    words = list(command.words)
    covers = set(wanted) <= set(command.conditions)
    if not any(Path(word).stem.replace("-", "_") == "corrupt_eval" for word in words[:6]):  # after a launcher's words
        if whole or not covers:
            return AGAIN
    elif whole:
        words = [*_without(words, "--limit"), "--out", str(_beside(folder.absolute()))]
    words += () if covers else WHOLE_GRID
    return f"cd {shlex.quote(command.folder)} && {shlex.join(words)}"


def _without(words: Sequence[str], option: str) -> list[str]:
    """Words without an option that takes one value; argparse takes abbreviations, too."""
    kept, skip = [], False
    for word in words:
        name, equals, _ = word.partition("=")
        if skip:
            skip = False
        elif len(name) >= 4 and option.startswith(name):
            skip = not equals
        else:
            kept.append(word)
    return kept


def _model(folder: Path, card: Mapping[str, Any], config: str) -> list[str]:
    """Config and checkpoint: those of the run folder that the evaluation lies in, else their names."""
    name = str(card["checkpoint_file"]) if card.get("checkpoint_file") else ""
    run = _plain(folder).parent
    if len(list(run.glob("*.py"))) == 1:
        if name and (run / name).is_file():
            return [str(run), str(run / name)]
        if not name and (run / "last_checkpoint").is_file():
            return [str(run)]
        return [str(run), f"PATH/TO/{name or 'CHECKPOINT'}"]
    return [f"PATH/TO/{config}.py", f"PATH/TO/{name or 'CHECKPOINT'}"]


def _settings(folder: Path, card: Mapping[str, Any], whole: bool) -> list[str]:
    """Options for all that `rtx corrupt_eval` lets one choose of the protocol, and the output folder."""
    words = ["--out", str(_beside(folder) if whole else folder)]
    for field, (option, known) in _CHOICES.items():
        value = card.get(field)
        if value is not None and (known is None or value in known):
            words += [option, str(value)]
    if card.get("limit") is not None and not whole:
        words += ["--limit", str(card["limit"])]
    precision = str(card.get("precision", ""))
    words += ["--amp"] if precision.startswith("amp") else []
    words += ["--channels-last"] if "channels_last" in precision else []
    metric = card.get("metric") or {}
    scorer = str(metric.get("coco_scorer") or metric.get("scorer_version") or "").partition(" ")[0]
    words += ["--scorer", scorer] if scorer in BACKENDS else []
    # A GPU computes in another precision (TF32), and is taken where there is one.
    return [*words, "--device", "cpu"] if card.get("device") == "cpu" else words


def _beside(folder: Path) -> Path:
    plain = _plain(folder)
    return plain.with_name(f"{plain.name}_whole")


def _plain(folder: Path) -> Path:
    """A path whose parent is its last name's parent."""
    plain = Path(os.path.normpath(folder))
    return plain if plain.name and plain.name != ".." else plain.absolute().resolve()
