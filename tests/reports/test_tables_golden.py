"""Every table against the text it had when it was last looked at; `RTX_WRITE_GOLDEN=1` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rtx.reports.groups import group_runs
from rtx.reports.paper_tables import paper_against_yours, transfer_tables
from rtx.reports.run_tables import of_group
from rtx.reports.runs import load_runs
from rtx.reports.tables import Table, latex, markdown
from tests.reports.made import make_family

GOLDEN = Path(__file__).parent / "golden"
NAMES = (
    "overall", "corruptions", "families", "completeness", "metrics", "sizes", "classes",
    "layout_salman", "layout_utrera", "layout_yamada", "paper_against_yours", "compare",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    from rtx.reports import compare

    root = tmp_path_factory.mktemp("golden")
    runs = load_runs(make_family(root, resamples=30, classes=("person", "car")))
    groups = group_runs(runs)
    against, _ = paper_against_yours(runs)
    compared = compare.table(compare.compare(runs[0], runs[2]))
    assert against is not None
    return {t.name: t for t in [*of_group(groups[0]), *transfer_tables(groups), against, compared]}


def test_the_list_is_whole(made: dict[str, Table]) -> None:
    assert set(made) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["md", "tex"])
def test_table(made: dict[str, Table], name: str, kind: str) -> None:
    text = (markdown if kind == "md" else latex)(made[name])
    path = GOLDEN / f"{name}.{kind}"
    if os.environ.get("RTX_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
