"""The catalogue as a table; imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rtx.errors import UnknownName
from rtx.sources.catalog.record import Source
from rtx.sources.catalog.rows import CATALOG, find

HEADER = ("name", "architecture", "threat", "eps", "top-1", "layout", "licence", "file", "unverified")


def select(
    words: Sequence[str] = (), *, arch: str | None = None, threat: str | None = None, max_eps: float | None = None
) -> list[Source]:
    """Catalogued sources that match every filter.

    Args:
        words: each must occur in the name, recipe or paper, upper or lower case; a short name counts as its source.
        arch: exact architecture.
        threat: "none", "l2" or "linf".
        max_eps: largest eps, in the units of the name (a Linf source's counts in 255ths).
    """
    return [
        source
        for source in CATALOG.values()
        if all(_matches(source, word) for word in words)
        and (arch is None or source.arch == arch)
        and (threat is None or source.threat == threat)
        and (max_eps is None or eps_in_name(source) <= max_eps + 1e-9)
    ]


def _matches(source: Source, word: str) -> bool:
    try:
        if find(word) is source:
            return True
    except UnknownName:
        pass
    return word.lower() in f"{source.name} {source.recipe} {source.paper}".lower()


def eps_in_name(source: Source) -> float:
    """The radius as the name writes it: 4 for Linf 4/255."""
    return round(255 * source.eps, 6) if source.threat == "linf" else source.eps


def rows(sources: Iterable[Source]) -> list[tuple[str, ...]]:
    """Cells of the table, below `HEADER`."""
    return [
        (
            source.name,
            source.arch,
            source.threat,
            "-"
            if source.threat == "none"
            else f"{eps_in_name(source):g}" + ("/255" if source.threat == "linf" else ""),
            "-" if source.clean_top1 is None else f"{100 * source.clean_top1:.2f}",
            source.layout,
            source.licence,
            source.filename,
            ", ".join(source.unverified) or "-",
        )
        for source in sources
    ]


def aligned(cells: Sequence[Sequence[str]]) -> str:
    """A plain-text table with a line under its first row."""
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
