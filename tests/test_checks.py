"""docs/checks.md is true: each cell of its tables is a fault that is given to the command."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("mmdet")
pytest.importorskip("mmseg")
pytest.importorskip("mmpretrain")

from rtx.errors import RtxError
from tests.checking import Checked, rows_of
from tests.checks_of_boxes import COCO, VOC
from tests.checks_of_labels import CLASS_FOLDERS, LABEL_MAPS, TARGETS
from tests.checks_of_predictions import STORED
from tests.checks_of_runs import RUNS
from tests.checks_of_weights import CHECKPOINTS, LAUNCHERS

PAGE = rows_of(Path(__file__).resolve().parents[1] / "docs" / "checks.md")
TABLES: dict[str, Checked] = {
    "COCO": COCO,
    "PASCAL VOC": VOC,
    "Label maps": LABEL_MAPS,
    "Class folders": CLASS_FOLDERS,
    "Stored predictions": STORED,
    "Lists of classification targets": TARGETS,
    "Checkpoints and weights": CHECKPOINTS,
    "Run folders": RUNS,
    "Launchers": LAUNCHERS,
}
CELLS = [
    (title, fault, command, does)
    for title, rows in PAGE.items()
    for fault, row in rows.items()
    for command, does in row.items()
]


def test_the_page_and_the_faults_are_the_same() -> None:
    assert list(PAGE) == list(TABLES)
    for title, table in TABLES.items():
        assert list(PAGE[title]) == list(table.faults), title
        assert all(list(row) == list(table.commands) for row in PAGE[title].values()), title
    assert {does for *_, does in CELLS} == {"stops", "warns", "reads", "-"}


def outcome(table: Checked, fault: str | None, command: str, folder: Path, caplog: pytest.LogCaptureFixture) -> str:
    """What a command says of a fault: "stops: ..." or "goes on: ..."."""
    world = table.make(folder)
    if fault is not None:
        table.faults[fault][0](world)
    with caplog.at_level(logging.WARNING, "rtx"):
        caplog.clear()
        try:
            said = table.commands[command](world)
        except RtxError as error:
            return f"stops: {error}"
    return "goes on: " + "\n".join(
        [record.getMessage() for record in caplog.records if record.name.startswith("rtx")] + [said or ""]
    )


@pytest.mark.parametrize(("title", "fault", "command", "does"), CELLS, ids=lambda value: str(value)[:40])
def test_each_cell(
    title: str, fault: str, command: str, does: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = TABLES[title]
    said = outcome(table, fault, command, tmp_path, caplog)
    pattern = table.faults[fault][1]
    assert said.startswith("stops" if does == "stops" else "goes on"), said
    if does in ("stops", "warns"):
        assert re.search(pattern, said, re.DOTALL), said
    elif does == "reads":
        assert said == "goes on: "
    else:
        assert not pattern or not re.search(pattern, said, re.DOTALL), said


def sound() -> Iterator[tuple[str, str]]:
    yield from ((t, command) for t, table in TABLES.items() if t != "Launchers" for command in table.commands)


@pytest.mark.parametrize(("title", "command"), sound())
def test_nothing_is_said_of_what_is_sound(
    title: str, command: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert outcome(TABLES[title], None, command, tmp_path, caplog) == "goes on: "
