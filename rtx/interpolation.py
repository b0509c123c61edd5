"""Models between two trained ones: weights (1 - alpha) A + alpha B (WiSE-FT, Wortsman et al., 2022, equation 2).

Every tensor of numbers is interpolated, running statistics of batch norms included; whole numbers (counters) are B's.
A is another training of the same model, a probe on the fixed backbone for instance, or "source": B with the backbone
that its training started from.
"""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor

from rtx import config as configs
from rtx.backbones.base import SourceBackbone
from rtx.errors import BadValue, RunConflict, WeightsError, WeightsMismatch
from rtx.evaluation.models.load import check_classes, differences, load_model, shapes_of, trained_classes
from rtx.files import write_atomic
from rtx.results.folder import LAST_CHECKPOINT, last_checkpoint, run_config
from rtx.sources.reading.read import read_checkpoint
from rtx.transfer.guard import fingerprint

log = logging.getLogger(__name__)

SOURCE = "source"
FILE = "interpolated.pth"
MOST = 101


@dataclass(frozen=True)
class End:
    """One of the two models.

    Attributes:
        config: it was trained with.
        state: its tensors, as its model names them.
        classes: that it was trained on; empty for unknown.
        name: for messages and the card.
    """

    config: Config
    state: Mapping[str, Tensor]
    classes: tuple[str, ...]
    name: str

    @property
    def digest(self) -> str:
        """Sha256 over names and bytes of the tensors."""
        text = "".join(f"{name} {fingerprint(value)}\n" for name, value in sorted(self.state.items()))
        return hashlib.sha256(text.encode()).hexdigest()


def parse_alphas(text: str) -> tuple[float, ...]:
    """Read `START:STOP:STEP`, both ends included, or numbers with commas between them.

    Raises:
        BadValue: no such form, a number outside 0 to 1, or more than 101 of them.

    Example:
        >>> parse_alphas("0:1:0.25"), parse_alphas("0.5,0.9")
        ((0.0, 0.25, 0.5, 0.75, 1.0), (0.5, 0.9))
    """
    try:
        numbers = [float(word) for word in text.replace(",", ":").split(":")]
    except ValueError:
        numbers = []
    if ":" in text and numbers:
        start, stop, step = numbers if len(numbers) == 3 and "," not in text else (math.nan,) * 3
        count = (stop - start) / step if step > 0 else math.nan
        numbers = [] if not 0 <= count < MOST else [round(start + n * step, 10) for n in range(int(count + 1e-9) + 1)]
    if not numbers or len(numbers) > MOST or not all(0 <= number <= 1 for number in numbers):
        raise BadValue(
            f"--alpha {text}: must be START:STOP:STEP or numbers with commas, between 0 and 1 and at most {MOST}, "
            "e.g. 0:1:0.1"
        )
    return tuple(sorted(set(numbers)))


def read_end(place: str) -> End:
    """A trained model, from its run folder or a checkpoint in it.

    Raises:
        BadValue: no such folder, or one without config or checkpoint.
        WeightsError, WeightsMismatch: see `rtx.evaluation.models.load.load_model`.
    """
    path = Path(place)
    folder = path if path.is_dir() else path.parent
    checkpoint = last_checkpoint(folder) if path.is_dir() else path
    if not path.exists() or checkpoint is None:
        raise BadValue(
            f"{place!r}: no run folder with a checkpoint, and no checkpoint in one; give what rtx train wrote"
        )
    model = load_model(cfg := configs.load(run_config(folder)), checkpoint)
    classes = trained_classes((read_checkpoint(checkpoint) or {}).get("meta"))
    return End(cfg, model.state_dict(), classes, path.resolve().name)


def source_end(trained: End) -> End:
    """A trained model with the backbone that its training started from.

    Raises:
        BadValue: it has no backbone of rtx with a source.
        WeightsError: the source's file is missing or does not fit.
    """
    cfg = trained.config
    backbone = cfg.model.get("backbone") or {}
    if backbone.get("source") in (None, "random"):
        raise BadValue(
            f"{SOURCE}: the backbone of {trained.name} started from {backbone.get('source') or 'no source of rtx'}; "
            "name another run as A"
        )
    init_default_scope(cfg.get("default_scope", "mmdet"))
    built = MODELS.build(dict(backbone))
    assert isinstance(built, SourceBackbone)
    built.init_weights()
    own = {f"backbone.{name}": value for name, value in built.state_dict().items()}
    if lacking := set(own) - set(trained.state):
        raise BadValue(f"{SOURCE}: {trained.name} has no {min(lacking)}; its backbone lies elsewhere in the model")
    return End(cfg, {**trained.state, **own}, trained.classes, SOURCE)


def check_ends(a: End, b: End) -> None:
    """Refuse two models that are not the same network for the same pixels and classes.

    Raises:
        WeightsMismatch: a key or shape differs.
        BadValue: other classes, other statistics of the pixels, or the same weights twice.
    """
    if faults := differences(shapes_of(b.state), shapes_of(a.state)):
        raise WeightsMismatch(f"{a.name} is another network than {b.name}: {'; '.join(faults)}; give two of one config")
    check_classes(a.classes, b.classes, a.name)
    for name in ("mean", "std", "bgr_to_rgb", "to_rgb"):
        first, second = (_preprocessor(end.config).get(name) for end in (a, b))
        if first != second:
            raise BadValue(f"{a.name} was trained with {name} {first} of the pixels and {b.name} with {second}")
    if all(torch.equal(value, b.state[name]) for name, value in a.state.items()):
        raise BadValue(f"{a.name} and {b.name} have the same weights: there is nothing between them")


def between(a: Mapping[str, Tensor], b: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """The tensors (1 - alpha) A + alpha B, exactly A's and B's at the ends."""
    if alpha in (0, 1):
        return dict(a if alpha == 0 else b)
    return {
        name: torch.lerp(a[name].double(), value.double(), alpha).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in b.items()
    }


def interpolate(a: End, b: End, alphas: Sequence[float], out: Path) -> Iterator[Path]:
    """Write a run folder for each alpha, which every command takes that takes a run; one that is there is kept.

    Raises:
        RunConflict: a folder holds something else.
    """
    ends = {"a": a.name, "b": b.name, "a_sha256": a.digest, "b_sha256": b.digest}
    for alpha in alphas:
        card = {**ends, "alpha": alpha}
        folder = out / f"alpha_{alpha:g}"
        if folder.is_dir() and any(folder.iterdir()):
            there = _written(folder)
            if there != card:
                raise RunConflict(f"{str(folder)!r} holds something else; give another --out, or remove the folder")
        else:
            _write(folder, b, between(a.state, b.state, alpha), card)
        yield folder


def _write(folder: Path, b: End, state: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    staged = folder.with_name(f".{folder.name}")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    cfg = Config(dict(b.config.to_dict(), rtx_interpolation=dict(card), work_dir=str(folder), load_from=None))
    cfg.dump(str(staged / "interpolated.py"))
    meta = {"dataset_meta": {"classes": b.classes}} if b.classes else {}
    torch.save({"state_dict": dict(state), "meta": meta}, staged / FILE)
    write_atomic(staged / LAST_CHECKPOINT, str((folder / FILE).resolve()))
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.is_dir():
        folder.rmdir()
    staged.replace(folder)


def _written(folder: Path) -> dict[str, Any] | None:
    """What a folder was made of; None where it is none of ours."""
    try:
        card = configs.load(run_config(folder)).get("rtx_interpolation")
        return dict(card) if card and (folder / FILE).is_file() else None
    except (BadValue, WeightsError):
        return None


def _preprocessor(cfg: Config) -> Mapping[str, Any]:
    return cfg.model.get("data_preprocessor") or cfg.get("data_preprocessor") or {}
