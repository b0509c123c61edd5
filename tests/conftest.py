"""Data that many tests read: small made data sets, and the real ones where a machine has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.makers import make_ade, make_coco, make_voc

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def own_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command holds `torch.load` to weights in its process; tests that read what they wrote share that process."""
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "")
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD")


@pytest.fixture(scope="session")
def made_coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a made COCO data set (3 classes, 6 train and 4 val images); read-only, copy it before changing it."""
    return make_coco(tmp_path_factory.mktemp("made") / "coco")


@pytest.fixture(scope="session")
def made_voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a made VOC2007 (3 of the 20 names, 5 trainval and 4 test images); read-only."""
    return make_voc(tmp_path_factory.mktemp("made") / "voc")


@pytest.fixture(scope="session")
def made_ade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a made ADE20K-style data set (4 classes, 6 training and 4 validation images); read-only."""
    return make_ade(tmp_path_factory.mktemp("made") / "ade")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real development data, `../shared/data` from the project root; skips where it is absent."""
    root = PROJECT.parent / "shared" / "data"
    if not root.is_dir():
        pytest.skip("needs the real development data in ../shared/data beside the project")
    return root


@pytest.fixture(scope="session")
def two_nodes() -> Iterator[Any]:
    """A Ray cluster of two nodes with one CPU each on this machine, which this process drives."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    small = dict(num_cpus=1, object_store_memory=100 * 2**20, include_dashboard=False)
    cluster = Cluster(initialize_head=True, head_node_args=small)
    cluster.add_node(**small)
    ray.init(cluster.address, log_to_driver=False, logging_level="error")
    yield cluster
    ray.shutdown()
    cluster.shutdown()
