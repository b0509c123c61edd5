"""Features of a frozen source are what stands in front of its published classifier."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from rtx.errors import BadValue, UnknownName, WeightsError
from rtx.probe.source import FORWARD, check_source, load_frozen
from rtx.sources.catalog import rows
from rtx.sources.catalog.archs import build_reference
from rtx.sources.catalog.record import Source

Numbers = tuple[float, ...]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGES = torch.randint(0, 256, (3, 48, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def saved(tmp: Path, arch: str = "resnet18") -> tuple[Path, nn.Module]:
    network = build_reference(arch, num_classes=5).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.1)
    torch.save(network.state_dict(), tmp / "mine.pth")
    return tmp / "mine.pth", network


def penultimate(network: nn.Module, pixels: torch.Tensor, mean: Numbers = MEAN, std: Numbers = STD) -> torch.Tensor:
    network.fc = nn.Identity()
    with torch.inference_mode():
        shown = (pixels / 255 - torch.tensor(mean)) / torch.tensor(std)
        return network(shown.permute(0, 3, 1, 2))


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path, network = saved(tmp_path)
    frozen = load_frozen(str(path))
    assert (frozen.arch, frozen.width, frozen.name) == ("resnet18", 512, "mine")
    assert not frozen.network.training and not any(p.requires_grad for p in frozen.network.parameters())
    wanted = penultimate(network, IMAGES)
    torch.testing.assert_close(frozen(IMAGES), wanted, rtol=1e-4, atol=1e-4)
    assert float(wanted.std()) > 1e-2
    assert load_frozen(f"resnet18:{path}").weights == frozen.weights
    state = torch.load(path)
    state["layer4.1.bn2.running_var"][3] *= 1.001
    torch.save(state, path)
    assert load_frozen(str(path)).weights != frozen.weights, "one number of a buffer is another source"


def test_a_record_with_its_own_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, network = saved(tmp_path)
    monkeypatch.setenv("RTX_WEIGHTS", str(tmp_path))
    mean, std = (0.1, 0.2, 0.3), (0.2, 0.3, 0.4)
    record = Source(
        "made", "resnet18", "made", path.name, "torchvision", "none", "none", mean=mean, std=std, channel_order="bgr"
    )
    monkeypatch.setitem(rows.CATALOG, "made", record)
    wanted = penultimate(network, IMAGES.flip(-1), mean, std)  # the network sees B, G, R
    torch.testing.assert_close(load_frozen("made")(IMAGES), wanted, rtol=1e-4, atol=1e-4)
    assert float((wanted - penultimate(network, IMAGES, mean, std)).abs().max()) > 1e-2


def test_random_weights_are_the_same_ones() -> None:
    state = torch.random.get_rng_state()
    one, two, other = (
        load_frozen("resnet18:random"),
        load_frozen("resnet18:random"),
        load_frozen("resnet18:random", seed=1),
    )
    assert one.weights == two.weights != other.weights
    assert torch.equal(torch.random.get_rng_state(), state), "the caller's random numbers are left alone"
    with pytest.raises(BadValue, match="resnet18:random"):
        load_frozen("random")


def test_other_features_of_the_same_weights_are_another_forward() -> None:
    """When this fails on purpose, count `rtx.probe.source.FORWARD` up: caches made before are not used then."""
    frozen = load_frozen("resnet18:random")
    found = frozen(IMAGES)
    assert frozen.forward["rtx"] == FORWARD == "1" and "torch" not in frozen.forward
    wanted = torch.tensor(
        [[0.238746, 0.698021, 1.307121], [0.350959, 0.970489, 1.409699], [0.193143, 0.563171, 1.253730]]
    )
    torch.testing.assert_close(found[:, :3], wanted, rtol=1e-3, atol=1e-4)


def test_what_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean"):
        check_source("resnet50_l2_ep3")
    with pytest.raises(WeightsError, match="no such file"):
        check_source("resnet18:nowhere.pth")
    torch.save({"a.weight": torch.zeros(2)}, tmp_path / "odd.pth")
    with pytest.raises((BadValue, WeightsError), match="odd"):
        load_frozen(str(tmp_path / "odd.pth"))


def test_what_a_classifier_of_timm_reads() -> None:
    pytest.importorskip("timm")
    frozen = load_frozen("timm:tf_efficientnet_lite0@random")
    assert frozen.forward["timm"] and frozen.width == 1280 and frozen.mean == pytest.approx((127.5,) * 3)
    with torch.inference_mode():
        shown = ((IMAGES - 127.5) / 127.5).permute(0, 3, 1, 2)
        wanted = frozen.network.net.forward_head(frozen.network.net.forward_features(shown), pre_logits=True)
    torch.testing.assert_close(frozen(IMAGES), wanted, rtol=1e-4, atol=1e-5)


def test_sources_trained_here_have_the_names_of_their_folders(tmp_path: Path) -> None:
    names = []
    for run in ("standard", "robust"):
        (tmp_path / run).mkdir()
        place = tmp_path / run / "source.pth"
        torch.save(build_reference("resnet18", num_classes=5).state_dict(), place)
        names.append(load_frozen(f"resnet18:{place}").name)
    assert names == ["standard-source", "robust-source"]
