"""Difficult objects train with `KeepDifficult` and without it do not."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.makers import make_voc


@pytest.fixture
def difficult_voc(tmp_path: Path) -> Path:
    """A made VOC whose every first object is difficult."""
    root = make_voc(tmp_path / "voc")
    for path in root.rglob("Annotations/*.xml"):
        tree = ElementTree.parse(path)
        for item in tree.getroot().findall("object")[:1]:
            mark = item.find("difficult")
            if mark is None:
                mark = ElementTree.SubElement(item, "difficult")
            mark.text = "1"
        tree.write(path)
    return root


@pytest.mark.parametrize(("config", "expected"), [("fasterrcnn_r50_voc.py", False), ("fasterrcnn_r50_d2_voc.py", True)])
def test_difficult_objects_train_as_in_detectron2_and_only_there(
    difficult_voc: Path, config: str, expected: bool
) -> None:
    from mmengine.registry import DATASETS, init_default_scope

    from rtx.config import load
    from rtx.datasets.openmmlab.with_data import with_data

    cfg = with_data(load(Path(__file__).parents[3] / "configs" / config), difficult_voc)
    init_default_scope("mmdet")
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    samples = [dataset[i]["data_samples"] for i in range(len(dataset))]
    ignored = sum(len(s.ignored_instances) for s in samples)
    # The made objects are 24 px and more; only mmdet's own leaf ignores what is under 32 px.
    assert (ignored == 0) == expected
    assert sum(len(s.gt_instances) for s in samples) > 0
