"""The rows of targets say what the papers fix."""

from __future__ import annotations

import pytest

from rtx.datasets.classification import MEAN_PER_CLASS, TARGETS, find_target
from rtx.errors import UnknownName


def test_the_five_unbalanced_targets_are_scored_by_class() -> None:
    by_class = {name for name, row in TARGETS.items() if row.metric == MEAN_PER_CLASS}
    assert by_class == {"aircraft", "caltech101", "caltech256", "flowers", "pets"}
    assert find_target("dtd").classes == 47
    with pytest.raises(UnknownName, match="did you mean 'caltech101'"):
        find_target("caltech10l")
