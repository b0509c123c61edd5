"""Claims against results: signs, intervals, what cannot be told and what it would take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rtx.cli.evidence import read_claims
from rtx.cli.main import main
from rtx.errors import BadValue, UnknownName
from rtx.evidence.claim import AGREES, CANNOT_TELL, DISAGREES, Claim, Estimate, verdict_of
from rtx.evidence.kept import Measured, read_kept
from rtx.evidence.measure import measured, pairs_of
from rtx.evidence.page import draw, page
from rtx.evidence.rows import Result, accuracy_of, results_of
from rtx.evidence.tables import table
from rtx.experiments.between import evaluate as evaluate_between
from rtx.experiments.collect import columns_of_runs
from rtx.experiments.grid import Grid, GridRun
from rtx.experiments.read import read_any
from rtx.experiments.sources import train as train_source

SIDES: dict[str, Any] = dict(first=dict(source="*robust*"), second=dict(source="standard"))


def claim(**fields: Any) -> Claim:
    usual: dict[str, Any] = dict(name="few", claim="Robust sources win", found="they win", kind="difference")
    return Claim.of({**usual, **SIDES, **fields}, "here")


def results(
    gain: float, *, noise: float = 0.01, targets: tuple[str, ...] = ("cifar10", "mnist"), seeds: int = 8
) -> Any:
    """Scores of two sources on targets at two sizes; the gain is halved at the larger one."""
    rng = np.random.default_rng(0)
    found = []
    for target in targets:
        for images in (100, 1600):
            for seed in range(seeds):
                shared = 0.5 + 0.1 * rng.standard_normal()  # what a draw of training images does to both
                for source in ("standard", "a/robust.pth"):
                    more = gain * (1 if images == 100 else 0.5) * (source != "standard")
                    score = shared + more + noise * rng.standard_normal()
                    settings = dict(source=source, target=target, images=images, transfer="fixed", run="r", options="")
                    found.append(Result(settings, seed, score, seconds=2, processor_seconds=3))
    return found


FEW = dict(first=dict(source="*robust*", images=100), second=dict(source="standard", images=100))


def test_the_sign_decides_and_only_outside_of_zero() -> None:
    for gain, expect, verdict in (
        (0.05, "+", AGREES), (0.05, "-", DISAGREES), (-0.05, "-", AGREES), (-0.05, "+", DISAGREES),
        (0.0, "+", CANNOT_TELL),
    ):  # fmt: skip
        found = measured(claim(**FEW, expect=expect), results(gain), {})
        assert found.verdict == verdict, (gain, expect)
        assert [e.name for e in found.estimates] == ["mean", "cifar10", "mnist"]
        assert found.models == 32 and found.seconds == 64


def test_pairing_by_seed_takes_the_draw_out() -> None:
    low, high = measured(claim(**FEW), results(0.05), {}).estimates[0].ends or (0, 0)
    assert low < 0.05 < high and high - low < 0.03, "ten times less than the draws of training images differ"


def test_shrinks_is_the_difference_of_differences() -> None:
    found = measured(claim(kind="shrinks", sizes=(100, 1600)), results(0.1), {})
    assert found.verdict == AGREES and found.estimates[0].value == pytest.approx(0.05, abs=0.02)


def test_the_best_differs_where_no_source_may_be_best_twice() -> None:
    options = dict(standard="standard", robust="*robust*")
    both = [*results(0.1, targets=("cifar10",)), *results(-0.1, targets=("mnist",))]
    wanted: dict[str, Any] = dict(kind="best_differs", options=options, first=dict(images=100))
    assert measured(claim(**wanted), both, {}).verdict == AGREES
    assert measured(claim(**wanted), results(0.1), {}).verdict == DISAGREES
    found = measured(claim(**wanted), results(0.0), {})
    assert found.verdict == CANNOT_TELL and "(or" in found.text


@pytest.mark.parametrize(
    ("own", "verdict"),
    [((0.4, 0.6, 0.8), AGREES), ((0.8, 0.6, 0.4), DISAGREES), ((0.6, 0.6, 0.9), CANNOT_TELL)],
    ids=["rises", "falls", "unrelated"],
)
def test_the_own_accuracy_of_sources_tells_or_does_not(
    own: tuple[float, ...], verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtx.evidence.measure.accuracy_of", dict(zip("abc", own, strict=True)).get)
    rng, found = np.random.default_rng(0), []
    for seed in range(8):
        for source, score in (("a", 0.4), ("b", 0.5), ("c", 0.45 if verdict == CANNOT_TELL else 0.6)):
            settings = dict(source=source, target="mnist", images=100, run="r")
            found.append(Result(settings, seed, score + 0.01 * rng.standard_normal()))
    wanted: dict[str, Any] = dict(kind="tracks", options=dict(x="a", y="b", z="c"), first=dict(images=100))
    told = measured(claim(**wanted), found, {})
    assert told.verdict == verdict and told.models == 24 and "R2 mnist: " in told.text
    assert "own accuracy" in measured(claim(**{**wanted, "options": dict(x="a", y="b", z="none")}), found, {}).text


def test_the_own_accuracy_is_that_of_the_card(tmp_path: Path) -> None:
    torch.save({"meta": {"scores": {"clean": 0.75}}, "state_dict": {}}, tmp_path / "source.pth")
    assert accuracy_of(f"resnet18:{tmp_path / 'source.pth'}") == 0.75
    assert accuracy_of("resnet18:random") is None and accuracy_of(f"resnet18:{tmp_path / 'none.pth'}") is None


def test_without_results_nothing_is_told() -> None:
    found = measured(claim(), [], {})
    assert (found.verdict, found.text, found.models) == (CANNOT_TELL, "no results yet", 0)


def test_results_that_are_not_told_apart_are_refused() -> None:
    with pytest.raises(BadValue, match="name more settings"):
        measured(claim(), results(0.1), {})  # two sizes


def test_an_estimate_says_what_would_tell() -> None:
    assert Estimate("all", 0.02, (-0.02, 0.06), 20).needed() == 80
    assert Estimate("all", 0.0, (-0.02, 0.02), 20).needed() is None
    assert verdict_of(Estimate("all", 0.02, None, 1), "+") == CANNOT_TELL


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (dict(kind="differs"), UnknownName), (dict(expect="up"), UnknownName), (dict(quantity="AP"), UnknownName),
        (dict(quantity="drop:noise"), UnknownName), (dict(first={}), BadValue), (dict(kind="shrinks"), BadValue),
        (dict(kind="best_differs"), BadValue), (dict(wrong=1), UnknownName),
        (dict(kind="tracks", options=dict(a="a", b="b")), BadValue),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_measured_is_refused(wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        claim(**wrong)


def test_rows_of_trainings_and_probes_are_read_alike() -> None:
    rows = [
        {"state": "done", "run": "a", "seed": 1, "seconds": 5, "processor_seconds": 9},  # the training
        {"state": "done", "run": "a", "seed": 1, "seconds": 2, "processor_seconds": 4, "source": "x",
         "transfer": "full", "target": "cifar10", "score.P": 0.5, "score.mPC": 0.4},
        {"state": "done", "run": "b", "seed": 0, "seconds": 1, "set.source": "x", "set.target": "pets",
         "set.images": 100, "score.accuracy": 0.5, "score.mean_per_class": 0.3},
        {"state": "missing", "run": "c", "seed": 0, "score.P": 0.1},
    ]  # fmt: skip
    trained, probed = results_of(rows)
    assert trained.quantity("drop") == pytest.approx(0.2) and trained.settings["images"] == "all"
    assert (trained.seconds, trained.processor_seconds) == (7, 13)
    assert probed.P == 0.3 and probed.settings["transfer"] == "fixed" and probed.quantity("mPC") is None


def test_the_page_says_every_claim_with_its_interval_and_verdict() -> None:
    findings = [
        measured(claim(**FEW), results(0.05), {}),
        measured(claim(**FEW, name="none", claim="Nothing"), results(0.001, noise=0.05), {}),
        measured(claim(name="later", claim="Not yet", paper="utrera2021", place="Figure 2"), [], {}),
    ]
    one = Measured("x", "probes", "2026-12-01", tuple(findings), tuple(table(results(0.1))), 64, 120, 180)
    text = page([one], command="rtx x", figure="figures/evidence.png")
    assert "Probes (`rtx experiments run x`, 2026-12-01, 64 models, 2 minutes, 3 of the processor):" in text
    assert "| r | " in text
    assert "3 claims: 1 agree, 0 disagree, of 2 these data cannot tell" in text
    assert "would tell" in text and "no results yet" in text and "| mean | +" in text
    assert all(f'<a id="{f.claim.name}"></a>' in text and f"](#{f.claim.name})" in text for f in findings)
    draw(findings)


def test_what_experiments_gave_is_kept_and_the_page_has_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {
        "a": measured(claim(**FEW), results(0.05), {}),
        "b": measured(claim(**{**FEW, "name": "later"}), results(0.05), {}),
    }
    names: dict[str, Any] = {n: Measured(n, "t", "2026-12-01", (f,), ("| 1 |",), 64, 7.5) for n, f in found.items()}
    monkeypatch.setattr("rtx.cli.evidence.measure", lambda name, work_dirs: names[name])
    out = tmp_path / "evidence.md"
    said = [main(["experiments", "evidence", name, "--out", str(out)]) for name in ("b", "a")]
    assert said == [0, 0] and out.read_text().count("64 models, 0 minutes") == 2
    assert read_kept(tmp_path / "evidence.json") == {"a": names["a"], "b": names["b"]}, "to the last bit"
    names["a"] = replace(names["a"], models=63, findings=(measured(claim(**FEW), [], {}),))
    page_before = out.read_text()
    assert main(["experiments", "evidence", "a", "--out", str(out)]) == 0 and out.read_text() == page_before
    assert "a: 63 of its models in work_dirs; the 64 of 2026-12-01 stay" in capsys.readouterr().out
    names["b"] = replace(names["b"], findings=names["a"].findings)
    assert main(["experiments", "evidence", "b", "--out", str(out)]) == 2
    assert "claim 'few' is in b and in a" in capsys.readouterr().err
    (tmp_path / "evidence.json").write_text("[1]")
    assert main(["experiments", "evidence", "b", "--out", str(out)]) == 2
    assert "remove it or give another --out" in capsys.readouterr().err


CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs/experiments").glob("evidence_*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_the_claims_of_the_experiments_are_about_their_runs(path: Path) -> None:
    experiment = read_any(str(path))
    assert experiment.runs
    for one in read_claims(str(path)):
        if one.kind == "images":
            names = {f"{run.name}/seed{seed}" for run in experiment.runs for seed in run.seeds}
            names |= {run.name for run in experiment.runs if isinstance(experiment, Grid)}  # folders without a seed
            runs: Any = {name: None for name in names}
            assert pairs_of(one, runs), f"{one.name}: no pair of runs"
            continue
        rows = [made_row(experiment, run, seed) for run in experiment.runs for seed in run.seeds[:2]]
        assert measured(one, results_of(rows), {}).models, f"{one.name}: no run is meant"


def made_row(experiment: Any, run: Any, seed: int) -> dict[str, Any]:
    """A row as `rtx experiments collect` makes it."""
    row: dict[str, Any] = dict(state="done", run=run.name, seed=seed, seconds=1)
    scores = {"score.P": 0.5, "score.mPC": 0.4, "score.accuracy": 0.5, "score.mean_per_class": 0.5}
    if isinstance(experiment, Grid):
        return {**row, **{f"set.{k}": v for k, v in {**experiment.settings, **run.settings}.items()}, **scores}
    return {**row, **columns_of_runs(experiment)[run.name], **scores}


def test_a_source_needs_a_place_and_settings_that_exist() -> None:
    for settings in (dict(data_root="x"), dict(data_root="x", work_dir="y", archh="resnet18")):
        with pytest.raises(BadValue, match=r"work_dir is missing|no setting 'archh'"):
            train_source(settings, "cpu")


@pytest.mark.parametrize(
    "wrong", [dict(alpha=0.5), dict(a="x", b="y", alpha=0.5, work_dir="z", seed=0, more=1)], ids=str
)
def test_a_model_between_needs_its_ends(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadValue, match=r"setting '(a|more)'"):
        evaluate_between(wrong, "cpu")


def test_a_grid_reads_the_data_folder_that_is_named() -> None:
    run = GridRun("one", dict(target="mnist", data_root="data/mnist"))
    grid = Grid("g", "", "m:f", (run, GridRun("other")))
    assert grid.unit(run, 0, "/data").settings["data_root"] == "/data/mnist"
    assert grid.unit(run, 0).settings["data_root"] == "data/mnist"
    with pytest.raises(BadValue, match="--data-root"):
        grid.unit(grid.runs[1], 0, "/data")
