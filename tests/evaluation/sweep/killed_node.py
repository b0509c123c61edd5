"""A process that evaluates on a cluster of its own, whose second node it kills in the middle.

    python -m tests.evaluation.sweep.killed_node DATA OUT AFTER

Its last line is the keys of the cells that were written, in order, as JSON; the node goes after so many of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from rtx.engines import Engine
from rtx.evaluation.evaluate import evaluate
from rtx.evaluation.sweep.events import CellDone
from tests.evaluation.stand_in import PixelDetector, coco_config


def main(data: str, out: str, after: str) -> None:
    small = dict(num_cpus=1, object_store_memory=100 * 2**20, include_dashboard=False)
    cluster = Cluster(initialize_head=True, head_node_args=small)
    node = cluster.add_node(**small)
    ray.init(cluster.address, log_to_driver=False, logging_level="error")
    written: list[str] = []

    def on_event(event: Any) -> None:
        if isinstance(event, CellDone):
            written.append(event.cell.condition.key)
            if len(written) == int(after):
                cluster.remove_node(node, allow_graceful=False)

    options = dict(run_on=Engine("ray", workers=2), on_event=on_event, workers=0, resamples=10)
    try:
        evaluate(PixelDetector(), coco_config(Path(data)), Path(out), **options)
    finally:
        ray.shutdown()
        cluster.shutdown()
    print(json.dumps(written))


if __name__ == "__main__":
    main(*sys.argv[1:])
