"""The flags of the engine stand beside those of an evaluation, and what they ask for is checked at once."""

from __future__ import annotations

import argparse
import importlib

import pytest

from rtx.cli.engine import engine_of
from rtx.errors import BadValue


def parsed(command: str, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    importlib.import_module(f"rtx.cli.{command}").add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    "words",
    [("corrupt_eval", "run"), ("imagenet_c", "root", "--out", "o"), ("experiments", "run", "name")],
    ids=lambda words: words[0],
)
def test_engine(words: tuple[str, ...]) -> None:
    assert engine_of(parsed(*words)).name == "serial"
    found = engine_of(parsed(*words, "--run-on", "ray", "--per-gpu", "0.25", "--ray-workers", "8"))
    assert (found.is_ray, found.per_gpu, found.workers) == (True, 0.25, 8)
    with pytest.raises(BadValue, match="add --run-on ray"):
        engine_of(parsed(*words, "--per-gpu", "0.25"))


def test_ray_beside_a_launcher_or_a_device() -> None:
    with pytest.raises(BadValue, match="leave one of them away"):
        engine_of(parsed("corrupt_eval", "run", "--run-on", "ray", "--launcher", "pytorch"))
    with pytest.raises(BadValue, match="--per-gpu 0 for CPUs"):
        engine_of(parsed("corrupt_eval", "run", "--run-on", "ray", "--device", "cpu"))
    assert parsed("corrupt_eval", "run", "--engine", "imagecorruptions").engine == "imagecorruptions"
