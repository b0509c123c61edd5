"""An attack and its eps in words, for tables and pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtx.types import Condition


def eps_text(key: str) -> str:
    """The eps of an attacked condition, by its key, as papers write it.

    Example:
        >>> eps_text("linf_4"), eps_text("l2_0.5")
        ('Linf 4/255', 'L2 0.5')
    """
    condition = Condition.from_key(key)
    return (
        f"{condition.corruption.capitalize()} {condition.severity:g}{'/255' if condition.corruption == 'linf' else ''}"
    )


def attack_text(attack: Mapping[str, Any]) -> str:
    """An attack as its card states it, in one line.

    Example:
        >>> attack_text({"method": "pgd", "steps": 20, "step": 2.5, "restarts": 1, "losses": ["ce"], "momentum": 0.0})
        'PGD-20 on ce, step 2.5 eps/20'
    """
    if attack["method"] == "autoattack":
        return ", ".join([f"AutoAttack, standard version ({attack['package']})", *_after(attack)])
    steps = attack["steps"]
    parts = [f"{attack['method'].upper()}-{steps} on {', '.join(attack['losses'])}"]
    if attack.get("step"):
        parts.append(f"step {attack['step']:g} eps/{steps}")
    if attack.get("momentum"):
        parts.append(f"momentum {attack['momentum']:g}")
    if attack.get("restarts", 1) > 1:
        parts.append(f"{attack['restarts']} restarts")
    if attack.get("random_start") is False:
        parts.append("no random start")
    if attack.get("keep") == "last":
        parts.append("last perturbation")
    if attack.get("target") is not None:
        parts.append(f"target {attack['target']}")
    return ", ".join([*parts, *_after(attack)])


def _after(attack: Mapping[str, Any]) -> list[str]:
    """What every method may have."""
    parts = []
    if attack.get("queries"):
        parts.append(f"then {attack['queries']} queries of a random search")
    if attack.get("surrogate_sha256"):
        parts.append(f"made against another model (weights sha256 {attack['surrogate_sha256'][:16]})")
    return parts
