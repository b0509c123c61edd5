"""What experiments gave, kept beside the page: each is measured where and when it can be, and the page has them all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rtx.errors import BadValue
from rtx.evidence.claim import Claim, Estimate, Finding
from rtx.files import json_ready, read_json, write_atomic

VERSION = "rtx.evidence/1"


@dataclass(frozen=True)
class Measured:
    """One experiment.

    Attributes:
        name: of its file.
        title: one line.
        date: on which its results were read, YYYY-MM-DD.
        findings: of its claims.
        scores: a table of its scores, lines of Markdown.
        models: trained networks and heads.
        seconds: that they took with their evaluations, by the clock, added up over workers.
        processor_seconds: the same of the processor; None where that is not known of all.
    """

    name: str
    title: str
    date: str
    findings: tuple[Finding, ...]
    scores: tuple[str, ...] = ()
    models: int = 0
    seconds: float = 0.0
    processor_seconds: float | None = None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Measured:
        """From what `write_kept` wrote; KeyError, TypeError or ValueError where it is something else."""
        return cls(**{**entry, "findings": tuple(map(_finding, entry["findings"])), "scores": tuple(entry["scores"])})


def read_kept(path: Path) -> dict[str, Measured]:
    """The experiments in a file, by name; none where there is no file.

    Raises:
        BadValue: it holds something else.
    """
    if not path.exists():
        return {}
    try:
        content = read_json(path)
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']!r}")
        return {entry["name"]: Measured.of(entry) for entry in content["experiments"]}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadValue(
            f"{path}: not what `rtx experiments evidence` keeps ({error}); remove it or give another --out"
        ) from error


def write_kept(path: Path, experiments: Iterable[Measured]) -> None:
    """Write them as JSON.

    Raises:
        OutputError: it cannot be written.
    """
    content = {"version": VERSION, "experiments": [json_ready(asdict(one)) for one in experiments]}
    write_atomic(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _finding(entry: Mapping[str, Any]) -> Finding:
    estimates = (Estimate(**{**e, "ends": e["ends"] and tuple(e["ends"])}) for e in entry["estimates"])
    claim = dict(entry["claim"])
    claim |= {"by": tuple(claim["by"]), "sizes": claim["sizes"] and tuple(claim["sizes"])}
    return Finding(**{**entry, "claim": Claim.of(claim, "a kept finding"), "estimates": tuple(estimates)})
