"""What `rtx weights inspect` says of a source that was trained here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rtx.sources.describe import as_text, describe
from tests.sources.made_up import random_state


def test_the_card_of_a_training_is_shown_without_what_could_forge_a_line(tmp_path: Path) -> None:
    state = {
        f"backbone.{key}": value for key, value in random_state("resnet18", 0).items() if not key.startswith("fc.")
    }
    card = {"recipe": "pgd, threat l2, eps 0.5", "under L2 0.5": "31.00 %\nusable  yes", "arch": "resnet18", "use": "x"}
    torch.save({"meta": {"arch": "resnet18", "rtx_source": card}, "state_dict": state}, tmp_path / "source.pth")
    text = as_text(describe(tmp_path / "source.pth"))
    assert "pgd, threat l2, eps 0.5" in text and text.count("\nusable") == 1


def test_a_timm_source_is_usable_as_its_card_says(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="needs the extra timm")
    arch = "timm:test_vit"
    state = {
        f"backbone.net.{key}": value for key, value in random_state(arch, 0).items() if not key.startswith("head.")
    }
    torch.save({"meta": {"arch": arch, "rtx_source": {"arch": arch}}, "state_dict": state}, tmp_path / "source.pth")
    facts = describe(tmp_path / "source.pth")
    assert facts["architecture"] == arch and facts["problems"] == []
