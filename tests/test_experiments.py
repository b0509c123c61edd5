"""Experiments are data: every run names what exists, and its command makes the config that it describes."""

from __future__ import annotations

import argparse
import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rtx.errors import BadValue, UnknownName
from rtx.experiments import (
    Experiment,
    PlannedRun,
    evaluate_command,
    published,
    read,
    read_all,
    run_folder,
    train_command,
)
from rtx.experiments.commands import cost_of
from rtx.experiments.numbers import paper_of, short
from rtx.experiments.read import read_file

PROJECT = Path(__file__).resolve().parents[1]
CONFIGS = PROJECT / "configs"
EXPERIMENTS = read_all()
RUNS = [pytest.param(e, run, id=f"{e.name}-{run.name}") for e in EXPERIMENTS for run in e.runs]
FILE = """
experiment = dict(title="t", paper="salman2020", place="Figure 4", question="?", evaluation="clean")
runs = [dict(name="a", config="fasterrcnn_r50_voc.py", source="random"{extra})]
"""


@cache
def leaf(name: str) -> Any:
    from mmengine.config import Config

    return Config.fromfile(CONFIGS / name)


@pytest.mark.parametrize(("experiment", "run"), RUNS)
def test_a_run_names_what_exists(experiment: Experiment, run: PlannedRun) -> None:
    from rtx.backbones.spec import spec_of
    from rtx.sources.catalog.rows import find

    assert (CONFIGS / run.config).is_file()
    source = find(run.source)
    assert source.name == run.source, "written out, not in its short form"
    assert spec_of(source.arch).channels
    published(experiment, run)


@pytest.mark.parametrize(("experiment", "run"), RUNS)
def test_the_command_of_a_run_makes_the_config_it_describes(
    experiment: Experiment, run: PlannedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rtx import config as configs
    from rtx.cli import train
    from rtx.sources.catalog.rows import find
    from rtx.transfer.modes import transfer_name

    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    seed = run.seeds[-1]
    words = train_command(experiment, run, seed, gpus=1)
    assert words[:3] == ["python", "tools/train.py", f"configs/{run.config}"]
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(configs, "load", lambda path: copy.deepcopy(leaf(Path(path).name)))
    cfg = train.prepare(parser.parse_args(words[2:]))
    assert configs.arch_of(cfg.model.backbone) == find(run.source).arch
    assert cfg.model.backbone.source == run.source
    assert cfg.randomness.seed == seed
    assert cfg.work_dir == run_folder(experiment, run, seed)
    if run.transfer:
        assert transfer_name(cfg.model.backbone, cfg.default_scope) == run.transfer
    if run.norm:
        assert cfg.model.backbone.norm_policy == run.norm
    for key, value in run.options.items():
        node: Any = leaf(run.config)
        for part in key.split(".")[:-1]:
            assert part in node, f"{key} would be a new key, which nothing reads"
            node = node[part]
        assert cfg.get(key.split(".")[0]) is not None and _at(cfg, key) == value


def _at(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node[part]
    return node


@pytest.mark.parametrize("name", sorted({run.config for e in EXPERIMENTS for run in e.runs}))
def test_the_gpus_of_a_command_give_the_batch_of_the_learning_rate(name: str) -> None:
    cfg = leaf(name)
    assert cost_of(name)[0] * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 16


def test_another_number_of_gpus_scales_the_learning_rate() -> None:
    experiment = read("yamada2022_fixed_coco")
    run = experiment.runs[0]
    usual = train_command(experiment, run, 0)
    assert usual[:3] == ["tools/dist_train.sh", f"configs/{run.config}", "8"] and "--auto-scale-lr" not in usual
    assert "--auto-scale-lr" in train_command(experiment, run, 0, gpus=1)
    assert "--auto-scale-lr" in train_command(experiment, run, 0, gpus=4)


def test_the_evaluation_reads_the_folder_that_training_writes() -> None:
    for experiment in EXPERIMENTS:
        for run in experiment.runs:
            train = train_command(experiment, run, run.seeds[0])
            folder = train[train.index("--work-dir") + 1]
            evaluate = evaluate_command(experiment, run, run.seeds[0])
            assert evaluate[:3] == ["python", "tools/corrupt_eval.py", folder]
            assert ("--severities" in evaluate) == (experiment.evaluation == "clean")


def test_a_clean_evaluation_asks_for_the_clean_images_alone() -> None:
    from rtx.results.conditions import grid
    from rtx.types import CLEAN

    assert grid(["benchmark"], [0]) == (CLEAN,)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: e.name)
def test_an_experiment_says_where_it_comes_from_and_what_is_open(experiment: Experiment) -> None:
    assert experiment.name.startswith(paper_of(experiment).key)
    assert any(word in experiment.place for word in ("Table", "Figure"))
    assert experiment.doubts
    folders = [run_folder(experiment, run, seed) for run in experiment.runs for seed in run.seeds]
    assert len(set(folders)) == len(folders) == experiment.n_models
    printed = [record for run in experiment.runs for record in published(experiment, run)]
    assert len(set(printed)) == len(printed), "one number belongs to one run"


def test_every_printed_number_of_the_fixed_tables_has_its_run() -> None:
    for name, place in (("yamada2022_fixed_coco", "Table 1"), ("yamada2022_fixed_ade20k", "Table 2")):
        experiment = read(name)
        records = [record for run in experiment.runs for record in published(experiment, run)]
        assert {record.place for record in records} == {place}
        assert len(records) == 16
        assert {record.transfer for record in records} == {run.transfer for run in experiment.runs} == {"fixed"}


def test_both_columns_of_the_prime_tables_have_their_runs() -> None:
    for name, source in (("yamada2022_prime", "prime"), ("yamada2022_prime_augmented", "pr_prime")):
        experiment = read(name)
        records = [record for run in experiment.runs for record in published(experiment, run)]
        assert {record.place for record in records} == {"Table 4", "Table 5"}
        assert {record.source for record in records} == {source} and len(records) == 6


def test_figure_4_of_salman_is_held_against_standard_and_best() -> None:
    experiment = read("salman2020_coco_instance")
    standard, *robust = experiment.runs
    assert [short(r) for r in published(experiment, standard)] == ["bbox_mAP P 40.67+-0.06", "segm_mAP P 36.92+-0.08"]
    assert [short(r) for r in published(experiment)] == ["bbox_mAP P 40.91+-0.15", "segm_mAP P 37.08+-0.10"]
    assert not any(published(experiment, run) for run in robust), "the paper prints no number for one eps"


def test_the_source_axis_of_yamada_is_complete() -> None:
    eps = {run.source for run in read("yamada2022_at_eps").runs}
    assert eps == {f"resnet50_l2_eps{e}" for e in ("0.1", "1", "3", "5")}
    assert len({run.source for run in read("yamada2022_swin_size").runs}) == 5


@pytest.mark.parametrize(
    ("extra", "error", "message"),
    [
        (", sorce='a'", UnknownName, "'sorce'.*did you mean 'source'"),
        (", transfer='fixd'", UnknownName, "transfer mode 'fixd'"),
        (", transfer='fixed', norm='off'", UnknownName, "norm policy 'off'.*run 'a'"),
        (", seeds=(1, 1)", BadValue, "all different"),
        (", seeds=()", BadValue, "one or more"),
        (", options={'a.b': [1]}", BadValue, "option a.b"),
        (", published=[dict(place='Figure 5')]", BadValue, "no published record"),
        (", published=[dict(plase='Figure 4')]", UnknownName, "field 'plase'"),
    ],
)
def test_a_mistake_in_a_file_is_named(tmp_path: Path, extra: str, error: type[Exception], message: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(FILE.replace("{extra}", extra), "utf-8")
    with pytest.raises(error, match=message):
        experiment = read_file(path)
        published(experiment, experiment.runs[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_like_this", "ModuleNotFoundError"),
        ("runs = []", "must define `experiment`"),
        (FILE.replace("{extra}", "") + "runs = []", "it has no runs"),
        (FILE.replace("{extra}", "") + "runs *= 2", "two runs are called 'a'"),
        (FILE.replace("{extra}", "") + "del runs[0]['source']", "lacks source"),
        (FILE.replace("{extra}", "") + "runs[0]['name'] = '../a'", "names a folder"),
        (FILE.replace("{extra}", "") + "runs[0]['config'] = 'configs/a.py'", "file name of a leaf"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text, "utf-8")
    with pytest.raises(BadValue, match=message):
        read_file(path)


def test_an_unknown_experiment_or_run_shows_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'salman2020_voc'"):
        read("salman2020_vok")
    with pytest.raises(UnknownName, match="did you mean 'swin_t'"):
        read("yamada2022_fixed_coco").select(("swint",))
