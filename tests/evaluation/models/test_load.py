"""The classes and tensors of a checkpoint are held against the data and the model that it is used with."""

from __future__ import annotations

import logging
from typing import Any

import pytest

pytest.importorskip("mmdet")

from rtx.errors import BadValue
from rtx.evaluation.models.load import check_classes, differences, trained_classes

THREE = ("crate", "barrel", "pallet")


@pytest.mark.parametrize(
    "meta",
    [
        {"dataset_meta": {"classes": THREE}},
        {"dataset_meta": {"CLASSES": list(THREE)}},
        {"CLASSES": list(THREE), "epoch": 1},  # as MMDetection 2 wrote it
    ],
)
def test_where_the_libraries_keep_the_classes(meta: dict[str, Any]) -> None:
    assert trained_classes(meta) == THREE


@pytest.mark.parametrize("meta", [None, [], {}, {"dataset_meta": None}, {"dataset_meta": {"classes": "crate"}}])
def test_a_checkpoint_that_states_no_classes(meta: Any) -> None:
    assert trained_classes(meta) == ()


def test_the_first_label_that_stands_for_another_class_is_named() -> None:
    check_classes(THREE, THREE, "a.pth")
    check_classes((), THREE, "a.pth")
    check_classes(THREE, (), "a.pth")
    with pytest.raises(
        BadValue, match=r"a.pth was trained with label 1 as 'barrel', but in the evaluated data .* 'pallet'"
    ):
        check_classes(THREE, ("crate", "pallet", "barrel"), "a.pth")
    with pytest.raises(BadValue, match=r"label 1 as 'barrel', .* 'barel'"):
        check_classes(THREE, ("crate", "barel", "pallet"), "a.pth")
    with pytest.raises(BadValue, match=r"a.pth was trained on 3 classes .* but 2 are evaluated"):
        check_classes(THREE, THREE[:2], "a.pth")


def test_classes_that_are_words_or_numbers_are_no_other_ones_where_that_is_usual(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        check_classes(THREE, ("n01", "n02", "n03"), "a.pth", renamed=True)
        assert not caplog.text
        check_classes(THREE, ("crate", "cask", "pallet"), "a.pth", renamed=True)
    assert "a.pth calls label 1 'barrel', the evaluated data call it 'cask'" in caplog.text
    with pytest.raises(BadValue, match="label 0 as 'crate', but in the evaluated data it is 'barrel'"):
        check_classes(THREE, ("barrel", "crate", "pallet"), "a.pth", renamed=True)


def test_how_the_tensors_of_a_file_differ() -> None:
    own = {"a": (1,), "b": (2, 3)}
    assert differences(own, own) == []
    assert differences(own, {"a": (1,), "c": (4,)}) == ["1 missing keys (b)", "1 unexpected keys (c)"]
    assert differences(own, {"a": (1,), "b": (3, 3)}) == [
        "1 shapes differ (b: (3, 3) in the file, (2, 3) in the model)"
    ]
