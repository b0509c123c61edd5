"""CE and mCE: AlexNet has 100, the published errors are the published ones, and a grid with a gap is no mCE."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from rtx.corruptions import BENCHMARK
from rtx.errors import BadValue
from rtx.metrics.imagenet_c import ALEXNET_CLEAN_ERROR, ALEXNET_ERRORS, errors
from rtx.types import CLEAN, SEVERITIES, Condition


def alexnet() -> dict[Condition, float]:
    """A grid whose error averages over severities to AlexNet's, unequal at each severity."""
    step = {1: -0.04, 2: -0.02, 3: 0.0, 4: 0.02, 5: 0.04}
    return {CLEAN: 1 - ALEXNET_CLEAN_ERROR} | {
        Condition(name, s): 1 - ALEXNET_ERRORS[name] - step[s] for name in BENCHMARK for s in SEVERITIES
    }


def test_alexnet_has_100_by_definition() -> None:
    found = errors(alexnet())
    assert found.mCE == pytest.approx(1, abs=1e-12) and found.relative_mCE == pytest.approx(1, abs=1e-12)
    assert found.complete and found.label == "mCE" and found.missing == ()
    assert list(ALEXNET_ERRORS) == list(BENCHMARK)
    assert found.CE == pytest.approx(dict.fromkeys(BENCHMARK, 1.0), abs=1e-12)


def test_the_definition_written_out() -> None:
    rng = np.random.default_rng(0)
    grid = {CLEAN: 0.8} | {Condition(n, s): float(rng.random()) for n in BENCHMARK for s in SEVERITIES}
    ce, relative = [], []
    for name in BENCHMARK:
        mine = [1 - grid[Condition(name, s)] for s in SEVERITIES]
        theirs = [ALEXNET_ERRORS[name]] * 5
        ce.append(sum(mine) / sum(theirs))
        relative.append(sum(e - 0.2 for e in mine) / sum(e - ALEXNET_CLEAN_ERROR for e in theirs))
    assert errors(grid).mCE == pytest.approx(np.mean(ce), abs=1e-12)
    assert errors(grid).relative_mCE == pytest.approx(np.mean(relative), abs=1e-12)
    assert errors(grid).CE["snow"] == pytest.approx(ce[7], abs=1e-12)


def test_a_grid_with_a_gap_is_labelled() -> None:
    grid = alexnet()
    del grid[Condition("fog", 3)], grid[CLEAN]
    found = errors(grid)
    assert not found.complete and found.label == "mCE(14/15 corruptions)" and "fog" not in found.CE
    assert found.missing == (Condition("fog", 3),) and math.isnan(found.relative_mCE) and math.isnan(found.clean_error)
    assert found.to_dict()["relative_mCE"] is None and json.dumps(found.to_dict())
    with pytest.raises(BadValue, match="scores must be fractions"):
        errors({**alexnet(), Condition("snow", 1): 76.0})
    assert math.isnan(errors({}).mCE) and errors({}).label == "mCE(0/15 corruptions)"


@pytest.mark.realdata
def test_the_errors_are_those_that_were_published(real_data: Path) -> None:
    path = real_data / "ref_robustness_results/classification/alexnet_imagenet_c_error.json"
    published = json.loads(path.read_text())
    assert {n: round(100 * v, 4) for n, v in ALEXNET_ERRORS.items()} == {n: published[n] for n in BENCHMARK}
    assert 100 * ALEXNET_CLEAN_ERROR == published["clean"]


@pytest.mark.realdata
def test_alexnet_as_robustbench_measured_it_has_100(real_data: Path) -> None:
    path = real_data / "ref_robustness_results/classification/imagenet_unaggregated_results.csv"
    names, levels, *rows = csv.reader(path.read_text().splitlines())
    found = {}
    for row in rows:
        cells = zip(names[1:], levels[1:], row[1:], strict=True)
        found[row[0]] = 100 * errors({Condition(name, int(level)): float(value) for name, level, value in cells}).mCE
    assert found["AlexNet"] == pytest.approx(100, abs=0.1)
    assert found["Standard_R50"] == pytest.approx(76.7, abs=0.5), "the published value of another evaluation"
