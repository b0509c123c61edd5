"""`libreyolo:FILE`: scores equal those of LibreYOLO's own `val`; its files are read without running their code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
libreyolo = pytest.importorskip("libreyolo", reason="libreyolo is not installed")
pytest.importorskip("mmdet")

from rtx.errors import BadValue, WeightsError, WeightsMismatch  # noqa: E402
from rtx.evaluation.evaluate import evaluate  # noqa: E402
from rtx.evaluation.models.presets import open_model  # noqa: E402
from tests.evaluation.models import own_truth  # noqa: E402

CLEAN: dict[str, Any] = dict(corruptions=[], severities=[], workers=0, resamples=0, batch_size=2)
NAMES = ("disc", "block", "stripe")
