"""Damaged evaluation folders: what is read of them is what their files plainly say, or an error of rtx's own."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rtx.cli.status import as_json, as_text
from rtx.corruptions import BENCHMARK
from rtx.errors import RtxError
from rtx.evaluation.sweep.progress import read_progress
from rtx.reports.runs.compare import compare, to_dict
from rtx.reports.runs.groups import group_runs
from rtx.reports.runs.runs import load_runs
from rtx.reports.tables.run_tables import of_group
from rtx.results.arrays import load
from rtx.results.by_class import read_classes, write_classes
from rtx.results.command import Command, note_command
from rtx.results.confidence import read_confidences, write_results
from rtx.results.evaluation import Evaluation, sound_cells
from rtx.results.examples import read_examples
from rtx.results.folder import CellFolder, evidence_path, stored_conditions
from rtx.results.protocol import protocol_key
from tests import naive_readers as plain
from tests.damage import Tree, damaged, read_tree, write_tree
from tests.fuzzing import EXAMPLES, draw_cases
from tests.reports.made import make_evidence_run, make_map_examples


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Two evaluations, `a` and `b`, with everything that lies in such a folder, but few cells."""
    root = tmp_path_factory.mktemp("made")
    for name, robust in (("a", 0.2), ("b", 0.5)):
        folder = make_evidence_run(root, name, robust=robust)
        for path in (folder / "cells").iterdir():
            if path.stem not in ("clean", "fog_1", "fog_2"):
                path.unlink()
        evaluation = Evaluation.read(folder)
        write_results(evaluation, "mIoU", resamples=20)
        write_classes(evaluation, "mIoU", ["disc", "block"])
        make_map_examples(folder, robust=robust)
        note_command(folder, Command(("rtx", "corrupt_eval", "x.py"), "/made", tuple(evaluation.cells)))
    return read_tree(root)


def signed(content: bytes | None) -> bytes | None:
    """A cell whose key and checksum are those of what it holds now, as another program might write it."""
    try:
        row = json.loads(content or b"")
        row["key"] = protocol_key(row["protocol"])
        rest = {name: value for name, value in row.items() if name not in ("timing", "checksum")}
        row["checksum"] = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
        return json.dumps(row).encode()
    except Exception:
        return content


def known(read: Callable[[], Any]) -> Any:
    """What a function returns, or None where it refuses with an error of rtx's own."""
    try:
        return read()
    except RtxError as error:
        assert str(error).strip()
        return None


def look(root: Path, sound: Path) -> None:
    """Read the folder `root/a` in every way that commands read it."""
    folder = root / "a"
    cells = plain.cells(folder)
    state = known(lambda: read_progress(folder))
    if state is not None:
        assert as_text(state) and json.dumps(as_json(state))
        for condition, cell in state.done.items():
            assert same(cell.metrics, cells[condition.key]), condition
    evaluation = known(lambda: Evaluation.read(folder))
    if evaluation is not None:
        for condition, cell in evaluation.cells.items():
            assert same(cell.metrics, cells[condition.key]), condition
            known(lambda c=condition: load(evidence_path(folder, c), key=evaluation.key))
        known(lambda: read_confidences(evaluation))
        known(lambda: read_classes(evaluation, "mIoU"))
        known(lambda: read_examples(folder, evaluation.card))
        known(lambda: sound_cells(CellFolder.there(folder), stored_conditions(folder), aside=False))
    runs = known(lambda: load_runs([folder, sound]))
    if runs is not None:
        mine = {c.key: v for c, v in runs[0].grid().items()}
        assert same(mine, {k: row[runs[0].metric] for k, row in cells.items() if k in mine})
        corrupted = [value for key, value in mine.items() if key.rpartition("_")[0] in BENCHMARK]
        if corrupted and all(map(math.isfinite, corrupted)):
            assert math.isclose(runs[0].summary.mPC, math.fsum(corrupted) / len(corrupted), rel_tol=1e-9)
        for group in group_runs(runs):
            known(lambda g=group: of_group(g))
        difference = known(lambda: compare(*runs))
        if difference is not None:
            json.dumps(to_dict(difference))


def same(found: dict[str, float], expected: dict[str, float]) -> bool:
    return found.keys() == expected.keys() and all(
        v == expected[k] or (math.isnan(v) and math.isnan(expected[k])) for k, v in found.items()
    )


@pytest.mark.parametrize("sign", [False, True], ids=["edited", "signed"])
@pytest.mark.parametrize("examples", EXAMPLES)
def test_evaluation_folders(place: Path, finished: Tree, sign: bool, examples: int) -> None:
    names = sorted(name for name in finished if name.startswith("a/cells" if sign else "a/"))
    names = [name for name in names if name.endswith(".json")] if sign else names

    def case(rng: Random) -> None:
        shutil.rmtree(place, ignore_errors=True)
        tree = damaged(finished, rng, names)
        if sign:
            tree = {name: signed(content) if "a/cells" in name else content for name, content in tree.items()}
        write_tree(place, tree)
        look(place, place / "b")

    draw_cases(case, examples)
