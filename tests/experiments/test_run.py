"""Every run of a grid is done once, a failure is recorded and costs no other run, a change is refused."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rtx.cli.main import main
from rtx.engines import Engine
from rtx.errors import BadValue, DataError, RunConflict
from rtx.evaluation.sweep.locks import driving
from rtx.experiments.run import UnitSetup, paths_of, run_units
from rtx.experiments.store import PLAN, error_file, planned_units, state_of
from rtx.experiments.units import Unit

KIND = "tests.experiments.small_units:work"
GRID = """
experiment = dict(title="small", kind="tests.experiments.small_units:work", settings=dict(log={log!r}))
runs = [dict(name=name, settings=dict(name=name, **more), seeds=[0, 1, 2]) for name, more in {runs!r}.items()]
"""


def units(log: Path, n: int = 6, **more: Any) -> list[Unit]:
    return [Unit(f"r{i}", KIND, {"log": str(log), "name": f"r{i}", "seed": i, **more}, seed=i) for i in range(n)]


def ran(log: Path) -> list[str]:
    return log.read_text().split()


def test_a_stop_loses_the_unit_in_flight_only(tmp_path: Path) -> None:
    log, root = tmp_path / "log", tmp_path / "root"
    todo = units(log)
    todo[3] = replace(todo[3], settings={**todo[3].settings, "stop": str(tmp_path / "stopped")})
    with pytest.raises(KeyboardInterrupt):
        run_units(root, "g", todo, Engine())
    assert [state_of(root, u).what for u in todo] == ["done"] * 3 + ["missing"] * 3
    tally = run_units(root, "g", todo, Engine())
    assert (tally.done, tally.cached) == (3, 3)
    assert ran(log) == ["r0", "r1", "r2", "r3", "r3", "r4", "r5"]


def test_a_failure_is_recorded_with_its_log_and_blocks_what_needs_it(tmp_path: Path) -> None:
    root, flag = tmp_path / "root", tmp_path / "repaired"
    first, second, third = units(tmp_path / "log", 3)
    first = replace(first, settings={**first.settings, "fail": str(flag)})
    todo = [replace(third, needs=("r0",)), first, second]
    tally = run_units(root, "g", todo, Engine())
    assert tally.failed == {"r0": "ValueError: the data are odd"} and tally.blocked == ["r2"] and tally.done == 1
    record = json.loads(error_file(root, first).read_text())
    assert "ValueError: the data are odd" in record["error"] and "small_units.py" in record["log"]
    flag.touch()
    tally = run_units(root, "g", todo, Engine())
    assert (tally.done, tally.cached, tally.failed) == (2, 1, {})
    assert not error_file(root, first).exists()
    assert ran(tmp_path / "log") == ["r0", "r1", "r0", "r2"]


def test_a_result_that_is_no_json_costs_no_other_run(tmp_path: Path) -> None:
    todo = units(tmp_path / "log", 2)
    todo[0] = replace(todo[0], settings={**todo[0].settings, "odd": True})
    tally = run_units(tmp_path / "root", "g", todo, Engine())
    assert tally.done == 1 and "make plain numbers of them" in tally.failed["r0"]


def test_a_plan_that_cannot_be_read_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / PLAN).write_text('{"experiment": "g", "units": [{"name": "r0", "needs": [], "size": 3}]}')
    with pytest.raises(BadValue, match="another version of rtx"):
        planned_units(tmp_path)
    (tmp_path / PLAN).write_text("{")
    run_units(tmp_path, "g", units(tmp_path / "log", 1), Engine())
    assert [state_of(tmp_path, unit).what for unit in planned_units(tmp_path)[1]] == ["done"]


def test_an_experiment_that_changed_is_refused_before_anything_starts(tmp_path: Path) -> None:
    root, log = tmp_path / "root", tmp_path / "log"
    run_units(root, "g", units(log, 2), Engine())
    with pytest.raises(RunConflict, match=r"r0.json: is a result under other settings \(rate\).*changed since"):
        run_units(root, "g", units(log, 3, rate=2), Engine())
    assert ran(log) == ["r0", "r1"]


def test_results_of_two_devices_are_told_apart(
    grid: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "repaired").touch()
    assert main(["experiments", "run", *grid, "--limit-runs", "2"]) == 0
    root = tmp_path / "work" / "heads"
    record = json.loads((root / "good" / "seed1.json").read_text())
    assert record["device"] and record["torch"]
    (root / "good" / "seed1.json").write_text(json.dumps({**record, "device": "NVIDIA T4"}))
    capsys.readouterr()
    assert main(["experiments", "run", *grid]) == 0
    assert "finished results were made on NVIDIA T4 with PyTorch" in capsys.readouterr().err
    assert main(["experiments", "collect", *grid]) == 0
    assert "2 kinds of workers" in (said := capsys.readouterr().err) and "1 on NVIDIA T4 with PyTorch" in said
    rows = list(csv.DictReader((root / "runs.csv").open()))
    assert [r["device"] == "NVIDIA T4" for r in rows] == [False, True, *[False] * 4] and rows[0]["torch"]
    assert main(["status", str(root)]) == 0
    assert "1 on NVIDIA T4 with PyTorch" in capsys.readouterr().out


def test_each_result_is_read_once(grid: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repaired").touch()
    assert main(["experiments", "run", *grid]) == 0
    read: list[str] = []
    real = Path.open

    def noted(path: Path, *args: Any, **more: Any) -> Any:
        read.append(path.name)
        return real(path, *args, **more)

    monkeypatch.setattr(Path, "open", noted)
    for words in (["run"], ["collect"]):
        read.clear()
        assert main(["experiments", *words, *grid]) == 0
        assert sum(name.startswith("seed") for name in read) == 6, words


def test_a_run_that_the_experiment_no_longer_has_leaves_the_plan(grid: list[str], tmp_path: Path) -> None:
    root = tmp_path / "work" / "heads"
    assert main(["experiments", "run", *grid]) == 1
    file = Path(grid[0])
    file.write_text(
        file.read_text().replace("'bad'", "'other'").replace("repaired", "good").replace("[0, 1, 2]", "[0, 1]")
    )
    (tmp_path / "good").touch()
    assert main(["experiments", "run", grid[0], "other", *grid[1:]]) == 0
    names = [f"{run}/seed{seed}" for run in ("good", "other") for seed in (0, 1)]
    assert [unit.name for unit in planned_units(root)[1]] == names
    assert main(["status", str(root)]) == 0
    assert (root / "good" / "seed2.json").exists(), "what is finished stays"


def test_a_second_driver_is_refused(tmp_path: Path) -> None:
    with driving(tmp_path), pytest.raises(RunConflict, match="more --ray-workers"):
        run_units(tmp_path, "g", units(tmp_path / "log", 1), Engine())


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (dict(needs=("nothing",)), "needs 'nothing', which is no unit"),
        (dict(needs=("r0",)), "ring"),
        (dict(kind="tests.experiments.small_units:nothing"), "cannot be imported"),
        (dict(name="r1"), "two units are called 'r1'"),
    ],
    ids=str,
)
def test_units_that_cannot_be_done(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    todo = units(tmp_path / "log", 2)
    with pytest.raises(BadValue, match=fault):
        run_units(tmp_path / "root", "g", [replace(todo[0], **change), todo[1]], Engine())
    assert not (tmp_path / "log").exists()


def test_what_a_node_does_not_see_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "features.npz"
    file.touch()
    todo = units(tmp_path / "absent", 1, features=str(file), words=["train", str(tmp_path), "a/b"])
    paths = paths_of(todo)
    assert paths == (str(file), str(tmp_path))
    UnitSetup(paths)("cpu")
    file.unlink()
    with pytest.raises(DataError, match=r"features.npz' is not there, and runs name it; each node must see it"):
        UnitSetup(paths)("cpu")


def test_ray_workers_live_on_from_unit_to_unit(two_nodes: Any, tmp_path: Path) -> None:
    todo = units(tmp_path / "log", 30)
    tally = run_units(tmp_path / "root", "g", todo, Engine("ray", workers=2))
    records = [state_of(tmp_path / "root", u).record or {} for u in todo]
    assert tally.done == 30 and [r["result"]["score"] for r in records] == [i / 10 for i in range(30)]
    assert len({r["result"]["pid"] for r in records}) <= 2


@pytest.fixture
def grid(tmp_path: Path) -> list[str]:
    """Words that name a grid of two runs, one of which fails."""
    runs = {"good": {}, "bad": {"fail": str(tmp_path / "repaired")}}
    file = tmp_path / "heads.py"
    file.write_text(GRID.format(log=str(tmp_path / "log"), runs=runs))
    return [str(file), "--work-dirs", str(tmp_path / "work")]


def test_plan_run_status_collect(grid: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "work" / "heads"
    assert main(["experiments", "run", *grid, "--plan", "--seeds", "0", "1", "--limit-runs", "3"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [u["name"] for u in plan["units"]] == ["good/seed0", "good/seed1", "bad/seed0"]
    assert plan["left"]["units"] == 3 and not root.exists()

    assert main(["experiments", "run", *grid]) == 1
    said = capsys.readouterr()
    assert "3 done now, 0 before, 3 failed" in said.out and "failed bad/seed0: ValueError" in said.err
    assert main(["status", str(root)]) == 1
    assert "3 failed" in capsys.readouterr().out
    assert main(["experiments", "collect", *grid]) == 1
    assert "failed: bad/seed2: ValueError: the data are odd" in capsys.readouterr().err

    (tmp_path / "repaired").touch()
    assert main(["experiments", "run", *grid]) == 0
    assert main(["experiments", "collect", *grid]) == 0
    rows = list(csv.DictReader((root / "runs.csv").open()))
    assert [(r["run"], r["seed"], r["score.score"]) for r in rows[:3]] == [
        ("good", str(s), str(s / 10)) for s in range(3)
    ]
    parquet = pytest.importorskip("pyarrow.parquet").read_table(root / "runs.parquet").to_pydict()
    assert parquet["score.score"] == [0.0, 0.1, 0.2] * 2 and list(parquet) == list(rows[0])
    assert main(["status", str(root), "--json"]) == 0
    (root / "good" / "seed1.json").write_text("{")
    assert main(["experiments", "collect", *grid]) == 1
    assert "broken: good/seed1" in capsys.readouterr().err
