from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rtx.cli.main import main
from tests.reports.made import make_family, make_run

ROOT = Path(__file__).resolve().parents[2]


def test_report_says_where_it_is_and_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_family(tmp_path / "runs")
    assert main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "out"), "--baseline", "eps3 full"]) == 0
    shown = capsys.readouterr().out
    assert f"report: {tmp_path / 'out' / 'report.html'}" in shown and "against eps3 full" in shown


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "nothing"), "--out", str(tmp_path / "out")]) == 2
    assert main(["report", str(make_run(tmp_path, "m")), "--out", str(tmp_path / "out"), "--baseline", "n"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if not line[:2].isdigit()]
    assert len(errors) == 2 and "rtx corrupt_eval" in errors[0] and "'n'" in errors[1]


def test_it_needs_no_torch_and_no_openmmlab(tmp_path: Path) -> None:
    modules = "rtx.reports.build, rtx.reports.runs.compare, rtx.results.published_files"
    code = f"import sys, {modules}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(done.stdout.split()).isdisjoint({"torch", "torchvision", "mmengine", "mmcv", "mmdet", "mmseg", "cv2"})


@pytest.mark.realdata
def test_import_then_report(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "ref_robustness_results" / "detection" / "cityscapes"
    assert main(["import_published", str(source), "--out", str(tmp_path / "in")]) == 0
    assert main(["report", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    models = {m["name"]: m for m in summary["groups"][0]["models"]}
    first = models["Faster R-CNN R50"]
    assert [round(100 * first[name], 1) for name in ("P", "mPC", "rPC")] == [36.4, 12.2, 33.4]
    assert "not stated there: number of images" in (tmp_path / "out" / "report.html").read_text()
