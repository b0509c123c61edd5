"""Laws of the demo: finished steps are kept, half-done ones are not, and what it prints is what it measured."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rtx.cli import demo as command
from rtx.demo.plan import FULL, MODES, PREVIEW, DemoSettings
from rtx.demo.screen import Screen, clock
from rtx.errors import RtxError, RunConflict

steps = pytest.importorskip("rtx.demo.steps")
TINY = DemoSettings("preview", 6, 2, 64, 1, 2, 2, ("gaussian_noise",), (5,))


class Fake(steps.Demo):
    """A demo whose steps only note that they were done."""

    done: list[str] = []  # noqa: RUF012 - shared on purpose, emptied by the fixture

    def _render(self, report: Any) -> str:
        report(1, 1)
        return self._note("data")

    def _train_source(self, report: Any) -> str:
        return self._note("source")

    _find_source = _train_source

    def _transfer(self, mode: str, report: Any) -> str:
        return self._note(mode)

    def _evaluate(self, screen: Screen, mode: str) -> dict[str, Any]:
        return {"mode": mode}

    def _note(self, name: str) -> str:
        self.done.append(name)
        return f"{name} made"


@pytest.fixture(autouse=True)
def _no_memory() -> Iterator[None]:
    Fake.done.clear()
    yield


def play(out: Path, plan: DemoSettings = TINY, seed: int = 0, *, fresh: bool = False) -> str:
    demo = Fake(out, plan, seed)
    demo.claim(fresh=fresh)
    text = io.StringIO()
    assert set(demo.run(Screen(steps.STEPS, out / "console.log", text))) == set(MODES)
    return text.getvalue()


def test_second_run_keeps_every_step_and_says_so(tmp_path: Path) -> None:
    play(tmp_path / "d")
    assert Fake.done == ["data", "source", "fixed", "full"]
    text = play(tmp_path / "d")
    assert len(Fake.done) == 4 and text.count("kept from an earlier run") == 4


def test_fresh_another_seed_and_other_amounts_do_everything_again(tmp_path: Path) -> None:
    play(tmp_path / "d")
    play(tmp_path / "d", fresh=True)
    assert len(Fake.done) == 8
    play(tmp_path / "d", seed=1)
    assert len(Fake.done) == 12
    play(tmp_path / "d", replace(TINY, epochs=2), seed=1)
    assert len(Fake.done) == 16


def test_an_interrupted_step_starts_from_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Fake, mode: str, report: Any) -> str:
        (self.out / mode / "half.pth").write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Fake, "_transfer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            play(tmp_path / "d")
    assert Fake.done == ["data", "source"]
    play(tmp_path / "d")
    assert Fake.done == ["data", "source", "fixed", "full"]
    assert not (tmp_path / "d" / "fixed" / "half.pth").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for fresh in (False, True):
        with pytest.raises(RunConflict, match="something else"):
            Fake(tmp_path, TINY, 0).claim(fresh=fresh)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def summary(clean: float, corrupted: float, *, complete: bool = True) -> dict[str, Any]:
    families = {family: {"drop": 1 - corrupted / clean} for family in ("noise", "blur", "weather", "digital")}
    row = {"P": clean, "mPC": corrupted, "rPC": corrupted / clean, "families": families}
    label = "mPC" if complete else "mPC(1/15 corruptions, severities 5)"
    protocol = {"corruption_engine": "e", "corruption_engine_version": "1", "corruption_seed": 0}
    return {
        "complete": complete, "label": label, "n_images": 24, "cells": {"clean": 0, "fog_1": 0}, "protocol": protocol,
        "metrics": {"bbox_mAP": row, "segm_mAP": row},
    }  # fmt: skip


def test_table_shows_the_measured_numbers_in_percent() -> None:
    text = command.table({"fixed": summary(0.5, 0.2), "full": summary(0.6123, 0.3)})
    assert "PREVIEW" not in text and all(name in text for name in ("rPC", "noise drop", "digital drop", "mask AP"))
    row = next(line for line in text.splitlines() if "fixed" in line and "mask AP" in line)
    assert row.split() == [
        "fixed",
        "mask",
        "AP",
        "50.00",
        "20.00",
        "40.00",
        *["60.00"] * 4,
    ]
    assert "61.23" in text and max(map(len, text.splitlines())) <= 110


def test_an_incomplete_grid_is_called_preview_and_never_plain_mpc() -> None:
    text = command.table({"fixed": summary(0.5, 0.2, complete=False)})
    assert "PREVIEW" in text and "mPC(1/15" in text.replace("\n", " ")


@pytest.mark.parametrize(
    ("clean", "corrupted", "said"), [(0.5, 0.2, None), (0.1, 0.05, "guessing"), (0.5, 0.5, "no less than clean")]
)
def test_numbers_that_tell_nothing_are_called_doubtful(clean: float, corrupted: float, said: str | None) -> None:
    found = command.doubts({"full": summary(clean, corrupted)})
    assert len(found) == (2 if said else 0) and all(said in doubt for doubt in found if said)


def test_ending_names_three_commands_and_where_the_files_are(tmp_path: Path) -> None:
    text = command.ending(tmp_path)
    assert [line.strip()[:2] for line in text.splitlines() if "tools/" in line] == ["1.", "2.", "3."]
    assert str(tmp_path / "table.txt") in text and "gallery.png" in text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["file", "terminal"])
def test_screen_counts_steps_and_keeps_other_talk_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, stream: io.StringIO
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    screen = Screen(2, tmp_path / "log", stream)
    with screen.step("one", "things") as (report, result):
        print("noise")
        logging.getLogger("rtx.test").warning("more noise")
        report(1, 4)
        report(3, 4)
        result.append("fine")
    with screen.step("two", "things"):
        pass
    shown = stream.getvalue()
    assert ("3 of 4 things" in shown) == stream.isatty()
    assert "1/2 one: fine" in shown and "2/2 two: done" in shown
    assert "noise" not in shown + "".join(capsys.readouterr())
    assert "noise" in (tmp_path / "log").read_text() and "more noise" in (tmp_path / "log").read_text()
    assert clock(0) == " 0:00" and clock(600) == "10:00"


def test_a_long_step_says_where_it_is_without_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with Screen(1, tmp_path / "log", stream).step("one", "things") as (report, _):
        for done in range(1, 41):
            now[0] += 1
            report(done, 40)
    assert [line.split()[-4] for line in stream.getvalue().splitlines()[1:-1]] == ["15", "30"]


def test_an_error_inside_a_step_reaches_the_caller(tmp_path: Path) -> None:
    with pytest.raises(RtxError), Screen(1, tmp_path / "log", io.StringIO()).step("one", "things"):
        raise RtxError("broken")


def test_the_plans_are_what_they_claim() -> None:
    assert FULL.corruptions == ("benchmark",) and FULL.severities == (1, 2, 3, 4, 5)
    assert PREVIEW.iterations < FULL.iterations and PREVIEW.name == "preview"


def test_another_source_does_everything_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for real in (False, True, True):
        monkeypatch.setattr("rtx.demo.source_task.has_imagenet", lambda real=real: real)
        text = play(tmp_path / "d")
        assert ("EfficientNet-Lite0 from ImageNet" if real else "ResNet-18 on single rendered objects") in text
    assert len(Fake.done) == 8


@pytest.mark.parametrize("real", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_whole_demo_in_miniature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real: bool) -> None:
    """Every part for real: scenes, source, both transfers, evaluation; then once more from the cache."""
    pytest.importorskip("mmdet")
    if not real:
        monkeypatch.setattr("rtx.demo.source_task.has_imagenet", lambda: False)
    elif not steps.source_task.has_imagenet():
        pytest.skip("needs the extra lite0")
    from mmengine.config import Config

    out = tmp_path / "d"
    demo = steps.Demo(out, TINY, 3)
    demo.claim(fresh=False)
    first = demo.run(Screen(steps.STEPS, out / "console.log", io.StringIO()))
    for mode in MODES:
        assert set(first[mode]["cells"]) == {"clean", "gaussian_noise_5"} and first[mode]["n_images"] == 2
        assert not first[mode]["complete"] and set(command.METRICS) <= set(first[mode]["metrics"])
        cfg = Config.fromfile(str(out / mode / command_leaf()))
        backbone = cfg.model.backbone
        assert (backbone.source == "efficientnet_lite0_in1k") if real else (backbone.depth == 18)
        assert cfg.model.roi_head.mask_head.num_classes == 6
    assert [first[mode]["protocol"]["transfer"] for mode in MODES] == ["fixed", "full"]
    assert json.loads((out / "fixed" / "run.json").read_text()) != json.loads((out / "full" / "run.json").read_text())

    text = io.StringIO()
    again = demo.run(Screen(steps.STEPS, out / "console.log", text))
    assert again == first and text.getvalue().count("kept from an earlier run") == steps.STEPS - 1
    assert "PREVIEW" in command.table(first)

    # Cells that another protocol left in the demo's own folder are replaced, not fatal.
    protocol = out / "fixed" / "corruption_eval" / "protocol.json"
    protocol.write_text(protocol.read_text().replace('"image_key": "file_stem"', '"image_key": "another"'))
    assert demo._evaluate(Screen(1, out / "console.log", io.StringIO()), "fixed")["cells"] == first["fixed"]["cells"]


def command_leaf() -> str:
    from rtx.demo.plan import LEAF

    return LEAF
