"""An evaluation in memory: each file is opened once, and derived files say which cells they were made from."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("mmengine")

from rtx.errors import BadValue
from rtx.evaluation.sweep.scoring import complete
from rtx.reports.runs.runs import load_run
from rtx.results.by_class import read_classes
from rtx.results.confidence import Known, read_confidences
from rtx.results.evaluation import Evaluation
from rtx.results.folder import CellFolder, evidence_path, stored_conditions
from rtx.types import CLEAN, Condition
from tests.reports.made import make_evidence_run

FOG = Condition("fog", 3)
_OPENED: list[Counter[Path]] = []


def _note(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and _OPENED and isinstance(args[0], str):
        _OPENED[-1][Path(args[0])] += 1


sys.addaudithook(_note)


@contextmanager
def opened() -> Iterator[Counter[Path]]:
    """How often each file is opened within, by whatever means."""
    _OPENED.append(Counter())
    try:
        yield _OPENED[-1]
    finally:
        _OPENED.pop()


def end_of_sweep(folder: CellFolder) -> dict[str, Any]:
    """What a sweep does once all cells are there."""
    out = folder.root
    scorer = SimpleNamespace(headline="mIoU", class_names=("sky", "road"))
    conditions = stored_conditions(out)
    job: Any = SimpleNamespace(out=out, scorer=scorer, keep_predictions=False, conditions=conditions)
    cells = folder.read(conditions)
    return complete(job, cells, resamples=20)


def keys_hashed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Takes every protocol card that is hashed from now on; the checksum of a cell holds its severity, too."""
    found: list[bytes] = []
    real = hashlib.sha256

    def noting(content: bytes = b"", **options: Any) -> Any:
        if b'"corruption_engine"' in content and b'"severity"' not in content:
            found.append(content)
        return real(content, **options)

    monkeypatch.setattr(hashlib, "sha256", noting)
    return found


def test_the_end_of_a_sweep_opens_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = make_evidence_run(tmp_path, "m", robust=0.3)
    conditions = stored_conditions(out)
    assert len(conditions) == 76
    folder = CellFolder.there(out)
    hashed = keys_hashed(monkeypatch)
    with opened() as files:
        summary = end_of_sweep(folder)
    assert summary["intervals"]["mPC"] and (out / "by_class.json").is_file()
    assert {files[folder.path(c)] for c in conditions} == {1}
    assert {files[evidence_path(out, c)] for c in conditions} == {1}
    assert len(hashed) == 1 and files[out / "protocol.json"] == 1


def test_a_report_opens_each_file_once_and_no_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = make_evidence_run(tmp_path, "m", robust=0.3)
    end_of_sweep(CellFolder.there(out))
    hashed = keys_hashed(monkeypatch)
    with opened() as files:
        run = load_run(out)
    assert run.intervals.resamples is not None and "mIoU/sky" in run.metrics
    assert len(hashed) == 1 and set(files.values()) == {1}
    assert not [path for path in files if path.suffix == ".npz" and path.parent.name == "cells"]


def known(out: Path) -> tuple[bool, bool]:
    """Whether the intervals and the scores by class count."""
    evaluation = Evaluation.read(out)
    return isinstance(read_confidences(evaluation), Known), bool(read_classes(evaluation, "mIoU")[1])


def test_what_is_made_of_cells_counts_beside_those_alone(tmp_path: Path) -> None:
    out = make_evidence_run(tmp_path, "m", robust=0.3)
    end_of_sweep(CellFolder.there(out))
    assert known(out) == (True, True)
    folder = CellFolder.there(out)
    before = folder.cell(FOG)
    assert before is not None
    folder.write(replace(before, timing={"seconds": 7.0}))
    assert known(out) == (True, True), "how long it took is no score"
    for other in (
        replace(before, metrics={**before.metrics, "mIoU": before.metrics["mIoU"] + 1e-12}),
        replace(before, n_images=5),
    ):
        folder.write(other)
        assert known(out) == (False, False)
    folder.path(FOG).unlink()
    assert known(out) == (False, False), "a cell less"
    folder.write(before)
    assert known(out) == (True, True)
    for name in ("confidence.json", "by_class.json"):
        content = json.loads((out / name).read_text())
        content["preview"] = True
        (out / name).write_text(json.dumps(content))
    assert known(out) == (False, False), "edited"
    end_of_sweep(CellFolder.there(out))
    assert known(out) == (True, True)
    another = {**folder.card, "corruption_seed": 5}
    cells = Evaluation.read(out).cells
    assert not isinstance(read_confidences(Evaluation(out, another, cells)), Known), "another protocol"


def test_a_cell_that_was_not_asked_for_is_part_of_the_whole_if_it_is_sound(tmp_path: Path) -> None:
    out = make_evidence_run(tmp_path, "m", robust=0.3)
    folder = CellFolder.there(out)
    evidence_path(out, FOG).write_bytes(b"damaged")
    with opened() as files:
        whole = Evaluation.whole(out, folder.read([CLEAN]))
        whole.evidence[CLEAN], whole.evidence[Condition("fog", 1)]
    assert set(whole.cells) == set(stored_conditions(out)) - {FOG} and next(iter(whole.cells)) == CLEAN
    assert max(files.values()) == 1 and len(whole.evidence) == 75
    with pytest.raises(BadValue, match=r"fog_3\.npz"):
        whole.evidence[FOG]
