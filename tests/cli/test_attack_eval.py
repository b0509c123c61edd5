"""`rtx attack_eval` as a person types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from rtx.adversarial.attack import Perturbed
from rtx.cli import main as cli
from rtx.cli.attack_eval import eps_of
from rtx.errors import BadValue
from tests.evaluation.class_folders import NAMES, class_config, make_folders, train

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a trained classifier."""
    root = tmp_path_factory.mktemp("run")
    cfg = class_config(make_folders(root / "data"))
    init_default_scope("mmpretrain")
    model = MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor})
    train(model)
    cfg.dump(str(root / "made.py"))
    torch.save({"state_dict": model.state_dict(), "meta": {}}, root / "epoch_1.pth")
    (root / "last_checkpoint").write_text(str(root / "epoch_1.pth"))
    return root


def test_a_run_folder_is_attacked_resumed_and_reported(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["attack_eval", str(run), "--eps", "2", "8/255", "--steps", "3", "--resamples", "20", "--workers", "0"]
    assert cli.main(words) == 0
    text = capsys.readouterr().out
    assert "Linf 2/255" in text and "Linf 8/255" in text and "PGD-3 on ce" in text and "mPC" not in text
    cells = run / "attack_eval" / "cells"
    assert sorted(path.stem for path in cells.glob("*.json")) == ["clean", "linf_2", "linf_8"]
    before = {path: path.stat().st_mtime_ns for path in cells.iterdir()}
    assert cli.main([*words, "--eps", "2", "8"]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in cells.iterdir()}
    assert cli.main(["status", str(run)]) == 0
    told = capsys.readouterr().out
    assert "complete" in told and "3/3" in told and "mPC" not in told


@pytest.mark.slow
def test_two_processes_find_what_one_finds(run: Path, tmp_path: Path) -> None:
    found = []
    for count, launcher in ((1, "none"), (2, "pytorch")):
        out = tmp_path / str(count)
        start = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        words = [
            "tools/attack_eval.py",
            str(run),
            "--eps",
            "2",
            "6",
            "--steps",
            "4",
            "--restarts",
            "2",
            "--workers",
            "0",
        ]
        words += ["--resamples", "0", "--out", str(out), "--batch-size", str(7 - 3 * count), "--launcher", launcher]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, *(["-m", *start] if count > 1 else []), *words]
        done = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stderr[-3000:]
        cells = json.loads((out / "summary.json").read_text())["cells"]
        found.append({key: cell["metrics"] for key, cell in cells.items()})
    assert set(found[0]) == {"clean", "linf_2", "linf_6"} and found[0] == found[1]


def test_another_attack_does_not_mix_with_the_first(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["attack_eval", str(run), "--eps", "2", "--resamples", "0", "--workers", "0", "--out", str(run / "other")]
    assert cli.main([*words, "--steps", "2"]) == 0
    assert cli.main([*words, "--steps", "3"]) == 2
    assert "attack" in capsys.readouterr().err


def test_a_surrogate_is_another_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run / "transfer"
    words = ["attack_eval", str(run), "--eps", "8", "--steps", "2", "--resamples", "0", "--surrogate", str(run)]
    assert cli.main([*words, "--out", str(out), "--workers", "0"]) == 0
    card = json.loads((out / "protocol.json").read_text())
    assert card["attack"]["surrogate_sha256"] == card["weights_sha256"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--eps", "0"], "eps 0"), (["--eps", "256"], "so at most 255"), (["--eps", "x"], "--eps x: is no number"),
        (["--eps", "1.5/1"], "no number"), (["--threat", "l2", "--eps", "-1"], "eps -1"),
        (["--steps", "0"], "steps 0"), (["--loss", "js"], "js"), (["--target", "9"], "target 9: must be 0 to 5"),
        (["--target", "-1"], "target -1: must be 0 to 5"), (["--queries", "-1"], "queries -1"),
        (["--restarts", "0"], "restarts 0"),
        (["--method", "autoattack", "--restarts", "2"], "autoattack with restarts"),
        (["--weights", "x.pth"], "only with --model"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_refused(run: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["attack_eval", str(run), "--out", str(run / "wrong"), *words]) == 2
    assert says in capsys.readouterr().err
    assert not (run / "wrong").exists(), "nothing was scored before"


def test_autoattack_without_its_package_names_the_extra(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    assert cli.main(["attack_eval", str(run), "--method", "autoattack", "--out", str(run / "wrong")]) == 2
    assert "pip install 'rtx-robustness[autoattack]'" in capsys.readouterr().err


def test_autoattack_by_a_stand_in_for_its_package(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import rtx.adversarial.autoattack as room

    class StandIn:
        def __init__(self, scores, **given):  # type: ignore[no-untyped-def]
            assert given["norm"] == "Linf" and given["eps"] == 8 / 255
            self.scores, self.apgd_targeted, self.fab = scores, SimpleNamespace(), SimpleNamespace()

        def run_standard_evaluation(self, images, labels):  # type: ignore[no-untyped-def]
            assert len(images) == 1 and self.apgd_targeted.n_target_classes == self.fab.n_target_classes == 5
            return images + 1, self.scores(images).argmax(1)

    monkeypatch.setitem(sys.modules, "pyautoattack", SimpleNamespace(AutoAttack=StandIn))
    monkeypatch.setattr(room, "version", lambda name: "0.0")
    out = run / "auto"
    words = ["attack_eval", str(run), "--method", "autoattack", "--eps", "8", "--out", str(out)]
    assert cli.main([*words, "--resamples", "0", "--workers", "0"]) == 0
    assert "AutoAttack, standard version (pyautoattack 0.0)" in capsys.readouterr().out
    card = json.loads((out / "protocol.json").read_text())["attack"]
    assert card == {"threat": "linf", "method": "autoattack", "package": "pyautoattack 0.0", "losses": []}


def test_a_targeted_attack_ends_in_its_class(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run / "targeted"
    words = ["attack_eval", str(run), "--eps", "48", "--steps", "10", "--target", "2", "--keep-predictions"]
    assert cli.main([*words, "--out", str(out), "--resamples", "0", "--workers", "0"]) == 0
    assert "target 2" in capsys.readouterr().out
    cells = json.loads((out / "summary.json").read_text())["cells"]
    hit = cells["linf_48"]["metrics"]["accuracy_top1"]
    assert cells["clean"]["metrics"]["accuracy_top1"] > hit == pytest.approx(1 / len(NAMES)), "right is class 2 alone"


def test_masked_gradients_are_said_beside_the_number(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rtx.evaluation.pixels import attacked

    words = ["attack_eval", str(run), "--eps", "64", "--steps", "2", "--queries", "40", "--resamples", "0"]
    words += ["--workers", "0"]
    assert cli.main([*words, "--out", str(run / "sound")]) == 0
    said = capsys.readouterr().out
    assert "masked" not in said and "then 40 queries of a random search" in said
    monkeypatch.setattr(attacked.Attack, "__call__", lambda self, aim, images, *rest: Perturbed(
        images, images.new_full((len(images),), -1.0), torch.zeros(len(images), dtype=torch.bool)
    ))  # fmt: skip
    assert cli.main([*words, "--out", str(run / "masked")]) == 0
    assert "gradients masked" in capsys.readouterr().out
    sound, masked = (json.loads((run / name / "summary.json").read_text())["attacks"] for name in ("sound", "masked"))
    assert masked["linf_64"] < 1, "what the search has found counts"
    assert sound["linf_64"] <= masked["linf_64"]


PYTHON_MODEL = """
import torch
import rtx

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = torch.nn.Linear(3, 6)

    def forward(self, pixels):
        return {} * self.head({}pixels.mean((2, 3)))

model = rtx.Classifier(Net(), ["n01", "n02", "n03", "n04", "n05", "n06"], crop=64, resize=72)
"""


@pytest.mark.parametrize(
    ("scale", "before", "says"),
    [
        ("100.0", "", None),
        ("float('nan')", "", "the loss under attack is nan"),
        ("1.0", "0 * ", "no gradient for 12 of"),
    ],
    ids=["sound", "nan", "flat"],
)
def test_a_module_of_a_file_of_ones_own(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], scale: str, before: str, says: str | None
) -> None:
    (tmp_path / "net.py").write_text(PYTHON_MODEL.replace("{}", scale, 1).replace("{}", before, 1))
    words = ["attack_eval", "--model", f"python:{tmp_path}/net.py:model", "--data-root", str(run / "data")]
    words += ["--eps", "128", "--steps", "5", "--resamples", "0", "--workers", "0", "--out", str(tmp_path / "out")]
    status = cli.main(words)
    told = capsys.readouterr()
    if scale.startswith("float"):
        assert status == 2 and says in told.err and "image '" in told.err
        return
    assert status == 0 and (says is None or says in told.out)
    scores = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert says or scores["attacks"]["linf_128"] < scores["P"]


def test_a_model_that_no_gradient_passes_through_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.py").write_text(
        "CLASSES = ['n01','n02','n03','n04','n05','n06']\ndef predict(images):\n    return []\n"
    )
    words = ["attack_eval", "--data-root", str(run / "data"), "--out", str(tmp_path / "out")]
    assert cli.main([*words, "--model", f"python:{tmp_path}/f.py:predict"]) == 2
    assert "through which no gradient passes" in capsys.readouterr().err
    assert cli.main([*words, "--model", f"python:{tmp_path}/f.py:predict", "--surrogate", str(run)]) == 2
    assert "--surrogate" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_sources_own_classifier_is_attacked(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    torch.save(resnet18(num_classes=6).state_dict(), tmp_path / "r18.pth")
    words = [
        "attack_eval",
        "--source",
        f"resnet18:{tmp_path}/r18.pth",
        "--threat",
        "l2",
        "--eps",
        "3/32",
        "--steps",
        "1",
    ]
    assert cli.main(words) == 2
    assert "give --data-root DIR" in capsys.readouterr().err
    words += ["--data-root", str(run / "data"), "--limit", "6", "--resamples", "0", "--workers", "0"]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 0
    assert "L2 0.09375" in capsys.readouterr().out


def test_a_pipeline_that_normalises_is_refused_by_the_command(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = Config.fromfile(run / "made.py")
    steps = cfg.test_dataloader.dataset.pipeline
    steps.insert(len(steps) - 1, dict(type="Normalize", mean=[0, 0, 0], std=[255, 255, 255]))
    cfg.dump(str(tmp_path / "bad.py"))
    words = ["attack_eval", str(tmp_path / "bad.py"), str(run / "epoch_1.pth"), "--out", str(tmp_path / "out")]
    assert cli.main([*words, "--steps", "1", "--workers", "0"]) == 2
    assert "the attack cannot be put behind this test pipeline" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_eps_is_written_in_the_unit_of_its_threat_or_as_a_fraction_of_the_range() -> None:
    assert (eps_of("4", "linf"), eps_of("4/255", "linf"), eps_of("3/32", "l2")) == (4, 4, 3 / 32)
    with pytest.raises(BadValue, match="no number"):
        eps_of("1/0", "l2")
