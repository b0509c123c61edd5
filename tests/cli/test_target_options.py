"""`rtx train --target`: a run whose clean score, card and corrupted cells are the target's."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mmpretrain")
import torch

from rtx.cli import corrupt_eval, train
from rtx.datasets import classification
from rtx.errors import BadValue, DataError
from rtx.transfer.classify import TargetOptions
from tests.datasets.target_worlds import picture

LEAF = str(Path(__file__).resolve().parents[2] / "configs" / "classify_r50.py")
SMALL = ["--cfg-options", "model.backbone.depth=18", "model.head.in_channels=512"]
SMALL += [
    f"{split}_dataloader.{key}"
    for split in ("train", "val", "test")
    for key in ("num_workers=0", "persistent_workers=False")
]


def parse(module: Any, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of unequal size in both splits; some images are grey."""
    made = tmp_path_factory.mktemp("three")
    for split in ("train", "test"):
        for label, size in enumerate((5, 2, 1)):
            for n in range(size):
                picture(made / split / f"c{label}" / f"{n}.png", 10 * label + n, "L" if n == 1 else "RGB")
    return made


def trained(root: Path, out: Path, *more: str) -> Path:
    arguments = ["--target", "pets", "--data-root", str(root), "--source", "random", "--seed", "3", "--epochs", "2"]
    arguments += ["--images", "6", "--image-size", "32", "--lr", "0.001", "--work-dir", str(out), *more, *SMALL]
    assert train.run(parse(train, LEAF, *arguments)) == 0
    return out


@pytest.fixture(scope="module", autouse=True)
def three_pets() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        row = replace(classification.TARGETS["pets"], classes=3, train=None, test=None)
        patch.setitem(classification.TARGETS, "pets", row)
        yield


@pytest.fixture(scope="module")
def finished(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(root, tmp_path_factory.mktemp("run"), "--transfer", "blocks:1", "--recipe", "utrera")


def test_the_headline_is_accuracy_averaged_over_classes(finished: Path) -> None:
    summary = json.loads((finished / "corruption_eval/summary.json").read_text())
    assert summary["metric"] == "mean_class_accuracy" and summary["P"] is not None
    scores = json.loads((finished / "corruption_eval/cells/clean.json").read_text())["metrics"]
    log = "\n".join(path.read_text() for path in finished.glob("*/vis_data/scalars.json"))
    last = json.loads(log.strip().splitlines()[-1])
    assert last["single-label/recall"] == pytest.approx(100 * scores["mean_class_accuracy"], abs=1e-3)
    assert last["accuracy/top1"] == pytest.approx(100 * scores["accuracy_top1"], abs=1e-3)


def test_run_and_card_say_how_it_was_trained(finished: Path) -> None:
    run = json.loads((finished / "run.json").read_text())["target"]
    card = json.loads((finished / "corruption_eval/summary.json").read_text())["protocol"]
    assert card["target"] == run
    wanted = dict(target="pets", recipe="utrera", images=6, seed=3, subset_rule="stratified", head_init="default")
    wanted |= dict(normalise="imagenet", lr_drops="paper", image_size=32, epochs=2, lr=0.001, batch_size=128)
    assert run.items() >= wanted.items()
    assert card["transfer"] == "blocks:1" and card["freeze_map"]["backbone"]["trainable_parts"] == ["layer4.1"]
    assert card["labels"]["data"] == "pets" and card["labels"]["schedule"] == "utrera"
    assert card["corruption_at"] == "network_input"


def test_corrupt_eval_reads_the_test_set_back_from_the_run(finished: Path) -> None:
    clean = (finished / "corruption_eval/cells/clean.json").read_bytes()
    options = ["--corruptions", "fog", "--severities", "1", "--workers", "0", "--device", "cpu", "--resamples", "0"]
    assert corrupt_eval.run(parse(corrupt_eval, str(finished), *options)) == 0
    summary = json.loads((finished / "corruption_eval/summary.json").read_text())
    assert set(summary["cells"]) == {"clean", "fog_1"} and summary["metric"] == "mean_class_accuracy"
    assert (finished / "corruption_eval/cells/clean.json").read_bytes() == clean, "the same protocol: not again"


def test_a_folder_of_other_classes_is_refused(finished: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("c0", "c1", "other"):
            picture(tmp_path / split / name / "0.png")
    with pytest.raises(DataError, match=r"holds 3 classes \(c0, c1, other\), which are not those that the config was"):
        corrupt_eval.run(parse(corrupt_eval, str(finished), "--data-root", str(tmp_path), "--device", "cpu"))


def state(run: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(run / "epoch_2.pth", map_location="cpu", weights_only=False)[
        "state_dict"
    ]
    return found


@pytest.mark.slow
@pytest.mark.ci
def test_frozen_parts_stay_and_upstreams_statistics_drift(root: Path, finished: Path, tmp_path: Path) -> None:
    fixed = state(trained(root, tmp_path / "fixed", "--transfer", "fixed"))
    drift = state(trained(root, tmp_path / "drift", "--transfer", "fixed", "--norm", "upstream"))
    blocks = state(finished)
    names = [name for name in fixed if name.startswith("backbone.")]
    # All start from one seed: what nothing trains ends alike, to the bit.
    weights = [name for name in names if "running" not in name and "tracked" not in name]
    assert all(torch.equal(fixed[name], drift[name]) for name in weights)
    assert all(torch.equal(fixed[name], blocks[name]) for name in names if not name.startswith("backbone.layer4.1"))
    assert any(not torch.equal(fixed[name], blocks[name]) for name in weights if name.startswith("backbone.layer4.1"))
    assert all((fixed[name] == 0).all() for name in names if name.endswith("running_mean"))
    assert any((drift[name] != 0).any() for name in names if name.endswith("running_mean"))


@pytest.mark.slow
@pytest.mark.ci
def test_memory_does_not_grow_with_epochs(root: Path, tmp_path: Path) -> None:
    from mmengine.hooks import Hook

    from rtx import training

    held: list[float] = []

    class Watch(Hook):
        def after_train_epoch(self, runner: Any) -> None:
            held.append(int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) / 1024)

    # A batch is 2.6 MiB of floats: one that were kept in each epoch would show.
    words = [
        "--target",
        "pets",
        "--data-root",
        str(root),
        "--source",
        "random",
        "--transfer",
        "fixed",
        "--epochs",
        "14",
    ]
    words += ["--image-size", "168", "--work-dir", str(tmp_path), *SMALL]
    training.train(train.prepare(parse(train, LEAF, *words)), hooks=[Watch()], clean_score=True)
    assert len(held) == 14 and max(held[7:]) - max(held[:7]) < 8, held


def test_flags_without_a_target_are_refused() -> None:
    with pytest.raises(BadValue, match=r"--images, --head-init: only with --target NAME"):
        train.prepare(parse(train, LEAF, "--images", "5", "--head-init", "utrera"))


def test_every_option_has_its_flag(root: Path) -> None:
    flags = {
        "recipe": "yamada", "images": 4, "subset_rule": "utrera_code", "subset": True, "caltech_split": "random:5",
        "head_init": "utrera", "normalise": "upstream", "lr_drops": "code", "image_size": 48, "epochs": 9, "lr": 0.3,
        "hidden_layers": 2,
    }  # fmt: skip
    words = [part for name, value in flags.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    words.remove("True")
    cfg = train.prepare(parse(train, LEAF, "--target", "pets", "--data-root", str(root), "--seed", "7", *words))
    assert dict(cfg.rtx_target).items() >= flags.items() and cfg.rtx_target.seed == 7
    assert cfg.train_dataloader.dataset.split_seed == 5, "a split of its own, the same for all seeds"
    assert cfg.work_dir == (
        "work_dirs/classify_r50_pets_yamada_n4_subset-rule-utrera_code_subset_caltech-split-random5_head-init-utrera_"
        "normalise-upstream_lr-drops-code_image-size-48_epochs-9_lr-0.3_hidden-layers-2_seed7"
    )
    assert set(TargetOptions.__dataclass_fields__) == {*flags, "target", "data_root", "seed"}
    assert cfg.data_preprocessor.mean == [0.0] * 3
    changed = parse(train, LEAF, "--target", "pets", "--data-root", str(root), *SMALL, "optim_wrapper.optimizer.lr=0.7")
    assert train.prepare(changed).rtx_target.lr == 0.7, "the card says what trains"


def test_two_trainings_do_not_share_a_default_folder() -> None:
    base = [LEAF, "--target", "pets", "--source", "random"]
    names = {
        train.default_name(parse(train, *base, *more))
        for more in ([], ["--seed", "1"], ["--seed", "2"], ["--images", "100"], ["--recipe", "utrera"])
    }
    assert len(names) == 5
