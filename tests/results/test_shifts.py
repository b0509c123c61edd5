"""Names of natural shifts, and what counts of their folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtx.errors import BadValue
from rtx.results.folder import remove_results
from rtx.results.shifts import parse_shifts, read_shifts, shift_folder, shift_folders


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["sketch"], "must be NAME=DIR"),
        (["sketch="], "must be NAME=DIR"),
        (["a=x", "a=y"], "the name 'a' is taken by x"),
        (["clean=x"], "is the name of a condition"),
        (["fog_3=x"], "is the name of a condition"),
        (["fog=x"], "is the name of a condition"),
        (["../a=x"], "must be letters"),
        (["=x"], "must be letters"),
    ],
)
def test_words_that_name_no_shift(words: list[str], complaint: str) -> None:
    with pytest.raises(BadValue, match=complaint):
        parse_shifts(words)


def test_words_that_do() -> None:
    assert parse_shifts(["a=b=c", "foggy_zurich=x"]) == {"a": "b=c", "foggy_zurich": "x"}


def test_a_folder_that_is_damaged_or_foreign_does_not_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = shift_folder(tmp_path, "a")
    folder.mkdir(parents=True)
    assert shift_folders(tmp_path) == {} and read_shifts(tmp_path, {}, "mIoU", 0.5) == {}
    (folder / "protocol.json").write_text("{}")
    assert list(shift_folders(tmp_path)) == ["a"] and read_shifts(tmp_path, {}, "mIoU", 0.5) == {}
    (folder / "summary.json").write_text("[]")
    assert read_shifts(tmp_path, {}, "mIoU", 0.5) == {} and "cannot be read" in caplog.text
    (folder / "notes.txt").write_text("a person's")
    remove_results(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
