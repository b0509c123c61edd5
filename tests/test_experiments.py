"""Experiments are data: every run names what exists, and its command makes the config that it describes."""

from __future__ import annotations

import argparse
import copy
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtx.datasets.classification import find_target
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
from rtx.experiments.classification import epochs_and_tests
from rtx.experiments.collect import columns_of_runs
from rtx.experiments.commands import cost_of
from rtx.experiments.grid import Grid
from rtx.experiments.numbers import paper_of, short
from rtx.experiments.plan import units_of
from rtx.experiments.read import read_any, read_file
from rtx.experiments.record import OWN_HEAD
from rtx.experiments.units import function_of
from rtx.transfer.recipes import find_recipe, schedule_of, utrera_seeds

PROJECT = Path(__file__).resolve().parents[1]
CONFIGS = PROJECT / "configs"
EXPERIMENTS = [e for e in read_all() if not e.name.startswith("evidence_")]  # these are the claims', see tests/evidence


def a_few(experiment: Experiment) -> tuple[PlannedRun, ...]:
    """All runs of a small experiment; of a large one, a run for each source, transfer, target and view."""
    runs = experiment.runs
    if len(runs) <= 20:
        return runs
    kinds = (lambda r: r.source, lambda r: r.transfer, lambda r: (r.flags["target"], r.flags.get("view")))
    found = {(n, kind(run)): run for n, kind in enumerate(kinds) for run in reversed(runs)}
    return tuple({run.name: run for run in found.values()}.values())


TRAINED = [e for e in EXPERIMENTS if e.evaluation != OWN_HEAD]
RUNS = [pytest.param(e, run, id=f"{e.name}-{run.name}") for e in TRAINED for run in a_few(e)]
HARDENING = ("adversarial", "threat", "eps", "attack_steps")
FILE = """
experiment = dict(title="t", paper="salman2020", place="Figure 4", question="?", evaluation="clean")
runs = [dict(name="a", config="fasterrcnn_r50_voc.py", source="random"{extra})]
"""


@cache
def leaf(name: str) -> Any:
    from mmengine.config import Config

    return Config.fromfile(CONFIGS / name)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: e.name)
def test_a_run_names_what_exists(experiment: Experiment) -> None:
    from rtx.backbones.spec import spec_of
    from rtx.sources.catalog.rows import find

    for run in experiment.runs:
        assert (CONFIGS / run.config).is_file()
        if run.source != "random":
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
    from rtx.datasets.openmmlab.view_step import view_of
    from rtx.sources.catalog.rows import find
    from rtx.transfer import classify
    from rtx.transfer.modes import transfer_name

    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    seed = run.seeds[-1]
    words = train_command(experiment, run, seed, gpus=1)
    assert words[:3] == ["python", "tools/train.py", f"configs/{run.config}"]
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(classify, "_opened", lambda reading: Whole(reading["target"]))
    monkeypatch.setattr(configs, "load", lambda path: copy.deepcopy(leaf(Path(path).name)))
    cfg = train.prepare(parser.parse_args(words[2:]))
    if run.source != "random":
        assert configs.arch_of(cfg.model.backbone) == find(run.source).arch
    assert cfg.model.backbone.source == run.source
    assert cfg.randomness.seed == seed
    assert cfg.work_dir == run_folder(experiment, run, seed)
    if run.transfer:
        assert transfer_name(cfg.model.backbone, cfg.default_scope) == run.transfer
    if run.norm:
        assert cfg.model.backbone.norm_policy == run.norm
    if run.flags:
        hardening = {"recipe": run.flags.get("adversarial")}
        hardening |= {n.removeprefix("attack_"): run.flags[n] for n in HARDENING[1:] if n in run.flags}
        made = dict(cfg.get("rtx_hardening") or {"recipe": None})
        assert {name: made[name] for name in hardening} == hardening
        rest = {name: value for name, value in run.flags.items() if name not in ("view", *HARDENING)}
        assert {name: cfg.rtx_target.get(name) for name in rest} == rest
        assert view_of(cfg) == run.flags.get("view") and cfg.rtx_target.seed == seed
        assert cost_of(run.config)[0] * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size
        assert (cfg.train_cfg.max_epochs, run.flags.get("images")) == (
            epochs_and_tests(run.flags)[0],
            cfg.train_dataloader.dataset.images,
        )
    for key, value in run.options.items():
        node: Any = leaf(run.config)
        for part in key.split(".")[:-1]:
            assert part in node, f"{key} would be a new key, which nothing reads"
            node = node[part]
        assert cfg.get(key.split(".")[0]) is not None and _at(cfg, key) == value


class Whole:
    """Stands for a target's whole training set."""

    def __init__(self, target: str) -> None:
        n = find_target(target).classes
        assert n is not None
        self.classes, self.labels = tuple(map(str, range(n))), np.arange(60_000) % n

    def __len__(self) -> int:
        return len(self.labels)


def _at(node: Any, key: str) -> Any:
    for part in key.split("."):
        node = node[part]
    return node


@pytest.mark.parametrize("name", sorted({run.config for e in EXPERIMENTS for run in e.runs if not run.flags}))
def test_the_gpus_of_a_command_give_the_batch_of_the_learning_rate(name: str) -> None:
    cfg = leaf(name)
    assert cost_of(name)[0] * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 16


def test_a_sources_own_head_is_tested_and_nothing_trained() -> None:
    from rtx.cli import imagenet_c
    from rtx.results.folder import SUMMARY

    experiment = read("utrera2021_sin_tested")
    natural, _ = units_of(experiment, work_dirs="w", data_root="/data")
    words = list(natural.settings["words"])
    assert words[:2] == ["python", "tools/imagenet_c.py"] and natural.name == "natural/seed0/test"
    parser = argparse.ArgumentParser()
    imagenet_c.add_arguments(parser)
    args = parser.parse_args(words[2:])
    assert (args.root, args.clean, args.source) == (None, "/data/stylized_imagenet/val", "resnet50_in1k_v1")
    assert natural.settings["summary"] == f"{args.out}/{SUMMARY}"
    assert [short(record) for record in published(experiment, experiment.runs[0])] == ["top1 P 11.40"]
    row = columns_of_runs(experiment)["natural"]
    assert (row["transfer"], row["target"]) == ("own_head", "stylized_imagenet")


def test_a_tested_head_has_nothing_of_a_training(tmp_path: Path) -> None:
    text = FILE.replace("{extra}", ", flags=dict(target='pets')").replace("clean", "own_head")
    path = tmp_path / "mine.py"
    path.write_text(text, "utf-8")
    assert len(read_file(path).runs) == 1
    for wrong in ("target='pets', images=100", ""):
        path.write_text(text.replace("target='pets'", wrong), "utf-8")
        with pytest.raises(BadValue, match="nothing of a training"):
            read_file(path)


def test_attacks_are_commands_that_the_parser_takes_on_the_images_and_folders_of_their_runs() -> None:
    from rtx.cli import attack_eval
    from rtx.results.folder import ATTACKS_INSIDE_RUN, SUMMARY

    parser = argparse.ArgumentParser()
    attack_eval.add_arguments(parser)
    for name, count in (("utrera2021_attacked", 3), ("utrera2021_transfer_attacked", 72)):
        experiment = read(name)
        units = units_of(experiment, work_dirs="w", data_root="/data")
        assert len(units) == count
        attacked = [u for u in units if not u.name.endswith("/train")]
        for unit in attacked:
            words = list(unit.settings["words"])
            assert words[:2] == ["python", "tools/attack_eval.py"]
            args = parser.parse_args(words[2:])
            assert (args.threat, args.eps) == ("l2", experiment.attack["eps"]) and args.steps == experiment.attack[
                "steps"
            ]
            own = args.config is None
            assert not own or (args.data_root == "/data/imagenet/val" and args.no_random_start)
            assert unit.settings["summary"] == (
                f"{args.out}/{SUMMARY}" if own else f"{args.config}/{ATTACKS_INSIDE_RUN}/{SUMMARY}"
            )
    printed = [
        short(r) for run in read("utrera2021_attacked").runs for r in published(read("utrera2021_attacked"), run)
    ]
    assert len(printed) == 6 and printed[0] == "top1 adversarial 52.10"


@pytest.mark.parametrize(
    ("evaluation", "extra"),
    [("attacks", ""), ("clean", ", attack=dict(threat='l2')"), ("corruptions", ", attack={1: 2}")],
)
def test_an_attack_goes_with_the_evaluations_that_have_one(tmp_path: Path, evaluation: str, extra: str) -> None:
    path = tmp_path / "mine.py"
    text = FILE.replace("{extra}", "").replace('evaluation="clean"', f'evaluation="{evaluation}"{extra}')
    path.write_text(text, "utf-8")
    with pytest.raises(BadValue, match="`attack`, the flags of rtx attack_eval, belongs to"):
        read_file(path)


def test_another_number_of_gpus_scales_the_learning_rate() -> None:
    experiment = read("yamada2022_fixed_coco")
    run = experiment.runs[0]
    usual = train_command(experiment, run, 0)
    assert usual[:3] == ["tools/dist_train.sh", f"configs/{run.config}", "8"] and "--auto-scale-lr" not in usual
    assert "--auto-scale-lr" in train_command(experiment, run, 0, gpus=1)
    assert "--auto-scale-lr" in train_command(experiment, run, 0, gpus=4)


def test_the_evaluation_reads_the_folder_that_training_writes() -> None:
    for experiment in TRAINED:
        for run in experiment.runs:
            train = train_command(experiment, run, run.seeds[0])
            folder = train[train.index("--work-dir") + 1]
            evaluate = evaluate_command(experiment, run, run.seeds[0])
            tool = "attack_eval" if experiment.attack else "corrupt_eval"
            assert evaluate[:3] == ["python", f"tools/{tool}.py", folder]
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
    assert len(set(folders)) == len(folders)
    assert experiment.n_models == (0 if experiment.evaluation == OWN_HEAD else len(folders))
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
        (", flags=dict(target='cifar11')", UnknownName, "target 'cifar11'.*did you mean 'cifar10'"),
        (", flags=dict(images=3)", BadValue, "need a target"),
        (", flags=dict(target='cifar10', image=3)", UnknownName, "flag 'image'.*did you mean 'images'"),
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


def test_utreras_study_has_the_trainings_of_table_4() -> None:
    study = read("utrera2021_subsets")
    assert study.n_models == 12_576 == 96 * 131
    combinations = Counter(run.name.rpartition("_n")[0] for run in study.runs for _ in run.seeds)
    assert len(combinations) == 4 * 4 * 6 and set(combinations.values()) == {131}
    seeds = {run.name.rpartition("_n")[2]: run.seeds for run in study.runs}
    assert seeds["100"] == seeds["1600"] == utrera_seeds(20) and seeds["1600"][-1] == 21_900_000
    assert seeds["6400"] == utrera_seeds(10) and seeds["25600"] == utrera_seeds(5) and seeds["all"] == (20_000_000,)
    for run in study.runs:
        assert len(run.seeds) == schedule_of(find_recipe("utrera"), run.flags.get("images")).seeds
    assert read("utrera2021_scratch").n_models == 6 * 131


def test_table_7_has_its_run_for_every_number() -> None:
    runs = [(e, run) for e in map(read, ("utrera2021_subsets", "utrera2021_scratch")) for run in e.runs]
    printed = [record for e, run in runs for record in published(e, run)]
    assert len(printed) == len(set(printed)) == 300 and {r.place for r in printed} == {"Table 7"}
    e, run = next((e, run) for e, run in runs if run.name == "linf8_k3_svhn_n6400")
    assert [(r.dataset, r.source, r.images, r.value) for r in published(e, run)] == [
        ("svhn", "linf_eps8", 6400, 0.8909)
    ]


def test_the_probes_of_salman_are_the_grid_of_the_trainings() -> None:
    grid, trainings = read_any("salman2020_probe"), read("salman2020_fixed")
    assert isinstance(grid, Grid)
    assert [run.name for run in grid.runs] == [run.name for run in trainings.runs]
    assert [run.settings["source"] for run in grid.runs] == [run.source for run in trainings.runs]
    assert [run.settings["target"] for run in grid.runs] == [run.flags["target"] for run in trainings.runs]
    assert function_of(grid.kind).__module__ == "rtx.probe.unit"
    assert len(grid.select(("resnet18_*_pets",))) == 10


def test_parts_and_patterns_choose_runs() -> None:
    study = read("utrera2021_subsets")
    assert {name: len(study.select((name,))) for name in study.parts} == {
        "figure2": 2 * 6 * 10,
        "figure3": 2 * 6,
        "figure4": 4 * 6 * 10,
        "figure5": 3 * 6 * 10,
        "table7": 4 * 6 * 10,
    }
    assert [run.name for run in study.select(("l2_k9_mnist_n?00", "l2_k9_mnist_n400"))] == [
        f"l2_k9_mnist_n{n}" for n in (100, 200, 400, 800)
    ]
    assert study.select(()) == study.runs
    with pytest.raises(UnknownName, match=r"run 'l3_\*'.*figure2"):
        study.select(("l3_*",))


def test_salmans_studies_have_every_architecture_eps_and_target() -> None:
    for name, transfer in (("salman2020_fixed", "fixed"), ("salman2020_full", "full")):
        study = read(name)
        assert len(study.runs) == 4 * 10 * 12 and study.n_models == 3 * 480
        assert len({(run.source, run.flags["target"]) for run in study.runs}) == 480
        rates = {run.name: run.flags["lr"] for run in study.runs}
        # The learning rate of each printed best run is the one that its star, or none, means.
        best = published(study)
        assert len(best) == 48 and {r.transfer for r in best} == {transfer}
        for record in best:
            eps = record.source.removeprefix("l2_eps")
            other = "other learning rate" in record.note
            usual = 0.01 if transfer == "fixed" else 0.001
            expected = usual if not other else 0.011 - usual
            assert rates[f"{record.backbone}_eps{eps}_{record.dataset}"] == pytest.approx(expected), record
