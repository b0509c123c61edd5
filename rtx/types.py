"""The few values that every room of rtx passes around."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from rtx.errors import BadValue, unknown_name

SEVERITIES = (1, 2, 3, 4, 5)

NormPolicy = Literal["eval", "train", "frozen_affine", "upstream"]
"""The mode of batch normalisation in the backbone during training; see `docs/protocol.md`, "Batch norm".

`eval`: running statistics stay as pretrained, scale and shift train where the stage trains. `train`: batch statistics
are used and the running ones move, in trainable stages only. `frozen_affine`: as `eval`, and scale and shift are
frozen everywhere. `upstream`: batch statistics in every stage, frozen ones included (the drift of Salman et al., 2020).
"""
NORM_POLICIES: tuple[str, ...] = get_args(NormPolicy)

TRANSFER_KINDS = ("fixed", "full", "full_strict", "blocks", "lpft")


THREATS = {"linf": "255ths of the pixel range", "l2": "the pixel range"}
"""Norms that bound adversarial perturbations, and the unit of their eps in conditions, commands and tables."""


@dataclass(frozen=True, order=True)
class Condition:
    """One cell of the evaluation grid: a corruption at a severity, an attack at an eps, or the clean images.

    Attributes:
        corruption: "clean", the name of a corruption or one of `THREATS`.
        severity: 0 only for "clean"; 1 to 5 for a corruption; for a threat its eps, above 0, in the unit of `THREATS`.

    Raises:
        BadValue: the severity does not go with the corruption.
    """

    corruption: str
    severity: float

    def __post_init__(self) -> None:
        """Reject severities that do not exist."""
        if self.is_attack:
            number = isinstance(self.severity, int | float) and not isinstance(self.severity, bool)
            if not number or not 0 < self.severity < math.inf:
                raise BadValue(f"eps {self.severity!r} of {self.corruption!r}: must be a number above 0")
            if self.severity == int(self.severity):
                object.__setattr__(self, "severity", int(self.severity))  # one eps, one key
            return
        allowed = (0,) if self.corruption == "clean" else SEVERITIES
        if isinstance(self.severity, bool) or self.severity not in allowed:
            text = "0" if self.corruption == "clean" else "1 to 5 (clean images are the condition 'clean')"
            raise BadValue(f"severity {self.severity!r} of corruption {self.corruption!r}: must be {text}")

    @property
    def is_attack(self) -> bool:
        """Whether the pixels are those of an attack."""
        return self.corruption in THREATS

    @property
    def key(self) -> str:
        """File-name form, e.g. `fog_3`, `linf_4`, `l2_0.5`, or `clean`."""
        return "clean" if self.corruption == "clean" else f"{self.corruption}_{self.severity}"

    @classmethod
    def from_key(cls, key: str) -> Condition:
        """Inverse of `key`.

        Example:
            >>> Condition.from_key("gaussian_noise_2")
            Condition(corruption='gaussian_noise', severity=2)
        """
        if key == "clean":
            return CLEAN
        name, _, severity = key.rpartition("_")
        if name in THREATS and re.fullmatch(r"\d+(\.\d+)?(e-\d+)?", severity):
            return cls(name, float(severity))
        if not name or not severity.isdigit():
            raise BadValue(f"condition key {key!r}: must be 'clean' or '<corruption>_<severity>'")
        return cls(name, int(severity))


CLEAN = Condition("clean", 0)


@dataclass(frozen=True)
class TransferMode:
    """Which part of the backbone trains on the target.

    Attributes:
        kind: `fixed` (nothing), `full` (the framework's default freezing), `full_strict` (everything), `blocks`, or
            `lpft` (nothing, then as `full`).
        blocks: for `blocks`, how many of the last residual blocks train; else None.
        epochs: for `lpft`, how many pass before the backbone trains; else None.
    """

    kind: str
    blocks: int | None = None
    epochs: int | None = None

    def __post_init__(self) -> None:
        """Reject unknown kinds and a block count where none belongs."""
        if self.kind not in TRANSFER_KINDS:
            raise unknown_name("transfer mode", self.kind, place="rtx.types.TRANSFER_KINDS", choices=TRANSFER_FORMS)
        if self.kind == "blocks":
            if isinstance(self.blocks, bool) or not isinstance(self.blocks, int) or self.blocks < 0:
                raise BadValue(f"transfer 'blocks:{self.blocks}': k must be a whole number, 0 or more")
        elif self.blocks is not None:
            raise BadValue(f"transfer {self.kind!r} takes no block count, got {self.blocks!r}")
        if self.kind == "lpft":
            if isinstance(self.epochs, bool) or not isinstance(self.epochs, int) or self.epochs < 1:
                raise BadValue(
                    f"transfer 'lpft:{self.epochs}': the epochs of the head must be a whole number, 1 or more"
                )
        elif self.epochs is not None:
            raise BadValue(f"transfer {self.kind!r} takes no epochs, got {self.epochs!r}")

    @classmethod
    def parse(cls, text: str) -> TransferMode:
        """Read `fixed`, `full`, `full_strict`, `blocks:k` or `lpft:EPOCHS`.

        Raises:
            UnknownName: not one of these forms.
            BadValue: `blocks:` or `lpft:` without a whole number.

        Example:
            >>> TransferMode.parse("blocks:3")
            TransferMode(kind='blocks', blocks=3, epochs=None)
        """
        kind, colon, count = text.partition(":")
        if kind == "blocks":
            if not re.fullmatch(r"\d+", count):
                raise BadValue(f"transfer {text!r}: write blocks:k with k a whole number, e.g. blocks:3")
            return cls(kind, int(count))
        if kind == "lpft":
            if not re.fullmatch(r"\d+", count):
                raise BadValue(f"transfer {text!r}: write lpft:N with N the epochs of the head alone, e.g. lpft:2")
            return cls(kind, epochs=int(count))
        if colon or kind not in TRANSFER_KINDS:
            raise unknown_name("transfer mode", text, place="rtx.types.TRANSFER_KINDS", choices=TRANSFER_FORMS)
        return cls(kind)

    def __str__(self) -> str:
        """The form that `parse` reads."""
        number = {"blocks": self.blocks, "lpft": self.epochs}.get(self.kind)
        return self.kind if number is None else f"{self.kind}:{number}"


TRANSFER_FORMS = ("fixed", "full", "full_strict", "blocks:k", "lpft:EPOCHS")
