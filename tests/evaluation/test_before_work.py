"""What cannot work is said before the first image, with value, place and remedy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mmdet")

from rtx.cli import corrupt_eval, main
from rtx.errors import BadValue, DataError, DeviceError
from rtx.evaluation.evaluate import prepare
from rtx.evaluation.identity import images_sha256
from rtx.evaluation.models.load import check_device
from rtx.evaluation.protocol import Protocol
from tests.evaluation.stand_in import PixelDetector, coco_config


@pytest.mark.parametrize("seed", [-1, 2**63, 0.5])
def test_a_wrong_seed(made_coco: Path, tmp_path: Path, seed: Any) -> None:
    with pytest.raises(BadValue, match=f"corruption seed {seed}"):
        prepare(PixelDetector(), coco_config(made_coco), tmp_path, seed=seed)


@pytest.mark.parametrize(("option", "value"), [("batch_size", 0), ("workers", -1)])
def test_a_size_that_is_none_before_the_images_are_hashed(option: str, value: int) -> None:
    with pytest.raises(BadValue, match=f"--{option.replace('_', '-')} {value}: must be"):
        Protocol(**{option: value})


@pytest.mark.parametrize("device", ["foo", "cuda:99", "cpu:cpu", ""])
def test_a_device_that_is_not_there(device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DeviceError, match=f"'{device}'.*available: cpu"):
        check_device(device)
    check_device("cpu")
    (tmp_path / "c.py").write_text("")
    if device:
        assert main.main(["corrupt_eval", str(tmp_path / "c.py"), "absent.pth", "--device", device]) == 2
        assert device in capsys.readouterr().err


def test_a_file_name_that_is_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")

    class One:
        def get_data_info(self, index: int) -> dict[str, Any]:
            return {"img_path": str(tmp_path / name)}

    with pytest.raises(DataError, match=r"caf\\xe9.jpg.*rename"):
        images_sha256(One(), [0])


def test_a_copied_run_folder_evaluates_its_own_checkpoint(tmp_path: Path) -> None:
    first, copied = tmp_path / "first", tmp_path / "copied"
    for folder in (first, copied):
        folder.mkdir()
        (folder / "c.py").write_text("")
        (folder / "epoch_1.pth").write_bytes(b"")
        (folder / "last_checkpoint").write_text(str(first / "epoch_1.pth"))
    assert corrupt_eval.resolve(str(copied), None)[1] == copied / "epoch_1.pth"
    (copied / "epoch_1.pth").unlink()
    assert corrupt_eval.resolve(str(copied), None)[1] == first / "epoch_1.pth", "kept elsewhere on purpose"
    (first / "epoch_1.pth").unlink()
    assert corrupt_eval.resolve(str(copied), None)[1] == copied / "epoch_1.pth"


@pytest.mark.parametrize("name", ["test_dataloader", "test_evaluator"])
def test_a_config_that_says_nothing_of_a_test_set(made_coco: Path, tmp_path: Path, name: str) -> None:
    cfg = coco_config(made_coco)
    cfg[name] = None
    with pytest.raises(BadValue, match=f"has no {name}, so nothing can be evaluated; add it"):
        prepare(PixelDetector(), cfg, tmp_path)
