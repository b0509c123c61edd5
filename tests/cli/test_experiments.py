"""`rtx experiments`: what it prints is complete, and light to print."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rtx.cli.experiments import columns
from rtx.cli.main import main
from rtx.experiments import read, read_all

ROOT = Path(__file__).resolve().parents[2]


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["experiments", *words]) == 0
    return capsys.readouterr().out


def test_list_names_every_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    table = shown(capsys, "list")
    rows = json.loads(shown(capsys, "list", "--format", "json"))
    assert [row["name"] for row in rows] == [e.name for e in read_all()]
    for experiment in read_all():
        line = next(line for line in table.splitlines() if line.startswith(f"{experiment.name} "))
        assert line.split()[1:3] == [str(len(experiment.runs)), str(experiment.n_models)]


def test_the_table_shows_numbers_citation_and_what_is_open(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(shown(capsys, "show", "yamada2022_fixed_coco").split())
    assert "CVPR 2022; Table 1" in text
    assert "drop:noise 36.09, drop:blur 44.00" in text
    assert "not settled by the paper" in text and "severities are not stated" in text


def test_commands_are_two_lines_for_each_training(capsys: pytest.CaptureFixture[str]) -> None:
    experiment = read("salman2020_coco")
    text = shown(capsys, "show", "salman2020_coco", "--format", "commands", "--work-dirs", "my runs")
    lines = [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]
    assert len(lines) == 2 * experiment.n_models == 32
    for train, evaluate in zip(lines[::2], lines[1::2], strict=True):
        assert (ROOT / train[0]).is_file() and (ROOT / train[1]).is_file()
        folder = train[train.index("--work-dir") + 1]
        assert folder.startswith("my runs/")
        assert evaluate == ["python", "tools/corrupt_eval.py", folder, "--severities", "0"]


def test_flags_reach_the_commands_of_the_chosen_runs(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("show", "yamada2022_swin_size", "swin_b_coco", "--gpus", "1", "--data-root", "/d", "--format")
    train, evaluate = shown(capsys, *words, "commands").splitlines()[1:]
    assert train.startswith("python tools/train.py configs/maskrcnn_swin_t_3x_coco.py --source swin_b_in1k ")
    assert "--auto-scale-lr" in train and "--data-root /d" in train
    assert train.endswith("--cfg-options model.backbone.drop_path_rate=0.3")
    (run,) = json.loads(shown(capsys, *words, "json"))["runs"]
    assert shlex.join(run["jobs"][0]["train"]) == train
    assert shlex.join(run["jobs"][0]["evaluate"]) == evaluate


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "yamada2022_fixed"], "did you mean"),
        (["show", "yamada2022_fixed_coco", "resnet"], "run 'resnet'"),
        (["show", "nothing/mine.py"], "does not exist"),
        (["show", "salman2020_voc", "--gpus", "0"], "--gpus 0: must be 1 or more"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiments", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_file_of_ones_own_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        'experiment = dict(title="t", paper="salman2020", place="Figure 4", question="?", evaluation="clean")\n'
        'runs = [dict(name="a", config="fasterrcnn_r50_voc.py", source="random")]\n'
    )
    assert "work_dirs/mine/a/seed0" in shown(capsys, "show", str(path), "--format", "commands")
    assert f"rtx experiments show {path} --format commands" in shown(capsys, "show", str(path))


def test_it_works_without_torch_and_openmmlab() -> None:
    code = (
        "import sys; from rtx.cli.main import main; main(['experiments', 'show', 'salman2020_voc']);"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'mmengine', 'mmdet', 'numpy', 'cv2'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_long_last_column_wraps_under_its_head() -> None:
    text = columns([("a", "b"), ("x", "word " * 40)])
    assert max(map(len, text.splitlines())) <= 120
    assert {line[:3] for line in text.splitlines()[2:]} == {"   "}
