"""Training from the command line: what is missing is said before anything starts; a run folder says how it was made."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rtx import training
from rtx.cli import corrupt_eval, train
from rtx.errors import BadValue, RunConflict, UnknownName, WeightsError, WeightsMismatch
from tests.evaluation.worlds import table

PROJECT = Path(__file__).resolve().parents[2]
LEAF = str(PROJECT / "configs" / "maskrcnn_r50_coco.py")
EPS3 = str(PROJECT / "configs" / "maskrcnn_r50_eps3_coco.py")
# Small enough for a test, through the flags that a user has.
SMALL = [
    "train_dataloader.batch_size=2",
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
    "val_dataloader.num_workers=0",
    "val_dataloader.persistent_workers=False",
    "test_dataloader.num_workers=0",
    "test_dataloader.persistent_workers=False",
    "train_cfg.max_epochs=1",
    "default_hooks.logger.interval=1",
    "train_dataloader.dataset.pipeline.2.scale=(128,96)",
    "val_dataloader.dataset.pipeline.1.scale=(128,96)",
    "test_dataloader.dataset.pipeline.1.scale=(128,96)",
    "model.train_cfg.rpn_proposal.nms_pre=100",
    "model.train_cfg.rpn_proposal.max_per_img=50",
    "model.test_cfg.rpn.max_per_img=50",
]


def parse(module: Any, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args(arguments)


def test_what_is_missing_is_listed_with_place_and_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RTX_WEIGHTS", raising=False)
    with pytest.raises(BadValue) as caught:
        train.run(parse(train, EPS3))
    text = str(caught.value)
    assert "2 things are missing" in text
    assert "resnet50_l2_eps3.ckpt" in text
    assert str(Path("weights")) in text
    assert "data/coco" in text
    assert "--data-root" in text
    assert not (tmp_path / "work_dirs").exists(), "nothing is started"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["configs/nothing.py"], BadValue, "configs/nothing.py.*does not exist"),
        ([LEAF, "--source", "resnet50_l2_ep3"], UnknownName, "did you mean 'resnet50_l2_eps3'"),
        ([LEAF, "--transfer", "fixd"], UnknownName, "did you mean 'fixed'"),
        ([LEAF, "--transfer", "blocks:x"], BadValue, "blocks:k with k a whole number"),
    ],
)
def test_wrong_names_are_named(arguments: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        train.run(parse(train, *arguments))


def test_more_blocks_than_there_are_is_an_error(made_coco: Path, tmp_path: Path) -> None:
    arguments = [LEAF, "--data-root", str(made_coco), "--source", "random", "--work-dir", str(tmp_path)]
    with pytest.raises(BadValue, match="this backbone has 16 blocks"):
        train.run(parse(train, *arguments, "--transfer", "blocks:17"))


def test_flags_reach_the_config(tmp_path: Path) -> None:
    args = parse(
        train,
        LEAF,
        "--amp",
        "--auto-scale-lr",
        "--seed",
        "7",
        "--work-dir",
        str(tmp_path),
        "--resume",
        "--source",
        "random",
    )
    cfg = train.prepare(args)
    assert cfg.optim_wrapper.type == "AmpOptimWrapper"
    assert cfg.auto_scale_lr.enable is True
    assert cfg.randomness.seed == 7
    assert cfg.work_dir == str(tmp_path)
    assert (cfg.resume, cfg.load_from) == (True, None)
    assert cfg.model.backbone.source == "random"


def test_from_scratch_everything_trains_unless_something_else_is_asked_for() -> None:
    backbone = train.prepare(parse(train, LEAF, "--source", "random")).model.backbone
    assert (backbone.frozen_stages, backbone.norm_policy) == (-1, "train")
    asked = train.prepare(parse(train, LEAF, "--source", "random", "--transfer", "fixed")).model.backbone
    assert (asked.frozen_stages, asked.norm_policy) == (4, "eval")


def test_the_hooks_a_flag_adds_are_registered_without_anybody_importing_them() -> None:
    program = (
        "import argparse, sys; from rtx.cli import train; parser = argparse.ArgumentParser();"
        "train.add_arguments(parser); cfg = train.prepare(parser.parse_args(sys.argv[1:]));"
        "from mmengine.registry import HOOKS; print([HOOKS.build(hook) for hook in cfg.custom_hooks])"
    )
    command = [sys.executable, "-c", program, LEAF, "--corrupt-eval"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)
    assert done.returncode == 0, done.stderr[-800:]
    assert "FrozenGuardHook" in done.stdout
    assert "CorruptionEvalHook" in done.stdout


def test_a_setting_made_by_hand_is_not_overruled(made_coco: Path) -> None:
    cfg = train.prepare(
        parse(
            train,
            LEAF,
            "--data-root",
            str(made_coco),
            "--transfer",
            "fixed",
            "--cfg-options",
            "model.backbone.frozen_stages=2",
            "train_dataloader.batch_size=5",
        )
    )
    assert cfg.model.backbone.frozen_stages == 2
    assert cfg.train_dataloader.batch_size == 5


def test_two_transfers_do_not_share_a_default_folder() -> None:
    names = {
        train.default_name(parse(train, LEAF, *more))
        for more in ([], ["--transfer", "fixed"], ["--transfer", "blocks:3"], ["--source", "resnet18_l2_eps3"])
    }
    assert len(names) == 4


@pytest.fixture(scope="module")
def finished(made_coco: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real run: ResNet-18, frozen, one epoch on six small images."""
    out = tmp_path_factory.mktemp("run")
    arguments = [LEAF, "--data-root", str(made_coco), "--source", "random", "--transfer", "fixed", "--seed", "0"]
    small = [*SMALL, "model.backbone.depth=18", "model.neck.in_channels=[64,128,256,512]"]
    assert train.run(parse(train, *arguments, "--work-dir", str(out), "--cfg-options", *small)) == 0
    return out


def test_a_run_folder_holds_config_log_scalars_checkpoint_and_environment(finished: Path) -> None:
    record = json.loads((finished / "environment.json").read_text())
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert (finished / "epoch_1.pth").is_file()
    assert (finished / "maskrcnn_r50_coco.py").is_file()
    assert list(finished.glob("*/*.log"))
    assert list(finished.glob("*/vis_data/scalars.json"))
    assert list(finished.glob("*/vis_data/events.out.tfevents.*"))
    log = next(finished.glob("*/*.log")).read_text()
    assert "frozen" in log


def test_the_frozen_backbone_is_the_initial_one_to_the_bit(finished: Path) -> None:
    """A second run from the same seed has the same start, so a frozen backbone ends the same whatever the data did."""
    state = torch.load(finished / "epoch_1.pth", map_location="cpu", weights_only=False)["state_dict"]
    buffers = {k: v for k, v in state.items() if k.startswith("backbone.") and "running_mean" in k}
    assert buffers
    assert all((v == 0).all() for v in buffers.values()), "no batch statistic moved"


def test_a_folder_of_another_run_is_refused(finished: Path, made_coco: Path) -> None:
    arguments = [
        LEAF,
        "--data-root",
        str(made_coco),
        "--source",
        "random",
        "--transfer",
        "full",
        "--work-dir",
        str(finished),
    ]
    with pytest.raises(RunConflict, match=r"belongs to another run.*--work-dir"):
        training.train(train.prepare(parse(train, *arguments)))


@pytest.mark.parametrize(
    ("option", "name"),
    [
        (["--cfg-options", "optim_wrapper.optimizer.lr=0.5"], "optimiser"),
        (["--cfg-options", "train_cfg.max_epochs=99"], "schedule"),
        (["--seed", "99"], "seed"),
    ],
)
def test_another_recipe_in_the_folder_is_refused_unless_it_goes_on(
    tmp_path: Path, option: list[str], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = [LEAF, "--source", "random", "--seed", "0", "--work-dir", str(tmp_path)]
    before = train.prepare(parse(train, *arguments))
    (tmp_path / "run.json").write_text(json.dumps(training.identity(before)))
    (tmp_path / "epoch_1.pth").touch()
    training.check_run_folder(tmp_path, before)
    other = parse(train, *arguments, *option)
    with pytest.raises(RunConflict, match=rf"\(another {name}\)"):
        training.check_run_folder(tmp_path, train.prepare(other))
    other.resume = "auto"
    training.check_run_folder(tmp_path, train.prepare(other))
    assert name in caplog.text and "the checkpoint's" in caplog.text


def test_a_file_that_would_run_code_is_not_resumed_from(made_coco: Path, tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"state_dict": {}, "x": Evil()}))
    arguments = [
        LEAF,
        "--data-root",
        str(made_coco),
        "--source",
        "random",
        "--work-dir",
        str(tmp_path / "w"),
        "--resume",
        str(path),
    ]
    with pytest.raises(WeightsError, match="without running code"):
        training.train(train.prepare(parse(train, *arguments)))
    assert not (tmp_path / "ran").exists()


def test_training_ends_with_the_clean_cell_that_corrupt_eval_writes_and_finds_there(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = finished / "corruption_eval"
    trained = table(out)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["P"] is not None and summary["mPC"] is None
    where = [str(finished), "--workers", "0", "--device", "cpu"]
    assert corrupt_eval.run(parse(corrupt_eval, *where, "--severities", "0", "--out", str(tmp_path))) == 0
    evaluated = table(tmp_path)
    del evaluated["command.json"]  # a training has another one
    assert trained == evaluated

    cell = (out / "cells" / "clean.json").read_bytes()
    assert corrupt_eval.run(parse(corrupt_eval, *where, "--corruptions", "fog", "--severities", "3")) == 0
    assert (out / "cells" / "clean.json").read_bytes() == cell, "its timing too: it was not evaluated again"
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["cells"]) == {"clean", "fog_3"}
    assert summary["metric"] == "bbox_mAP"
    assert summary["protocol"]["transfer"] is not None
    assert "INCOMPLETE" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["other architecture", "no checkpoint", "missing"])
def test_a_wrong_checkpoint_is_named_before_anything_runs(finished: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "wrong.pth"
    if kind == "other architecture":
        state = torch.load(finished / "epoch_1.pth", map_location="cpu", weights_only=False)["state_dict"]
        state["backbone.conv1.weight"] = torch.zeros(64, 3, 3, 3)
        torch.save({"state_dict": state}, path)
    elif kind == "no checkpoint":
        path.write_text("<!DOCTYPE html><html>please log in</html>")
    error = WeightsMismatch if kind == "other architecture" else WeightsError
    match = "backbone.conv1.weight.*3, 3, 3.*7, 7" if kind == "other architecture" else "wrong.pth"
    with pytest.raises(error, match=match):
        corrupt_eval.run(parse(corrupt_eval, str(finished), str(path), "--device", "cpu", "--out", str(tmp_path / "o")))


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="0 config files"):
        corrupt_eval.resolve(str(tmp_path), None)


def test_a_dry_run_says_what_is_left_and_writes_nothing(finished: Path, tmp_path: Path, capsys: Any) -> None:
    where = ["--out", str(tmp_path / "o"), "--corruptions", "fog", "--workers", "0", "--device", "cpu"]
    arguments = [str(finished), *where, "--severities", "1"]
    assert corrupt_eval.run(parse(corrupt_eval, *arguments, "--dry-run")) == 0
    assert "2 of 2 cells to evaluate on 4 images, 0 cached" in capsys.readouterr().out
    assert not (tmp_path / "o").exists()
    corrupt_eval.run(parse(corrupt_eval, *arguments))
    capsys.readouterr()
    corrupt_eval.run(parse(corrupt_eval, *arguments, "2", "--dry-run"))
    text = capsys.readouterr().out
    assert "1 of 3 cells to evaluate on 4 images, 2 cached; about" in text
    assert text.rstrip().endswith("fog_2")


def test_pixel_statistics_that_the_source_was_not_trained_with_are_refused(made_coco: Path) -> None:
    arguments = [LEAF, "--data-root", str(made_coco), "--cfg-options", "model.data_preprocessor.bgr_to_rgb=False"]
    with pytest.raises(BadValue, match="bgr_to_rgb is False, but source 'resnet50_in1k_v1'"):
        train.run(parse(train, *arguments))


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"state_dict": {}, "meta": {}}], ids=["bare", "empty meta"])
def test_weights_without_training_state_are_not_resumed(tmp_path: Path, content: dict[str, Any]) -> None:
    path = tmp_path / "published.pth"
    torch.save(content, path)
    cfg = train.prepare(parse(train, LEAF, "--work-dir", str(tmp_path / "w"), "--resume", str(path)))
    with pytest.raises(BadValue, match=r"published.pth' holds weights and no training state.*load_from=FILE"):
        training.train(cfg)


def test_a_copied_run_folder_goes_on_from_its_own_checkpoint(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        torch.save({"state_dict": {}, "meta": {"epoch": 1, "iter": 1}}, folder / "epoch_1.pth")
        (folder / "last_checkpoint").write_text(str(first / "epoch_1.pth"))
    cfg = train.prepare(parse(train, LEAF, "--work-dir", str(second), "--resume"))
    training.check_checkpoint(cfg)
    assert (second / "last_checkpoint").read_text() == str(second / "epoch_1.pth")
    (second / "last_checkpoint").write_text(str(tmp_path / "gone" / "epoch_9.pth"))
    with pytest.raises(WeightsError, match=r"epoch_9.pth', which does not exist; name the file: --resume FILE"):
        training.check_checkpoint(cfg)


@pytest.mark.parametrize(
    ("launcher", "said"), [("pytorch", "RANK.*torchrun"), ("slurm", "SLURM_PROCID.*srun"), ("mpi", "OMPI.*mpirun")]
)
def test_a_launcher_that_did_not_start_this_process_is_named(
    launcher: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "OMPI_COMM_WORLD_LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadValue, match=f"--launcher {launcher}: {said}"):
        train.prepare(parse(train, LEAF, "--launcher", launcher))


@pytest.mark.parametrize("option", ["load_from.x=1", "param_scheduler.7.end=3", "model.type.x=1"])
def test_an_option_that_does_not_fit_the_config_is_named(option: str) -> None:
    name = re.escape(option.partition("=")[0])
    with pytest.raises(BadValue, match=rf"--cfg-options {name}: .*(has no settings; set it|is no place in it; give)"):
        train.prepare(parse(train, LEAF, "--cfg-options", option))


def test_a_misspelt_option_is_said_with_the_nearest_name(caplog: pytest.LogCaptureFixture) -> None:
    train.prepare(parse(train, LEAF, "--cfg-options", "train_dataloder.batch_size=1"))
    assert "has no 'train_dataloder' there, it is added; did you mean 'train_dataloader'?" in caplog.text
    caplog.clear()
    train.prepare(parse(train, LEAF, "--cfg-options", "train_dataloader.batch_size=1", "randomness.seed=3"))
    assert "train_dataloader" not in caplog.text


def test_an_interrupted_training_says_what_is_there_to_go_on_with(tmp_path: Path) -> None:
    saving = dict(checkpoint=dict(type="CheckpointHook", interval=2))
    from mmengine.config import Config

    cfg = Config(dict(work_dir=str(tmp_path), default_hooks=saving))
    words = ["rtx", "train", "my config.py"]
    said = training.how_to_go_on(cfg, words)
    assert (
        "before the first checkpoint" in said and "after epoch 2" in said and said.endswith("rtx train 'my config.py'")
    )
    (tmp_path / "epoch_2.pth").touch()
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "epoch_2.pth"))
    said = training.how_to_go_on(cfg, words)
    assert "epoch_2.pth is kept" in said and said.endswith("rtx train 'my config.py' --resume")
    assert training.how_to_go_on(cfg, [*words, "--resume"]).count("--resume") == 1
