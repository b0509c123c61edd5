"""Style transfer: what AdaIN computes, and a copy of a data folder that can be trained on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from rtx.augment.adain import Stylist, decoder, encoder, load, moments
from rtx.cli.main import main
from rtx.datasets.image_files import read_rgb
from rtx.errors import BadValue, WeightsError


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Random weights as the files have them: the encoder's goes on behind relu4_1."""
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("weights")
    networks = encoder(), decoder()
    for module in [m for network in networks for m in network if isinstance(m, nn.Conv2d)]:
        nn.init.kaiming_normal_(module.weight)  # so that something comes out behind 19 layers
    nn.init.constant_(networks[1][-1].bias, 0.5)
    behind = {"31.weight": torch.zeros(3), "51.bias": torch.zeros(3)}
    torch.save({**networks[0].state_dict(), **behind}, place / "vgg_normalised.pth")
    torch.save(networks[1].state_dict(), place / "decoder.pth")
    return place / "vgg_normalised.pth", place / "decoder.pth"


def picture(seed: int, height: int = 41, width: int = 57) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (5, 6, 3)).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def test_the_networks_have_the_layers_of_the_files() -> None:
    convolutions = [n for n, m in enumerate(encoder()) if isinstance(m, nn.Conv2d)]
    assert convolutions == [0, 2, 5, 9, 12, 16, 19, 22, 25, 29] and len(encoder()) == 31
    assert [n for n, m in enumerate(decoder()) if isinstance(m, nn.Conv2d)] == [1, 5, 8, 11, 14, 18, 21, 25, 28]


def test_what_is_decoded_has_the_moments_of_the_style(weights: tuple[Path, Path]) -> None:
    stylist = Stylist(*weights)
    seen = []
    stylist.decoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    style = stylist.style(picture(1, 64, 80))
    found = stylist(picture(2), style)
    assert found.shape == (41, 57, 3) and found.dtype == np.uint8
    mean, deviation = moments(seen[0])
    torch.testing.assert_close(mean, style[0], atol=1e-4, rtol=1e-3)
    alive = stylist.style(picture(2))[1] > 0.1  # a channel that the image leaves at 0 stays flat
    assert int(alive.sum()) > 100
    torch.testing.assert_close(deviation[alive], style[1][alive], atol=4e-3, rtol=2e-2)
    assert not np.array_equal(found, stylist(picture(2), stylist.style(picture(3, 64, 80))))


def test_of_strength_0_the_style_does_not_matter(weights: tuple[Path, Path]) -> None:
    stylist = Stylist(*weights, alpha=0)
    first, second = (stylist(picture(2), stylist.style(picture(n, 64, 64))) for n in (4, 5))
    assert np.array_equal(first, second)


def test_other_files_and_images_that_are_too_small_are_refused(weights: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="as --decoder"):
        load(decoder(), weights[0])
    with pytest.raises(BadValue, match="--strength 2"):
        Stylist(*weights, alpha=2)
    stylist = Stylist(*weights)
    with pytest.raises(BadValue, match="12x30 pixels"):
        stylist(picture(0, 30, 12), stylist.style(picture(1)))


@pytest.fixture
def styles(tmp_path: Path) -> Path:
    place = tmp_path / "styles"
    place.mkdir()
    for n in range(3):
        cv2.imwrite(str(place / f"{n}.png"), picture(10 + n, 40, 48))
    return place


def test_the_copy_is_a_data_folder_whose_training_images_alone_are_others(
    made_coco: Path, styles: Path, weights: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "copy"
    files = ["--encoder", str(weights[0]), "--decoder", str(weights[1])]
    words = ["stylise", str(made_coco), "--styles", str(styles), *files, "--out", str(out), "--device", "cpu"]
    assert main([*words, "--lossless"]) == 0
    images = {p.relative_to(made_coco) for p in made_coco.rglob("*") if p.suffix in (".jpg", ".png")}
    assert {p.relative_to(out) for p in out.rglob("*") if p.suffix in (".jpg", ".png")} == images
    for path in images:
        before, after = made_coco / path, out / path
        if "train" in path.parts[0]:
            assert read_rgb(before).shape == read_rgb(after).shape and before.read_bytes() != after.read_bytes()
        else:
            assert before.read_bytes() == after.read_bytes() and not before.samefile(after)
    for path in made_coco.glob("annotations/*.json"):
        assert (out / path.relative_to(made_coco)).read_bytes() == path.read_bytes()
    first = next(p for p in sorted(images) if "train" in p.parts[0])
    content = (out / first).read_bytes()
    (out / first).unlink()
    capsys.readouterr()
    assert main([*words, "--lossless"]) == 0
    assert "1 stylised" in capsys.readouterr().out and (out / first).read_bytes() == content
    assert main([*words, "--lossless", "--seed", "1"]) == 2 and "other settings (seed" in capsys.readouterr().err
    assert main([*words[:-4], "--out", str(made_coco / "x")]) == 2 and "beside each other" in capsys.readouterr().err
