"""Arguments of `--model`: a model of another library, and which of its classes are which of the data."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from rtx.errors import BadValue

_OF_CONFIGS = ("source", "transfer", "norm", "cfg_options")
_OF_MODELS = ("weights", "annotations", "classes", "model_classes", "class_map", "task")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--model` and what goes with it."""
    group = parser.add_argument_group("a model of another library", "instead of CONFIG and CHECKPOINT")
    group.add_argument(
        "--model", metavar="LIBRARY:WHAT", help="torchvision:NAME, transformers:FOLDER, libreyolo:FILE ..."
    )
    group.add_argument("--weights", metavar="FILE", help="its weights, where LIBRARY:WHAT does not name them")
    group.add_argument(
        "--annotations", metavar="FILE", help="a COCO annotation file; --data-root then holds the images"
    )
    group.add_argument("--classes", nargs="+", metavar="NAME", help="classes of the data that count; default: all")
    group.add_argument(
        "--model-classes",
        nargs="+",
        metavar="NAME",
        help="the model's own classes in the order of its labels, or a file with one a line; default: the library's",
    )
    group.add_argument(
        "--class-map", nargs="+", metavar="MODEL=DATA", help="classes that model and data call differently"
    )
    group.add_argument(
        "--task", metavar="WHAT", help="boxes, maps or classes, where data and model can do several; default: the first"
    )


def check_model_arguments(args: argparse.Namespace) -> None:
    """Refuse arguments that would be ignored.

    Raises:
        BadValue: arguments of configs beside `--model`, its own without it, or no data for it.
    """

    def given(names: Sequence[str]) -> str:
        return ", ".join(f"--{name.replace('_', '-')}" for name in names if getattr(args, name) is not None)

    if args.model is None:
        if extra := given(_OF_MODELS):
            raise BadValue(f"{extra}: only with --model LIBRARY:WHAT; a config names classes and data itself")
        return
    if args.config is not None:
        raise BadValue(f"--model {args.model} beside {args.config}: give one of them (weights go behind --weights)")
    if extra := given(_OF_CONFIGS):
        raise BadValue(f"--model {args.model}: {extra} change a config of OpenMMLab; leave them away")
    if args.data_root is None:
        raise BadValue(f"--model {args.model}: give --data-root DIR, the data that it is evaluated on")


def class_map(pairs: Sequence[str] | None) -> dict[str, str]:
    """The pairs of `--class-map`.

    Raises:
        BadValue: one is none.

    Example:
        >>> class_map(["couch=sofa", "tv=tv monitor"])
        {'couch': 'sofa', 'tv': 'tv monitor'}
    """
    found = {}
    for pair in pairs or ():
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs):
            raise BadValue(f"--class-map {pair!r}: write MODEL=DATA, e.g. couch=sofa")
        found[ours] = theirs
    return found


def class_names(words: Sequence[str] | None) -> tuple[str, ...]:
    """The names of `--model-classes`: the words, or the lines of the file that a single one names.

    Raises:
        BadValue: the file cannot be read.
    """
    if not words or len(words) > 1 or not Path(words[0]).is_file():
        return tuple(words or ())
    try:
        text = Path(words[0]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadValue(f"--model-classes {words[0]}: cannot be read ({error}); write one name a line") from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def model_label(model: str, weights: str | None) -> str:
    """A short name for tables and folders: the model's, and the file of its weights.

    Of a config that lies beside its weights the folder tells it from others, the file does not.

    Example:
        >>> model_label("torchvision:resnet50", "runs/best.pth"), model_label("transformers:models/detr/", None)
        ('resnet50_best', 'detr')
        >>> model_label("detectron2:runs/r50_eps3/config.yaml", "runs/r50_eps3/model_final.pth")
        'r50_eps3_model_final'
    """
    what = model.partition(":")[2]
    beside = bool(weights) and Path(what).parent == Path(weights or "").parent
    name = (Path(what).parent.name if beside else Path(what).name) if "/" in what else what
    parts = [name, *([Path(weights).stem] if weights else [])]
    return re.sub(r"[^\w.@-]+", "_", "_".join(parts)).strip("._") or "model"
