"""The whole catalogue keeps its own rules."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from rtx.errors import UnknownName
from rtx.sources.catalog.archs import ARCHS
from rtx.sources.catalog.record import Source
from rtx.sources.catalog.rows import CATALOG, SHORT_NAMES, find
from rtx.sources.keys.layouts import LAYOUTS


@pytest.mark.parametrize("name", CATALOG)
def test_every_record_is_complete_and_consistent(name):
    source = CATALOG[name]
    assert source.name == name and name.startswith(source.arch.removeprefix("timm:").removeprefix("tf_") + "_")
    assert (source.arch in ARCHS or source.arch.startswith("timm:")) and source.layout in LAYOUTS
    assert bool(source.package) == bool(source.extra)
    assert source.filename and "/" not in source.filename and source.licence and source.paper
    assert all(url.startswith("https://") for url in source.urls)
    assert (source.threat == "none") == (source.eps == 0.0)
    assert source.clean_top1 is None or 0.3 < source.clean_top1 < 0.9
    assert source.sha256 is None or (len(source.sha256) == 64 and int(source.sha256, 16))
    assert set(source.unverified) <= {field.name for field in dataclasses.fields(Source)}
    assert all(0 <= v < 1 for v in source.mean) and all(0 < v <= 1 for v in source.std)
    assert (max(source.mean) == 0) == (min(source.std) == 1), "[0, 1] pixels, or statistics"


def test_file_names_are_unique():
    names = [source.filename for source in CATALOG.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "wide_resnet50_2", "wide_resnet50_4"])
@pytest.mark.parametrize("eps", ["0", "0.01", "0.03", "0.05", "0.1", "0.25", "0.5", "1", "3", "5"])
def test_the_l2_grid_of_salman_is_there(arch, eps):
    source = find(f"{arch}_l2_eps{eps}")
    assert source.filename == f"{arch}_l2_eps{eps}.ckpt" and source.eps == float(eps)


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "wide_resnet50_2"])
@pytest.mark.parametrize("eps", ["0.5", "1", "2", "4", "8"])
def test_the_linf_grid_of_salman_is_there(arch, eps):
    source = find(f"{arch}_linf_eps{eps}")
    assert source.filename == f"{arch}_linf_eps{float(eps):.1f}.ckpt"
    assert source.eps == pytest.approx(float(eps) / 255) and source.threat == "linf"


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_standard_weights_are_torchvisions_first_generation(depth):
    from torchvision.models import get_model_weights

    published = get_model_weights(f"resnet{depth}").IMAGENET1K_V1
    source = find(f"resnet{depth}_in1k_v1")
    assert published.url == source.urls[0]
    assert published.meta["_metrics"]["ImageNet-1K"]["acc@1"] == pytest.approx(100 * source.clean_top1)


def test_short_names_lead_to_records_and_hide_none():
    assert set(SHORT_NAMES.values()) <= set(CATALOG) and not set(SHORT_NAMES) & set(CATALOG)
    assert find("r50") is find("resnet50_in1k_v1")
    assert find("r50_eps3") is find("resnet50_l2_eps3")
    assert find("r50_deepaug_augmix") is find("resnet50_deepaug_augmix")
    assert find("wrn50_2_linf_eps4") is find("wide_resnet50_2_linf_eps4")


def test_pixel_statistics_are_those_of_openmmlab():
    source = find("r50_eps3")
    assert source.pixel_mean == [123.675, 116.28, 103.53] and source.pixel_std == [58.395, 57.12, 57.375]


def test_an_unknown_name_shows_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'resnet50_l2_eps3'"):
        find("resnet50_l2_ep3")


def test_the_catalogue_needs_no_torch():
    code = "import sys, rtx.sources.catalog.rows; assert not {'torch', 'mmengine', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
