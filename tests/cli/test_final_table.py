"""The table that an evaluation ends with, character by character."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest

from rtx.cli.final_table import final_table, look_of, sparkline
from rtx.corruptions import BENCHMARK
from rtx.results.cell import Cell
from rtx.results.evaluation import Evaluation
from rtx.results.summary import build_summary
from rtx.types import CLEAN, SEVERITIES, Condition

CARD = {"limit": None, "n_images": 500, "labels": {}}
WHOLE = """\
bbox_mAP in percent, 500 images

  P     40.00  [38.50, 41.50]
  mPC   21.10  [20.00, 22.10]
  rPC   52.74
  drop  47.26
  [ ] 95 % intervals over images, 1000 resamples

                     1...5       1       2       3       4       5    mean    drop
noise                                                                28.62   28.45
  gaussian_noise     ██▇▇▇   38.80   37.64   36.51   35.41   34.35   36.54    8.65
  shot_noise         ▇▇▆▆▅   36.40   33.12   30.14   27.43   24.96   30.41   23.97
  impulse_noise      ▆▅▄▃▃   30.40   23.10   17.56   13.34   10.14   18.91   52.72
blur                                                                 21.72   45.71
  defocus_blur       ██▇▇▇   38.80   37.64   36.51   35.41   34.35   36.54    8.65
  glass_blur         ▇▆▅▄▄   32.80   26.90   22.05   18.08   14.83   22.93   42.67
  motion_blur        ▅▄▃▂▂   24.80   15.38    9.53    5.91    3.66   11.86   70.36
  zoom_blur          ▆▄▃▃▂   28.00   19.60   13.72    9.60    6.72   15.53   61.18
weather                                                              18.46   53.85
  snow               ▅▄▃▂▂   24.80   15.38    9.53    5.91    3.66   11.86   70.36
  frost              ▇▆▅▄▄   32.80   26.90   22.05   18.08   14.83   22.93   42.67
  fog                ▅▃▂▂▁   21.20   11.24    5.96    3.16    1.67    8.64   78.39
  brightness         ▇▇▆▆▅   36.40   33.12   30.14   27.43   24.96   30.41   23.97
digital                                                              17.47   56.32
  contrast           ▆▅▄▃▂   29.20   21.32   15.56   11.36    8.29   17.15   57.14
  elastic_transform  ▆▄▃▂▂   26.00   16.90   10.98    7.14    4.64   13.13   67.17
  pixelate           ▇▆▅▅▄   34.40   29.58   25.44   21.88   18.82   26.02   34.94
  jpeg_compression   ▆▄▃▂▂   26.40   17.42   11.50    7.59    5.01   13.58   66.04

worst  fog 8.64,  motion_blur 11.86,  snow 11.86
best   defocus_blur 36.54,  gaussian_noise 36.54,  brightness 30.41

                    P     mPC     rPC
  bbox_mAP_50   60.00   21.10   35.16"""
FACTORS = (0.97, 0.91, 0.76, 0.97, 0.82, 0.62, 0.7, 0.62, 0.82, 0.53, 0.91, 0.73, 0.65, 0.86, 0.66)


def made(corruptions: tuple[str, ...] = BENCHMARK, *, limit: int | None = None) -> dict[str, Any]:
    """A summary whose corruptions decay at different rates."""
    values = {CLEAN: 0.4} | {
        Condition(name, s): 0.4 * factor**s
        for name, factor in zip(corruptions, FACTORS, strict=False)
        for s in SEVERITIES
    }
    cells = {c: Cell(c, {"bbox_mAP": v, "bbox_mAP_50": 0.6 if c == CLEAN else v}, 500, {}) for c, v in values.items()}
    summary = build_summary(Evaluation(Path(), {**CARD, "limit": limit}, cells), "bbox_mAP")
    sure = {"P": [0.385, 0.415], "mPC": [0.2, 0.221], "cells": {}, "means": {}, "drops": {}, "missing": {}}
    summary["intervals"] = {"level": 0.95, "resamples": 1000, "n_images": 500, **sure}
    return summary


def test_the_whole_table() -> None:
    assert final_table(made(), look_of()) == WHOLE


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("limit", [None, 200])
def test_it_fits_and_without_block_characters_it_is_plain(width: int, limit: int | None) -> None:
    summary = made(limit=limit)
    names = ["noise", "blur", "weather", "digital", *BENCHMARK]
    summary["intervals"]["means"] = {name: [0.1, 0.2] for name in names}
    summary["intervals"]["drops"] = {name: [0.5, 0.6] for name in names}
    text = final_table(summary, look_of(io.TextIOWrapper(io.BytesIO(), encoding="ascii"), width))
    assert text.isascii() and max(map(len, text.splitlines())) <= width
    assert [name for name in BENCHMARK if re.search(rf"^  {name} .*\d", text, re.M)] == list(BENCHMARK)
    assert "\x1b" not in text


def test_a_preview_labels_every_number_and_shows_none_without_its_interval() -> None:
    summary = made(limit=200)
    names = ["noise", "blur", "weather", "digital", *BENCHMARK]
    summary["intervals"]["rPC"] = [0.5, 0.55]
    summary["intervals"]["means"] = {name: [0.1, 0.2] for name in names}
    summary["intervals"]["drops"] = {name: [0.5, 0.6] for name in names}
    sure = {"P": [0.55, 0.65], "mPC": [0.2, 0.22], "rPC": [0.3, 0.4]}
    summary["intervals"]["others"] = {"bbox_mAP_50": sure}
    text = final_table(summary, look_of())
    assert text.startswith("PREVIEW: 500 images only")
    for line in text.splitlines():
        scores = re.findall(r"(?<!\[)(?<!, )\b\d+\.\d\d\b(?!])", line)
        assert len(re.findall(r"\d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\]|\d+\.\d\d  \[", line)) == len(scores), line
    for word in ("P", "mPC", "rPC", "mean", "drop", "worst", "best"):
        assert f"PREVIEW {word}" in text
    assert re.search(
        r"^  bbox_mAP_50 +60.00 \[55.00, 65.00\] +21.10 \[20.00, 22.00\] +35.16 \[30.00, 40.00\]$", text, re.M
    )
    narrow = final_table(summary, look_of(width=80)).splitlines()
    assert re.fullmatch(r" +PREVIEW P +PREVIEW mPC", narrow[-2]), "what has no room stays in table.md"
    del summary["intervals"]["others"]
    assert re.search(r"^  bbox_mAP_50 \(no interval\) +60.00", final_table(summary, look_of()), re.M), "its row says so"
    summary["intervals"] = None
    assert "no intervals were computed" in final_table(summary, look_of())


def test_what_is_missing_is_said_and_not_drawn() -> None:
    summary = made(("fog", "spatter"))
    summary["intervals"]["missing"] = {"mPC": "1 of its cells have no interval, e.g. fog_1"}
    del summary["intervals"]["mPC"]
    text = final_table(summary, look_of())
    assert "INCOMPLETE grid: mPC(1/15 corruptions, severities 1,2,3,4,5)" in text
    assert "no interval: 1 of its cells" in text and "held out (in no mean)" in text and "worst" not in text
    only = final_table(
        build_summary(Evaluation(Path(), CARD, {CLEAN: Cell(CLEAN, {"mIoU": 0.5}, 3, {})}), "mIoU"), look_of()
    )
    assert re.search(r"^  P +50\.00$", only, re.M) and "1...5" not in only
    assert "clean images only: P, and no mPC" in only and "INCOMPLETE" not in only


def test_sparklines_share_one_scale_and_leave_gaps() -> None:
    assert sparkline([0.8, 0.4, None, 0.0, 2.0], 0.8) == "█▅ ▁█"
    assert sparkline([0.8, 0.0], 0.8, "_#") == "#_" and sparkline([0.1], 0.0) == " "


def test_a_file_gets_no_colour_and_a_terminal_obeys_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "77")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert look_of().width == 100 and look_of(Terminal()).width == 77
    assert "\x1b" not in final_table(made(), look_of())
    assert re.search("\x1b\\[3[12]m", final_table(made(), look_of(Terminal())))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search("\x1b\\[3[12]m", final_table(made(), look_of(Terminal())))
