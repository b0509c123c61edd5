"""Whatever a name holds, Markdown, LaTeX and CSV show it and do nothing else with it."""

from __future__ import annotations

import csv
import html
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rtx.cli.main import main
from rtx.reports.runs.runs import load_run
from rtx.reports.tables.long_form import results_csv
from rtx.reports.tables.table import Entry, Table, latex, markdown, row, text_in_markdown
from tests.reports.made import make_run

NAMES = (
    "[click](javascript:alert(1))",
    "![t](http://example.org/x.png)",
    "[1](javascript:alert(1))",
    "[1, 2]: http://example.org",
    "[1][2]",
    "[^1]",
    "[b] two",
    "*star* **two** ***three",
    "_a_ __b__ ~~gone~~ ~x~",
    "`code` ``x",
    "<b>bold</b> &lt;i&gt; &#42; &amp; R&D;",
    "# heading",
    "- item",
    "+ item",
    "1. item",
    "2) item",
    "= x",
    "a | b \\| c \\",
    "50 % of $x$ {y}",
)


def _shown(text: str) -> str:
    """The text that a reader of Markdown sees, without what formats it; links and images are errors."""
    engine = pytest.importorskip("markdown_it").MarkdownIt().enable(["table", "strikethrough"])
    page = engine.render(text)
    assert not re.search(r"<(a|img|em|s|code|h\d|li|del)\b", page), page
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


@pytest.mark.parametrize("name", NAMES)
def test_markdown_shows_names_as_they_are(name: str) -> None:
    interval = "[−1.2, +0.3]"  # noqa: RUF001
    table = Table("t", name, ("model", name), (row(name, Entry("1.0", interval)),), notes=(f"x {name}",))
    found = markdown(table)
    assert f"1.0 {interval} |" in found, "an interval is written as it is"
    plain = " ".join(name.split())
    assert _shown(found) == f"{plain} model {plain} {plain} 1.0 {interval} x {plain}"
    assert _shown(text_in_markdown(f"{name} against {name}: {interval} excludes it")) == (
        f"{plain} against {plain}: {interval} excludes it"
    )


def test_the_sentence_of_a_comparison_is_text_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = make_run(tmp_path, NAMES[0], folder="a")
    b = make_run(tmp_path, NAMES[1], folder="b", robust=0.4)
    assert main(["compare", str(a), str(b), "--markdown", "-"]) == 0
    assert _shown(capsys.readouterr().out).startswith(f"{NAMES[1]} against {NAMES[0]}, box AP")


@pytest.mark.parametrize("name", NAMES)
def test_no_row_of_latex_begins_with_what_the_line_before_takes(name: str) -> None:
    table = Table("t", name, (name, name), (row(name, "1"), row(Entry(name, best=True), "2"), row(name, "")))
    body = latex(table).split("\\toprule\n")[1].split("\\end{tabular}")[0]
    assert not any(line.startswith(("[", "*")) for line in body.splitlines())


@pytest.mark.slow
def test_latex_of_any_name_compiles(tmp_path: Path) -> None:
    if not shutil.which("pdflatex"):
        pytest.skip("no pdflatex")
    table = Table("t", NAMES[0], ("model", "x"), tuple(row(name, "1") for name in NAMES))
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs}\\begin{document}\n"
        + latex(table)
        + "\\end{document}\n"
    )
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\n@", "\r\n-"])
def test_no_cell_of_a_csv_begins_like_a_formula_or_ends_its_row(tmp_path: Path, start: str) -> None:
    run = load_run(make_run(tmp_path, f"{start}cmd()\rx", folder="m"))
    rows = list(csv.DictReader(io.StringIO(results_csv([run]), newline="")))
    assert {line["model"] for line in rows} == {f"'{start.strip()}cmd() x"} and len(rows) == 76
    assert all(float(line["value"]) >= 0 for line in rows)
