"""`rtx weights`: what it prints and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from rtx.cli.main import main
from rtx.sources.catalog.rows import CATALOG
from rtx.sources.table import HEADER, rows, select


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


def test_make_up_inspect_and_convert_follow_each_other(capsys, tmp_path):
    assert main(["weights", "make-up", "resnet18_l2_eps3", "--folder", str(tmp_path)]) == 0
    assert "not trained" in capsys.readouterr().out
    path = tmp_path / "resnet18_l2_eps3.ckpt"
    assert main(["weights", "inspect", str(path)]) == 0
    assert "resnet18_l2_eps3" in capsys.readouterr().out
    assert main(["weights", "convert", str(path), "--to", "mmdet"]) == 0
    assert (tmp_path / "resnet18_l2_eps3_mmdet.pth").is_file()
    assert "prefix='backbone.'" in capsys.readouterr().out
