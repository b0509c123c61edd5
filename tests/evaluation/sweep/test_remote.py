"""Cells of Ray's workers are those of one process, whatever happens to the workers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from rtx.engines import Engine
from rtx.errors import BadValue, DataError, RunConflict
from rtx.evaluation.evaluate import evaluate, prepare
from rtx.evaluation.sweep.events import CellDone
from rtx.evaluation.sweep.remote import CellSetup, one_card
from rtx.evaluation.sweep.share import Share
from tests.evaluation.stand_in import PixelDetector, coco_config
from tests.makers import make_coco

RAY = Engine("ray", workers=2)
FEW = dict(corruptions=("contrast", "fog"), severities=(1, 5), workers=0, resamples=10)


def contents(out: Path) -> Iterator[tuple[str, Any]]:
    """Every file; of a cell all but its timing and the checksum over it."""
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        found: Any = path.read_bytes()
        if path.parent.name == "cells" and path.suffix == ".json":
            found = {k: v for k, v in json.loads(found).items() if k not in ("timing", "checksum")}
        yield str(path.relative_to(out)), found


def test_the_same_bytes_but_for_timing(two_nodes: Any, made_coco: Path, tmp_path: Path) -> None:
    for name, engine in (("serial", "serial"), ("ray", RAY)):
        evaluate(PixelDetector(), coco_config(made_coco), tmp_path / name, run_on=engine, **FEW)
    assert dict(contents(tmp_path / "serial")) == dict(contents(tmp_path / "ray"))
    assert len(list((tmp_path / "ray" / "cells").glob("*.json"))) == 5


@pytest.mark.slow
def test_loader_processes_of_a_worker(two_nodes: Any, made_coco: Path, tmp_path: Path) -> None:
    options = {**FEW, "severities": (1,), "corruptions": ("contrast",)}
    here = evaluate(PixelDetector(), coco_config(made_coco), tmp_path / "a", **options)
    there = evaluate(PixelDetector(), coco_config(made_coco), tmp_path / "b", run_on=RAY, **{**options, "workers": 1})
    assert here["cells"] == there["cells"]


def test_images_that_a_node_does_not_see_are_an_error_before_anything_starts(
    tmp_path: Path,
) -> None:
    data = make_coco(tmp_path / "coco")
    job = prepare(PixelDetector(), coco_config(data), tmp_path / "out", **FEW)
    setup = CellSetup(job, [], "mmdet")
    setup("cpu")
    min((data / "val2017").iterdir()).unlink()
    with pytest.raises(DataError, match=r"image .* is not there; each node must see the data"):
        setup("cpu")


def test_workers_of_two_kinds_are_refused() -> None:
    cards = {"a/1": {"device": "NVIDIA T4"}, "b/2": {"device": "NVIDIA A100"}}
    with pytest.raises(RunConflict, match="a/1 and b/2 differ in device: NVIDIA T4 and NVIDIA A100"):
        one_card(cards)
    assert one_card({"a/1": cards["a/1"]}) == cards["a/1"]


def test_ranks_and_ray_are_refused(made_coco: Path, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="leave --launcher away"):
        evaluate(PixelDetector(), coco_config(made_coco), tmp_path, share=Share(0, 2), run_on="ray", **FEW)


@pytest.mark.slow
def test_a_node_killed_in_the_middle_costs_nothing(made_coco: Path, tmp_path: Path) -> None:
    import ray
    from ray.cluster_utils import Cluster

    small = dict(num_cpus=1, object_store_memory=100 * 2**20, include_dashboard=False)
    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args=small)
    node = cluster.add_node(**small)
    ray.init(cluster.address, log_to_driver=False, logging_level="error")
    config: Config = coco_config(made_coco)
    written: list[str] = []

    def on_event(event: Any) -> None:
        if isinstance(event, CellDone):
            written.append(event.cell.condition.key)
            if len(written) == 20:
                cluster.remove_node(node, allow_graceful=False)

    try:
        options = dict(workers=0, resamples=10)
        evaluate(PixelDetector(), config, tmp_path / "ray", run_on=RAY, on_event=on_event, **options)
    finally:
        ray.shutdown()
        cluster.shutdown()
    evaluate(PixelDetector(), config, tmp_path / "serial", **options)
    assert len(written) == len(set(written)) == 76, "no finished cell is computed twice"
    assert dict(contents(tmp_path / "serial")) == dict(contents(tmp_path / "ray"))
