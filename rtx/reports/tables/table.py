"""A table once, written as Markdown, LaTeX, for a terminal and (by the page) HTML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",  # noqa: RUF001
    "–": "--",  # noqa: RUF001
    "±": r"$\pm$",
    "→": r"$\rightarrow$",
    "↳": r"$\hookrightarrow$",
    "…": r"\dots{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


@dataclass(frozen=True)
class Entry:
    """One cell of a table.

    Attributes:
        text: what is printed.
        below: printed smaller beside it, e.g. an interval.
        best: whether it is the best of its column.
    """

    text: str
    below: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A table with everything that is printed around it.

    Attributes:
        name: file name without ending.
        title: what it shows.
        head: column titles; the first `words` columns hold words, the others numbers.
        rows: as many entries as columns.
        words: how many columns are aligned left.
        notes: printed below, e.g. what the numbers do not say.
    """

    name: str
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    words: int = 1
    notes: tuple[str, ...] = ()


def row(*cells: str | Entry) -> tuple[Entry, ...]:
    """A row from texts and entries."""
    return tuple(cell if isinstance(cell, Entry) else Entry(cell) for cell in cells)


def markdown(table: Table) -> str:
    """The table as Markdown."""
    lines = [f"**{_md(table.title)}**", "", "| " + " | ".join(map(_md, table.head)) + " |"]
    lines.append("|" + "|".join("---" if i < table.words else "---:" for i in range(len(table.head))) + "|")
    for entries in table.rows:
        cells = []
        for entry in entries:
            text = _md(entry.text)
            text = f"**{text}**" if entry.best else text
            cells.append(f"{text} {_md(entry.below)}".strip())
        lines.append("| " + " | ".join(cells) + " |")
    lines += [""] + [f"{_md(note)}  " for note in table.notes]
    return "\n".join(lines).rstrip() + "\n"


def plain(table: Table) -> str:
    """The table for a terminal, in columns."""
    lines = [list(table.head), *([f"{e.text} {e.below}".strip() for e in entries] for entries in table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    left = {*range(table.words), len(widths) - 1}
    padded = (
        (
            f"{cell:{'<' if i in left else '>'}{width}}"
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        for cells in lines
    )
    return "\n".join([*("  ".join(cells).rstrip() for cells in padded), "", *table.notes])


def latex(table: Table) -> str:
    """The table as LaTeX with booktabs, in a `table` environment."""
    align = "l" * table.words + "r" * (len(table.head) - table.words)
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}[t]",
        "\\centering",
        f"\\caption{{{tex(table.title)}}}",
        f"\\label{{tab:{table.name.replace('_', '-')}}}",
        f"\\begin{{tabular}}{{{align}}}",
        "\\toprule",
        _tex_row(map(tex, table.head)),
        "\\midrule",
    ]
    for entries in table.rows:
        cells = []
        for entry in entries:
            text = tex(entry.text)
            text = f"\\textbf{{{text}}}" if entry.best else text
            cells.append(f"{text} {{\\scriptsize {tex(entry.below)}}}" if entry.below else text)
        lines.append(_tex_row(cells))
    lines += ["\\bottomrule", "\\end{tabular}"]
    lines += [f"\\par\\smallskip\\footnotesize {tex(note)}" for note in table.notes]
    return "\n".join([*lines, "\\end{table}", ""])


def tex(text: str) -> str:
    r"""A text with everything escaped that LaTeX would read as a command.

    Example:
        >>> tex("50 % of a_b")
        '50 \\% of a\\_b'
    """
    return "".join(_TEX.get(letter, letter) for letter in " ".join(text.split()))


def _tex_row(cells: Iterable[str]) -> str:
    line = " & ".join(cells) + r" \\"
    # The end of the line before, or its rule, would take these for its own.
    return f"{{}}{line}" if line.startswith(("[", "*")) else line


def text_in_markdown(text: str) -> str:
    r"""A line of its own in Markdown that shows a text as it is, whatever names are in it.

    Example:
        >>> text_in_markdown("# 1 [x](y) lies in [0.1, 0.3]")
        '\\# 1 \\[x\\](y) lies in [0.1, 0.3]'
    """
    return re.sub(r"^(\d*)([#+\-=.)])", r"\1\\\2", _md(text))


def _md(text: str) -> str:
    plain = re.sub(r"&(?=#?\w+;)", "&amp;", " ".join(text.split()))
    for letter in "\\|*_`~<>[]":
        plain = plain.replace(letter, {"<": "&lt;", ">": "&gt;"}.get(letter, "\\" + letter))
    # An interval needs no backslash to be read as it is, unless what follows makes it the text of a link.
    return re.sub(r"\\\[([-+−–\d., ]+)\\\](?![(:\\\[])", r"[\1]", plain)  # noqa: RUF001


def best_of(values: Sequence[float | None], *, low: bool = False, digits: int = 1) -> set[int]:
    """Places of the best value, where there are at least two that differ; what is printed alike is alike.

    Args:
        values: fractions, None where there is none.
        low: whether the smallest is the best.
        digits: how many are printed after the point, in percent.

    Example:
        >>> best_of([0.1, None, 0.3]), best_of([0.10001, 0.10002])
        ({2}, set())
    """
    printed = [None if value is None else round(100 * value, digits) for value in values]
    there = {value for value in printed if value is not None}
    if len(there) < 2:
        return set()
    best = min(there) if low else max(there)
    return {index for index, value in enumerate(printed) if value == best}
