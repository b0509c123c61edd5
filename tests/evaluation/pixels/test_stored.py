"""ImageNet-C-style folders: the accuracy of the files that lie there, mCE of a whole grid, files that have changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmpretrain")

from mmengine.registry import MODELS, init_default_scope  # noqa: E402
from PIL import Image  # noqa: E402

from rtx.cli.main import main  # noqa: E402
from rtx.errors import BadValue, DataError, RunConflict  # noqa: E402
from rtx.evaluation.evaluate import evaluate  # noqa: E402
from rtx.evaluation.pixels.stored import Stored  # noqa: E402
from rtx.evaluation.pixels.stored_files import StoredSet, find_stored  # noqa: E402
from rtx.metrics.imagenet_c import ALEXNET_ERRORS  # noqa: E402
from rtx.results.command import read_commands  # noqa: E402
from rtx.results.evaluation import Evaluation  # noqa: E402
from rtx.results.intervals import confidence  # noqa: E402
from rtx.sources.catalog.archs import build_reference  # noqa: E402
from rtx.types import SEVERITIES, Condition  # noqa: E402
from tests.evaluation.class_folders import MEAN, NAMES, STD, class_config, make_folders, picture, train  # noqa: E402
from tests.evaluation.pixels.stored_world import GROUPS, by_shade, make_stored, shade_model  # noqa: E402


def evaluate_stored(
    model: Any, files: StoredSet, out: Path, *, cfg: Any = None, images: str = "as_is", **options: Any
) -> dict[str, Any]:
    return evaluate(model, cfg or files.base, out, pixels=Stored(files, images), **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("c")
    make_stored(root / "c", nested=True)
    for label, name in enumerate(NAMES):
        (root / "val" / name).mkdir(parents=True)
        for n in range(2):
            Image.fromarray(np.full((90, 75, 3), 20 + 35 * label, np.uint8)).save(root / "val" / name / f"{n:03d}.png")
    stored = find_stored(root / "c", root / "val")
    return root, root / "out", evaluate_stored(shade_model(), stored, root / "out", batch_size=6, workers=0)


def accuracy(folder: Path) -> float:
    hits = [
        by_shade([np.asarray(Image.open(p))])[0].argmax() == NAMES.index(p.parent.name) for p in folder.rglob("*.PNG")
    ]
    return float(np.mean(hits))


def test_every_cell_and_mce_of_a_whole_grid_by_hand(whole: tuple[Path, Path, dict[str, Any]]) -> None:
    root, out, summary = whole
    ce, relative, cells = [], [], []
    for group, names in GROUPS.items():
        for name in names:
            row = [accuracy(root / "c" / group / name / str(s)) for s in SEVERITIES]
            assert row == [summary["cells"][f"{name}_{s}"]["metrics"]["accuracy_top1"] for s in SEVERITIES]
            cells += row
            ce.append(sum(1 - a for a in row) / (5 * ALEXNET_ERRORS[name]))
            relative.append(sum(1 - a for a in row) / (5 * (ALEXNET_ERRORS[name] - 0.435)))
    found = json.loads((out / "imagenet_c.json").read_text())
    assert summary["P"] == 1 and summary["complete"] and summary["label"] == "mPC" and found["label"] == "mCE"
    assert summary["mPC"] == pytest.approx(np.mean(cells)) == summary["rPC"] and 0.3 < summary["mPC"] < 0.9
    assert found["mCE"] == pytest.approx(np.mean(ce), abs=1e-12)
    assert found["relative_mCE"] == pytest.approx(np.mean(relative), abs=1e-12) and found["clean_error"] == 0
    card = summary["protocol"]
    assert (card["corruption_engine"], card["corruption_at"]) == ("stored_files", "stored_files_as_is")
    assert confidence(Evaluation.read(out).evidence, "accuracy_top1", resamples=20).mPC is not None


def test_a_second_call_does_nothing_and_a_changed_file_is_found(
    whole: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    root, out, summary = whole
    shutil.copytree(out, tmp_path / "out")
    shutil.copytree(root / "c", tmp_path / "c")
    done: list[Any] = []
    options: dict[str, Any] = dict(workers=0, batch_size=6, on_cell=lambda cell, *_: done.append(cell.condition.key))
    stored = find_stored(tmp_path / "c", root / "val")
    again = evaluate_stored(shade_model(), stored, tmp_path / "out", **options)
    assert not done and again["cells"] == summary["cells"] and again["key"] == summary["key"]
    (tmp_path / "out/cells/fog_3.json").unlink()
    evaluate_stored(shade_model(), stored, tmp_path / "out", **options)
    assert done == ["fog_3"]
    with pytest.raises(RunConflict, match="model_name"):
        evaluate_stored(shade_model("another"), stored, tmp_path / "out", **options)
    path = tmp_path / "c/weather/fog/3/n01/000.PNG"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(RunConflict, match=r"weather/fog/3: files have changed since fog_3 was evaluated"):
        evaluate_stored(shade_model(), stored, tmp_path / "out", **options)
    path.unlink()
    with pytest.raises(
        DataError, match=r"fog/3: lacks 1 of the 12 images of .*gaussian_noise/1, the first is 'n01/000'"
    ):
        evaluate_stored(shade_model(), stored, tmp_path / "new", **options)


def test_a_part_of_the_grid_is_no_mce(tmp_path: Path) -> None:
    make_stored(tmp_path / "c", ("snow", "contrast"), per_class=1)
    shutil.rmtree(tmp_path / "c/contrast/4")
    summary = evaluate_stored(shade_model(), find_stored(tmp_path / "c"), tmp_path / "out", workers=0)
    found = summary["imagenet_c"]
    assert found["label"] == "mCE(1/15 corruptions)" and not found["complete"] and len(found["missing"]) == 66
    assert list(found["CE"]) == ["snow"] and found["relative_mCE"] is None and summary["P"] is None
    with pytest.raises(DataError, match="none of the wanted conditions is there"):
        evaluate_stored(shade_model(), find_stored(tmp_path / "c"), tmp_path / "x", corruptions=["fog"])
    with pytest.raises(DataError, match="none of the wanted conditions is there"):
        find_stored(tmp_path / "c", tmp_path / "c/snow/1").wanted(["fog"], SEVERITIES)
    shutil.copytree(tmp_path / "c/snow", tmp_path / "c/weather/snow")
    with pytest.raises(DataError, match="snow is there twice"):
        find_stored(tmp_path / "c")
    with pytest.raises(DataError, match="holds no <corruption>/<severity> folder"):
        find_stored(tmp_path / "out")


def test_a_config_with_its_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "c"
    for severity in SEVERITIES:
        make_folders(root / "contrast" / str(severity), per_class=1)
        for path in (root / "contrast" / str(severity)).rglob("*.png"):
            label = NAMES.index(path.parent.name)
            faded = 128 + (picture(label, 7, (64, 64)).astype(float) - 128) / severity
            Image.fromarray(faded.astype(np.uint8)).save(path)
    cfg = class_config(tmp_path / "nowhere")
    cfg.dump(str(tmp_path / "net.py"))
    init_default_scope("mmpretrain")
    model = MODELS.build({"data_preprocessor": cfg.data_preprocessor, **cfg.model})
    train(model)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "net.pth")
    rest = ["--config", str(tmp_path / "net.py"), "--checkpoint", str(tmp_path / "net.pth"), "--workers", "0"]
    assert main(["imagenet_c", str(root), "--out", str(tmp_path / "out"), *rest]) == 0
    printed = capsys.readouterr().out
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    for severity in SEVERITIES:
        hits = []
        for path in sorted((root / "contrast" / str(severity)).rglob("*.png")):
            x = (np.asarray(Image.open(path)) - np.array(MEAN)) / np.array(STD)
            with torch.no_grad():
                logits = model(torch.from_numpy(x).permute(2, 0, 1)[None].float(), mode="tensor")
            hits.append(int(logits.argmax()) == NAMES.index(path.parent.name))
        assert summary["cells"][f"contrast_{severity}"]["metrics"]["accuracy_top1"] == np.mean(hits)
    assert "mCE(1/15 corruptions)" in printed and "INCOMPLETE: 70 of 75 cells" in printed
    low, high = summary["intervals"]["mPC"]
    assert low <= summary["mPC"] <= high and f"[{100 * low:.2f}, {100 * high:.2f}]" in printed
    (command,) = read_commands(tmp_path / "out")
    assert command.conditions == tuple(Condition("contrast", s) for s in SEVERITIES), "what `rtx status` counts"
    with pytest.raises(BadValue, match=r"--workers -1: must be 0"):
        evaluate_stored(model, find_stored(root), tmp_path / "b", cfg=cfg, workers=-1)
    cfg.test_dataloader.dataset.pipeline[2].crop_size = 80
    with pytest.raises(BadValue, match=r"is 64 x 64 pixels, the network takes 80; --stored resize"):
        evaluate_stored(model, find_stored(root), tmp_path / "b", cfg=cfg, workers=0)
    larger = evaluate_stored(model, find_stored(root), tmp_path / "c2", cfg=cfg, workers=0, images="resize")
    assert larger["protocol"]["corruption_at"] == "stored_files_resize"


def test_a_source_by_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_stored(tmp_path / "c", ("fog",), per_class=1)
    net = build_reference("resnet18", num_classes=len(NAMES)).eval()
    torch.save({"state_dict": net.state_dict()}, tmp_path / "net.pth")
    spec = f"resnet18:{tmp_path / 'net.pth'}"
    common = ["imagenet_c", str(tmp_path / "c"), "--severities", "2", "--workers", "0", "--out", str(tmp_path / "out")]
    assert main([*common, "--source", spec]) == 2
    assert "is 64 x 64 pixels, the network takes 224; --stored resize" in capsys.readouterr().err
    assert main([*common, "--source", spec, "--stored", "resize", "--overwrite"]) == 0
    (tmp_path / "six.txt").write_text("\n".join([*NAMES[:-1], "n99"]))
    assert main([*common, "--source", spec, "--classes", str(tmp_path / "six.txt")]) == 2
    assert "1 folders are named after no class of the model, the first is 'n06'" in capsys.readouterr().err
    (tmp_path / "seven.txt").write_text("\n".join([*NAMES, "n99"]))
    assert main([*common, "--source", spec, "--classes", str(tmp_path / "seven.txt")]) == 2
    assert "fc.weight" in capsys.readouterr().err
    assert main(common) == 2 and "name the classifier" in capsys.readouterr().err


def test_a_sources_own_head_on_clean_class_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_folders(tmp_path / "val", per_class=2)
    net = build_reference("resnet18", num_classes=len(NAMES)).eval()
    with torch.no_grad():
        net.fc.weight.zero_()
        net.fc.bias.copy_(torch.arange(len(NAMES)) == 2)  # says the third class, whatever it sees
    torch.save(net.state_dict(), tmp_path / "net.pth")
    rest = ["--source", str(tmp_path / "net.pth"), "--workers", "0", "--out", str(tmp_path / "out")]
    assert main(["imagenet_c", "--clean", str(tmp_path / "val"), *rest]) == 0
    printed = capsys.readouterr().out
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert [*summary["cells"]] == ["clean"] and summary["P"] == pytest.approx(1 / len(NAMES))
    assert f"top-1 accuracy P {100 / len(NAMES):.2f}" in printed and "mCE" not in printed
    assert main(["imagenet_c", *rest]) == 2 and "give ROOT" in capsys.readouterr().err
    assert main(["imagenet_c", "--clean", str(tmp_path / "no"), *rest]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_lines_of_a_list_of_classes_may_have_words_behind_the_name_and_blanks_in_it(tmp_path: Path) -> None:
    from rtx.cli.imagenet_c import _lines

    names = ("n01", "water ouzel")
    make_folders(tmp_path / "c/fog/1", names=names)
    path = tmp_path / "classes.txt"
    path.write_bytes(b"\xef\xbb\xbfwater ouzel\r\n\r\nn01 tench, Tinca tinca\r\n")
    assert find_stored(tmp_path / "c", classes=_lines(str(path))).classes == ("water ouzel", "n01")
