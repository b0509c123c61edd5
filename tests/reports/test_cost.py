"""What keeps a report quick to start: nothing heavy is imported for it."""

from __future__ import annotations

import subprocess
import sys


def test_a_report_imports_neither_torch_nor_a_detector_framework() -> None:
    script = (
        "import sys; import rtx.cli.report, rtx.reports.build, rtx.reports.runs.runs; "
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    loaded = set(run.stdout.split())
    assert loaded.isdisjoint({"torch", "torchvision", "mmcv", "mmengine", "mmdet", "mmseg", "numba", "cv2", "scipy"})
