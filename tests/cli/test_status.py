"""What `rtx status` prints of a folder that others wrote."""

from __future__ import annotations

import json
from pathlib import Path

from rtx.cli.status import as_text
from rtx.evaluation.sweep.progress import read_progress
from rtx.types import CLEAN
from tests.reports.made import make_run


def test_no_control_character_of_a_folder_reaches_the_terminal(tmp_path: Path) -> None:
    out = make_run(tmp_path, "m", folder="a\x1b[31mb", conditions=(CLEAN,), corruption_engine="e\x1b[2J\r")
    text = as_text(read_progress(out))
    assert "[31mb" in text and not [letter for letter in text if not letter.isprintable() and letter != "\n"]
    assert json.loads((out / "protocol.json").read_text())["corruption_engine"] == "e\x1b[2J\r"
