"""Small COCO and VOC sets registered in detectron2, and small configs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from rtx.datasets.voc import NAMES
from tests.makers import COCO_NAMES


@pytest.fixture(scope="session")
def d2_voc(made_voc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One year of VOC with the tags that detectron2's evaluation reads besides."""
    year = Path(shutil.copytree(made_voc / "VOCdevkit/VOC2007", tmp_path_factory.mktemp("d2") / "VOC2007"))
    for path in (year / "Annotations").iterdir():
        text = path.read_text()
        path.write_text(text.replace("<difficult>", "<pose>Left</pose><truncated>0</truncated><difficult>"))
    return year


@pytest.fixture(scope="session")
def d2_sets(made_coco: Path, d2_voc: Path) -> None:
    """`made_train`, `made_val` of the made COCO set, and `made_voc_2007_test`, `..._trainval`."""
    from detectron2.data import MetadataCatalog
    from detectron2.data.datasets import register_coco_instances
    from detectron2.data.datasets.pascal_voc import register_pascal_voc

    for split in ("train", "val"):
        file = made_coco / f"annotations/instances_{split}2017.json"
        register_coco_instances(f"made_{split}", {}, str(file), str(made_coco / f"{split}2017"))
        MetadataCatalog.get(f"made_{split}").thing_classes = list(COCO_NAMES)
    for split in ("trainval", "test"):
        name = f"made_voc_2007_{split}"
        register_pascal_voc(name, str(d2_voc), split, 2007, class_names=NAMES)
        MetadataCatalog.get(name).evaluator_type = "pascal_voc"


@pytest.fixture
def small(d2_sets: None, tmp_path: Path) -> Any:
    """Makes a config of a few iterations on a CPU from a recipe of `configs/detectron2`."""
    from rtx.bridges.detectron2 import load_config

    def make(recipe: str, *options: Any) -> Any:
        words = dict(zip(options[::2], options[1::2], strict=True))
        voc = "voc" in recipe
        settings = {
            "RTX.SOURCE": "resnet18:random",
            "RTX.CORRUPTIONS": "['fog']",
            "RTX.SEVERITIES": "[3]",
            "RTX.RESAMPLES": 0,
            "DATASETS.TRAIN": "('made_voc_2007_trainval',)" if voc else "('made_train',)",
            "DATASETS.TEST": "('made_voc_2007_test',)" if voc else "('made_val',)",
            "MODEL.DEVICE": "cpu",
            "MODEL.ROI_HEADS.NUM_CLASSES": 20 if voc else 3,
            "MODEL.FPN.OUT_CHANNELS": 32,
            "MODEL.ROI_BOX_HEAD.FC_DIM": 64,
            "MODEL.RPN.POST_NMS_TOPK_TRAIN": 50,
            "MODEL.RPN.POST_NMS_TOPK_TEST": 20,
            "MODEL.ROI_MASK_HEAD.CONV_DIM": 16,
            "INPUT.MIN_SIZE_TRAIN": "(96,)",
            "INPUT.MIN_SIZE_TEST": 96,
            "INPUT.MASK_FORMAT": "bitmask",
            "SOLVER.IMS_PER_BATCH": 2,
            "SOLVER.MAX_ITER": 3,
            "SOLVER.STEPS": "(2,)",
            "SOLVER.BASE_LR": 0.01,
            "DATALOADER.NUM_WORKERS": 0,
            "SEED": 1,
            "OUTPUT_DIR": str(tmp_path / "run"),
            **words,
        }
        path = Path(__file__).resolve().parents[2] / "configs/detectron2" / f"{recipe}.yaml"
        return load_config(path, [word for pair in settings.items() for word in pair])

    return make
