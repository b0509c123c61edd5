"""Hostile, broken and foreign files are refused with a clear error, at once, and leave no trace."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import time
from pathlib import Path

import pytest

from rtx.errors import WeightsError
from rtx.sources.load import load_source
from tests.sources.hostile import SHAPES, WRITERS
from tests.sources.watch import watched

# All of these files are smaller than a megabyte or compress to it.
MEMORY = 200 << 20


@pytest.mark.parametrize("name", WRITERS)
def test_refused_without_a_trace(name, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    path, trace = folder / "file.pth", tmp_path / "trace"
    WRITERS[name](path, trace)
    before = path.read_bytes()
    started = time.process_time()
    with watched(memory=MEMORY) as events, pytest.raises(WeightsError) as caught:
        load_source(str(path), "resnet18", SHAPES)
    assert time.process_time() - started < 5
    text = str(caught.value)
    assert str(path) in text and "\n" not in text.strip()
    assert events == []
    assert "memory" not in text.lower(), "refused by what it is, not by what was left of the memory"
    assert not trace.exists() and sorted(tmp_path.rglob("*")) == [folder, path]
    assert path.read_bytes() == before


KINDS = {
    "pickles that would run a command": r"^(os_system|subprocess|eval|exec|open_for|remove|mkdir|evil)",
    "nested": r"nested|inside|within",
    "legacy": r"legacy|old_file",
    "truncated": r"truncated|without_an_end|cut|flipped",
    "renamed zip": r"^(renamed_zip|zip_that|checkpoint_inside)",
    "HTML page": r"^(html|xml)",
    "wrong architecture": r"architecture|missing|too_many|another_shape|same_size",
    "NaN weights": r"nan|infinite",
    "absurd shapes": r"shape|offset|claims|terabyte",
    "zip bomb": r"bomb|overlapping",
}


def test_there_are_more_than_a_hundred_of_every_kind():
    assert len(WRITERS) >= 100
    counts = {kind: sum(bool(re.search(pattern, name)) for name in WRITERS) for kind, pattern in KINDS.items()}
    assert min(counts.values()) >= 2, counts


def test_the_watch_sees_what_it_should(tmp_path, monkeypatch):
    """The law above would hold for a watch that is blind."""
    for act in (
        lambda: os.system("true"),
        lambda: (tmp_path / "x").write_text("x"),
        lambda: subprocess.run(["true"], check=True),
        lambda: monkeypatch.setenv("RTX_SEEN", "1"),
        lambda: (tmp_path / "folder").mkdir(),
        lambda: monkeypatch.chdir(tmp_path),
        lambda: pickle.loads(pickle.dumps(Path("x"))),
    ):
        with watched(memory=MEMORY) as events:
            act()
        assert events
    with watched(memory=MEMORY) as events:
        Path(__file__).read_bytes()
        with pytest.raises(MemoryError):
            bytearray(2 * MEMORY)
    assert events == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bomb_of_encode_calls", "copies its data again and again"),
        ("bomb_of_arrays", "copies its data again and again"),
        ("safetensors_that_overlap", "overlap"),
        ("html_page", "a web page"),
        ("xml_error", "a web page"),
        ("lfs_pointer", "git lfs pull"),
        ("plain_text", "plain text"),
        ("renamed_zip", "word/document.xml"),
        ("tar_archive", "a tar archive"),
        ("zip_bomb", "zip bomb"),
        ("torchscript_program", "TorchScript"),
        ("os_system_in_zip", r"posix.system.*nothing was run"),
        ("os_system_in_legacy", r"posix.system.*nothing was run"),
        ("whole_model_instead_of_weights", "not a network's state dict"),
        ("truncated_legacy", "truncated"),
        ("nan_weights", r"NaN or infinity \(conv1.weight\)"),
        ("one_key_missing", r"1 missing \(bn1.weight\)"),
        ("one_key_too_many", r"1 unexpected \(layer9.weight\)"),
        ("another_shape", r"conv1.weight \(4, 3, 3, 3\) instead of \(4, 3, 2, 2\)"),
        ("copies_that_disagree", r"disagree in 1 entries \(bn1.weight\)"),
        ("bgr_normaliser", r"blue by the mean of red"),
        ("two_normalisers", "disagree"),
        ("sparse_weights", "conv1.weight"),
        ("shape_repeated_by_stride_zero", "repeats|beyond"),
    ],
)
def test_the_message_says_what_it_is(name, text, tmp_path):
    WRITERS[name](tmp_path / "file.pth", tmp_path / "trace")
    with pytest.raises(WeightsError, match=text):
        load_source(str(tmp_path / "file.pth"), "resnet18", SHAPES)
