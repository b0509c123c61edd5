"""What the presets share: names by label, errors of a library in one line."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("mmdet")

from rtx.errors import BadValue, WeightsError, WeightsMismatch
from rtx.evaluation.models.adapters import Detector
from rtx.evaluation.models.library import Asked, refusing

ASKED = Asked("lib:thing", "thing", Detector)


def test_names_follow_the_labels_and_a_gap_is_no_name() -> None:
    assert ASKED.names({1: "dog", 0: "cat"}, 2) == ("cat", "dog")
    for gap in ({1: "cat", 2: "dog"}, {0: "cat", 2: "dog"}):
        with pytest.raises(BadValue, match="1 class names for a model of 2 classes"):
            ASKED.names(gap, 2)


def test_what_a_library_says_is_one_printable_line_and_errors_of_rtx_pass() -> None:
    with pytest.raises(WeightsMismatch) as error, refusing(ASKED, "cannot be opened", WeightsMismatch):
        raise RuntimeError("a\n  b\x1b[2J")
    assert str(error.value) == "--model lib:thing: cannot be opened (RuntimeError: a b\\x1b[2J)"
    with pytest.raises(WeightsError, match=r"^ours$"), refusing(ASKED, "cannot be opened"):
        raise WeightsError("ours")
