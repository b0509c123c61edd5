"""Cell files: written whole, read back exactly, never mixed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from rtx.errors import BadValue, RunConflict
from rtx.files import write_atomic
from rtx.results.cell import Cell
from rtx.results.folder import CellFolder
from rtx.results.protocol import protocol_key
from rtx.types import CLEAN, Condition

CARD = {"corruption_seed": 0, "metric": {"name": "AP"}, "device": "cpu", "versions": {"torch": "1"}}
FOG = Condition("fog", 3)


def cell(value: float = 1 / 3, card: dict | None = None, condition: Condition = FOG) -> Cell:
    return Cell(condition, {"AP": value, "AP_large": math.nan}, 7, card or CARD, ("no predictions",), {"seconds": 0.1})


def test_a_cell_survives_the_file_to_the_last_bit(tmp_path: Path) -> None:
    folder = CellFolder(tmp_path, CARD)
    folder.open()
    folder.write(cell())
    back = folder.read([CLEAN, FOG])
    assert list(back) == [FOG]
    assert back[FOG].metrics["AP"] == 1 / 3
    assert math.isnan(back[FOG].metrics["AP_large"])
    assert (back[FOG].n_images, back[FOG].flags) == (7, ("no predictions",))


@pytest.mark.parametrize("name", ["device", "versions", "labels", "checkpoint_sha256"])
def test_what_does_not_make_the_number_does_not_make_the_key(name: str) -> None:
    assert protocol_key({**CARD, name: "other"}) == protocol_key(CARD)


def test_a_folder_of_another_protocol_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    first = CellFolder(tmp_path, CARD)
    first.open()
    first.write(cell())
    with pytest.raises(RunConflict, match=r"corruption_seed: 0 there, 1 now.*--overwrite"):
        CellFolder(tmp_path, {**CARD, "corruption_seed": 1})
    assert first.read([FOG])[FOG].metrics["AP"] == 1 / 3, "refusing must lose nothing"


def test_overwrite_leaves_no_cell_of_the_other_protocol(tmp_path: Path) -> None:
    first = CellFolder(tmp_path, CARD)
    first.open()
    first.write(cell())
    other = CellFolder(tmp_path, {**CARD, "corruption_seed": 1}, overwrite=True)
    other.open()
    assert other.read([FOG]) == {}


def test_an_edited_cell_is_refused(tmp_path: Path) -> None:
    folder = CellFolder(tmp_path, CARD)
    folder.open()
    folder.write(cell())
    path = folder.path(FOG)
    row = json.loads(path.read_text())
    row["protocol"]["corruption_seed"] = 5
    path.write_text(json.dumps(row))
    with pytest.raises(BadValue, match="does not match its protocol card"):
        folder.read([FOG])


def test_a_cell_copied_to_another_name_is_refused(tmp_path: Path) -> None:
    folder = CellFolder(tmp_path, CARD)
    folder.open()
    folder.write(cell())
    folder.path(Condition("fog", 4)).write_text(folder.path(FOG).read_text())
    with pytest.raises(BadValue, match="holds fog_3, not fog_4"):
        folder.read([Condition("fog", 4)])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"corruption": "fog"}'])
def test_a_damaged_cell_is_named(tmp_path: Path, text: str) -> None:
    folder = CellFolder(tmp_path, CARD)
    folder.open()
    write_atomic(folder.path(FOG), text)
    with pytest.raises(BadValue, match=r"fog_3\.json: not an rtx cell file"):
        folder.read([FOG])


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "new \ud800")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("")
    with pytest.raises(RunConflict, match="is a file"):
        CellFolder(path, CARD)
