"""The card's precision names every switch that makes the forward pass less exact than its tensors."""

from __future__ import annotations

from itertools import product

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmengine")

from rtx.evaluation import card  # noqa: E402


def test_every_switch_makes_another_name() -> None:
    switches = list(product((False, True), repeat=3))
    names = {card.precision("cuda", tf32=a, tf32_matmul=b, channels_last=c) for a, b, c in switches}
    assert len(names) == len(switches) and card.precision("cuda") == "fp32"


@pytest.mark.parametrize("matmul", [False, True])
@pytest.mark.parametrize("convolutions", [False, True])
@pytest.mark.parametrize("ampere", [False, True])
def test_the_switches_of_this_process_are_read(
    monkeypatch: pytest.MonkeyPatch, matmul: bool, convolutions: bool, ampere: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0) if ampere else (7, 5))
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, convolutions
        name = card.precision("cuda", **card._tf32("cuda"))
        assert card._tf32("cpu") == {}
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    assert ("matmul" in name, "convolutions" in name) == (matmul and ampere, convolutions and ampere)
