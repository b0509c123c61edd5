"""`--model` and what goes with it: nothing that was typed is ignored."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from rtx.cli.corrupt_eval import add_arguments
from rtx.cli.model_options import check_model_arguments, class_map, class_names, model_label
from rtx.errors import BadValue


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--model", "torchvision:x"], "give --data-root DIR"),
        (["c.py", "--model", "torchvision:x", "--data-root", "d"], "beside c.py: give one of them"),
        (
            ["--model", "a:b", "--data-root", "d", "--source", "random", "--norm", "train"],
            "--source, --norm change a config",
        ),
        (["--model", "a:b", "--data-root", "d", "--cfg-options", "a=1"], "--cfg-options change a config"),
        (["c.py", "w.pth", "--weights", "w.pth", "--class-map", "a=b"], "--weights, --class-map: only with --model"),
    ],
)
def test_arguments_that_would_be_ignored(words: list[str], fault: str) -> None:
    with pytest.raises(BadValue, match=fault):
        check_model_arguments(parsed(*words))


def test_what_is_right_passes() -> None:
    check_model_arguments(parsed("c.py", "w.pth", "--data-root", "d", "--source", "random"))
    check_model_arguments(
        parsed("--model", "torchvision:x", "--weights", "w", "--data-root", "d", "--classes", "a", "b")
    )


def test_names_come_from_words_or_lines(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("traffic light\n\ndog\n")
    assert class_names([str(tmp_path / "names.txt")]) == ("traffic light", "dog")
    assert class_names(["dog"]) == ("dog",) and class_names(None) == ()
    assert class_map(["a b=c", "d=e=f"]) == {"a b": "c", "d": "e=f"}
    with pytest.raises(BadValue, match="write MODEL=DATA"):
        class_map(["couch"])


def test_labels_are_folder_names() -> None:
    assert model_label("python:nets/mine.py:predict", None) == "mine.py_predict"
    assert model_label("libreyolo:runs/../best.pt", "") == "best.pt" and model_label("a:..", None) == "model"
