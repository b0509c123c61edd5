"""Laws of the demo's source: reproducible, learns, and saved as torchvision would save it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rtx.demo.scenes import SOURCE_CLASSES

source_task = pytest.importorskip("rtx.demo.source_task")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("source") / "deep" / "source.pth"
    accuracy = source_task.train_source(path, seed=1, crops=64, epochs=1, held_out=32)
    assert 0 <= accuracy <= 1
    return path


def test_state_dict_is_torchvisions(saved: Path) -> None:
    models = pytest.importorskip("torchvision.models")
    state = torch.load(saved, weights_only=True)
    expected = models.resnet18(num_classes=len(SOURCE_CLASSES)).state_dict()
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in expected.items()}
    assert list(saved.parent.iterdir()) == [saved]


def test_it_goes_in_through_the_source_loader(saved: Path) -> None:
    from rtx.backbones import SourceResNet

    backbone = SourceResNet(depth=18, source=f"resnet18:{saved}")
    backbone.init_weights()
    torch.testing.assert_close(backbone.conv1.weight.detach(), torch.load(saved, weights_only=True)["conv1.weight"])


def test_same_seed_same_weights_and_the_global_state_is_left_alone(saved: Path, tmp_path: Path) -> None:
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    seen: list[tuple[int, int]] = []
    source_task.train_source(
        tmp_path / "again.pth",
        seed=1,
        crops=64,
        epochs=1,
        held_out=32,
        progress=lambda done, all_: seen.append((done, all_)),
    )
    assert torch.equal(before, torch.random.get_rng_state()) and seen == [(1, 2), (2, 2)]
    first, again = (torch.load(path, weights_only=True) for path in (saved, tmp_path / "again.pth"))
    # Thread count may change the order of sums, nothing else may differ.
    torch.testing.assert_close(again, first, rtol=1e-3, atol=1e-4)
    source_task.train_source(tmp_path / "other.pth", seed=2, crops=64, epochs=1, held_out=32)
    assert not torch.allclose(
        torch.load(tmp_path / "other.pth", weights_only=True)["conv1.weight"], first["conv1.weight"]
    )


@pytest.mark.slow
def test_it_learns(tmp_path: Path) -> None:
    assert source_task.train_source(tmp_path / "s.pth", crops=1536, epochs=3) > 0.5
