"""`rtx weights`: what it prints and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from rtx.cli.main import main
from rtx.cli.weights import HEADER, rows, select
from rtx.sources.catalog.rows import CATALOG
from tests.sources.made_up import make_source, random_state


def test_the_table_has_every_source_once(capsys):
    assert main(["weights", "list"]) == 0
    text = capsys.readouterr().out
    assert f"{len(CATALOG)} sources" in text
    assert [line.split()[0] for line in text.splitlines()[2 : 2 + len(CATALOG)]] == list(CATALOG)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["r50_eps3"], ["resnet50_l2_eps3"]),
        (["--arch", "vgg16_bn"], ["vgg16_bn_l2_eps0", "vgg16_bn_l2_eps3"]),
        (["--threat", "linf", "--arch", "resnet18", "--max-eps", "1"], ["resnet18_linf_eps0.5", "resnet18_linf_eps1"]),
        (["rusak", "SIN"], ["resnet50_ant_sin", "resnet50_ant3x3_sin"]),
        (["no such thing"], []),
    ],
)
def test_filters(capsys, arguments, names):
    main(["weights", "list", "--json", *arguments])
    assert [record["name"] for record in json.loads(capsys.readouterr().out)] == names


def test_linf_radii_are_shown_in_255ths():
    (row,) = rows(select(["resnet50_linf_eps4"]))
    assert dict(zip(HEADER, row, strict=True))["eps"] == "4/255"


def test_listing_needs_no_heavy_import():
    """An answer in a tenth of a second: anything numeric would cost more than the whole command."""
    code = (
        "import sys; from rtx.cli.main import main; main(['weights', 'list'])\n"
        "assert not {'torch', 'numpy', 'mmengine', 'cv2', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_bad_input_ends_with_2_and_one_line(capsys, tmp_path):
    (tmp_path / "page.pth").write_text("<html>404</html>")
    for arguments, text in (
        (["list", "--arch", "resnet51"], "resnet50"),
        (["fetch", "resnet50_l2_ep3"], "resnet50_l2_eps3"),
        (["inspect", str(tmp_path / "gone.pth")], "no such file"),
        (["inspect", str(tmp_path / "page.pth")], "a web page"),
        (["convert", str(tmp_path / "page.pth"), "--to", "mmdett"], "mmdet"),
    ):
        assert main(["weights", *arguments]) == 2
        error = capsys.readouterr().err.strip()
        assert text in error and "\n" not in error


def test_inspect_and_convert_follow_each_other(capsys, tmp_path):
    path = make_source(tmp_path, CATALOG["resnet18_l2_eps3"])
    assert main(["weights", "inspect", str(path)]) == 0
    assert "resnet18_l2_eps3" in capsys.readouterr().out
    assert main(["weights", "convert", str(path), "--to", "mmdet"]) == 0
    assert (tmp_path / "resnet18_l2_eps3_mmdet.pth").is_file()
    assert "prefix='backbone.'" in capsys.readouterr().out


@pytest.mark.parametrize("fitting", [True, False])
def test_names_in_a_file_cannot_write_to_the_terminal(capsys, tmp_path, fitting):
    state = random_state("resnet18", 0, small=True)
    forged = "x\x1b[2K\rusable         yes\nusable         yes\u202e"
    torch.save({"state_dict": state if fitting else state | {forged: torch.zeros(1)}, forged: 1}, tmp_path / "f.pth")
    assert main(["weights", "inspect", str(tmp_path / "f.pth")]) == 1  # an eighth of the channels
    text = capsys.readouterr().out
    assert text.count("\nusable") == 1 and "\\x1b[2K" in text
    assert all(line.isprintable() for line in text.splitlines())
