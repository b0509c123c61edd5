"""Every table against the text it had when it was last looked at; `RTX_WRITE_GOLDEN=1` writes them anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from rtx.corruptions import BENCHMARK
from rtx.reports.runs.groups import group_runs
from rtx.reports.runs.runs import load_runs
from rtx.reports.tables import table as tables
from rtx.reports.tables.paper_tables import paper_against_yours, transfer_tables
from rtx.reports.tables.run_tables import of_group
from rtx.reports.tables.table import Table, latex, markdown
from rtx.types import CLEAN, SEVERITIES, Condition
from tests.reports.made import make_family, make_run

GOLDEN = Path(__file__).parent / "golden"
NAMES = (
    "overall", "corruptions", "families", "completeness", "metrics", "sizes", "classes",
    "layout_salman", "layout_utrera", "layout_yamada", "paper_against_yours", "compare",
)  # fmt: skip
ODD = tuple(f"odd_{name}" for name in NAMES if name not in ("classes", "paper_against_yours", "compare"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    from rtx.reports.runs import compare

    root = tmp_path_factory.mktemp("golden")
    runs = load_runs(make_family(root, resamples=30, classes=("person", "car")))
    groups = group_runs(runs)
    against, _ = paper_against_yours(runs)
    compared = compare.table(compare.compare(runs[0], runs[2]))
    assert against is not None
    return {t.name: t for t in [*of_group(groups[0]), *transfer_tables(groups), against, compared]}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    """Two detectors, without intervals, on a test set of which nothing is published; one has half of its grid."""
    root = tmp_path_factory.mktemp("odd")
    folders = [
        make_run(root, f"{method} {source[-4:]}", source=source, clean=clean, robust=clean - 0.2, n_images=26,
                 labels={"run": f"{method} {source[-4:]}", "config": f"{method}_r50", "data": "fruits & nuts"})
        for method, source, clean in (
            ("fasterrcnn", "resnet50_l2_eps0", 0.35), ("maskrcnn", "resnet50_l2_eps0", 0.38),
            ("fasterrcnn", "resnet50_l2_eps3", 0.33), ("maskrcnn", "resnet50_l2_eps3", 0.36),
        )
    ]  # fmt: skip
    half = tuple(Condition(name, level) for name in BENCHMARK[:8] for level in SEVERITIES)
    labels = {"run": "half <done>", "config": "maskrcnn_r50", "data": "fruits & nuts"}
    folders.append(make_run(root, "half", clean=0.6, conditions=(CLEAN, *half), n_images=26, labels=labels))
    groups = group_runs(load_runs(folders))
    assert len(groups) == 1
    return {f"odd_{t.name}": t for t in [*of_group(groups[0]), *transfer_tables(groups)]}


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    """Three trainings that differ by their seed, on clean images alone."""
    root = tmp_path_factory.mktemp("repeated")
    folders = [make_run(root, f"seed{n}", clean=0.4 + 0.01 * n, conditions=(CLEAN,)) for n in range(3)]
    (group,) = group_runs(load_runs(folders))
    return {t.name: t for t in of_group(group) if t.name == "seeds"}


def test_every_table_of_the_package_is_here(made: dict[str, Table], odd: dict[str, Table]) -> None:
    assert set(made) == set(NAMES) and set(odd) == set(ODD)
    files = Path(tables.__file__).parents[1].rglob("*.py")
    # Tables of studies are made of other rows and have tests of their own.
    source = "".join(path.read_text(encoding="utf-8") for path in files if path.parent.name != "studies")
    names = set(re.findall(r'\bTable\(\s*"(\w+)"', source))
    assert names | {"sizes", "classes"} == {*NAMES, "seeds", "shifts", "attacks"}


@pytest.mark.parametrize("name", [*NAMES, *ODD, "seeds"])
@pytest.mark.parametrize("kind", ["md", "tex"])
def test_table(made: dict[str, Table], odd: dict[str, Table], repeated: dict[str, Table], name: str, kind: str) -> None:
    text = (markdown if kind == "md" else latex)({**made, **odd, **repeated}[name])
    path = GOLDEN / f"{name}.{kind}"
    if os.environ.get("RTX_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
