"""Hostile, broken and foreign files are refused with a clear error, at once, and leave no trace."""

from __future__ import annotations

import time

import pytest

from rtx.errors import WeightsError
from rtx.sources.load import load_source
from tests.sources.hostile import SHAPES, WRITERS


@pytest.mark.parametrize("name", WRITERS)
def test_refused_without_a_trace(name, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    path, trace = folder / "file.pth", tmp_path / "trace"
    WRITERS[name](path, trace)
    size = path.stat().st_size
    started = time.perf_counter()
    with pytest.raises(WeightsError) as caught:
        load_source(str(path), "resnet18", SHAPES)
    assert time.perf_counter() - started < 5
    assert str(path) in str(caught.value) and "\n" not in str(caught.value).strip()
    assert not trace.exists() and sorted(tmp_path.rglob("*")) == [folder, path]
    assert path.stat().st_size == size


def test_there_are_sixty_of_them():
    assert len(WRITERS) >= 60


@pytest.mark.parametrize(
    ("name", "text"),
    [
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
        ("cifar_normaliser", r"0.4914"),
        ("two_normalisers", "disagree"),
        ("sparse_weights", "conv1.weight"),
        ("shape_repeated_by_stride_zero", "repeats|beyond"),
    ],
)
def test_the_message_says_what_it_is(name, text, tmp_path):
    WRITERS[name](tmp_path / "file.pth", tmp_path / "trace")
    with pytest.raises(WeightsError, match=text):
        load_source(str(tmp_path / "file.pth"), "resnet18", SHAPES)
