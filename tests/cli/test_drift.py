"""`rtx drift`: what is printed and written for several runs, and what is refused before anything long."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rtx.cli.main import main
from rtx.results.drift import read_drift
from tests.drift.worlds import classifier_run, source_file
from tests.probe.worlds import colours


def test_table_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data, source = colours(tmp_path / "data", test=4), source_file(tmp_path)

    def trained(model: object) -> None:
        model.backbone.layer4[1].bn2.weight.mul_(3)  # type: ignore[attr-defined]

    runs = [
        str(classifier_run(tmp_path / "fixed", data, source)),
        str(classifier_run(tmp_path / "last", data, source, transfer="blocks:1", change=trained)),
    ]
    words = "--images 9 --corruptions fog contrast --severities 5 --workers 0 --device cpu".split()
    assert main(["drift", *runs, *words]) == 0
    printed = capsys.readouterr().out
    assert "mean over 2 corruptions at severity 5" in printed and "minus fixed" in printed
    assert re.search(r"fixed, clean images +1\.000 ±0\.000 +1\.000 ±0\.000 +1\.000 ±0\.000 +1\.000 ±0\.000", printed)
    assert printed.count("its source, resnet18:") == 1, "both began with it"
    for run in runs:
        names = {path.name for path in (Path(run) / "drift").iterdir()}
        assert names == {"card.json", "cells", "drift.json", "drift.csv"} | {
            f"by_corruption.{e}" for e in ("pdf", "svg", "png")
        }
        found = read_drift(Path(run) / "drift")
        assert found is not None and found.card["n_images"] == 9 and len(found.cells) == 3
    out = tmp_path / "work_dirs" / "drift"
    assert {path.name for path in out.iterdir()} == {"comparison.json", "drift.pdf", "drift.svg", "drift.png"}
    # Again, alone and as JSON: nothing is measured, and the comparison lies with the run.
    assert main(["drift", runs[1], *words, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads((Path(runs[1]) / "drift" / "comparison.json").read_text())
    assert [one["value"] for one in shown["runs"][0]["source_to_run_clean"]][:3] == [1, 1, 1]
    # Other options do not replace what is there.
    assert main(["drift", runs[0], *words, "--seed", "1"]) == 2
    assert re.search(r"other weights, images or options .*give another --out", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone"], r"run folders \['gone'\]: must be there"),
        ([".", "."], "each with a name of its own"),
        ([".", "--images", "-1"], "--images -1"),
        ([".", "--images", "5"], "5 images in minibatches of 256"),
        ([".", "--grid", "0"], "--grid 0"),
        ([".", "--minibatch", "4"], "in minibatches of 4"),
        ([".", "--corruptions", "fogg"], "corruption 'fogg'.*did you mean 'fog'"),
        ([".", "--severities", "6"], "severity 6"),
        (["."], "holds 0 config files"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["drift", *words]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())
