"""The sweep: scores that depend on the protocol alone, cells that are not lost, summaries that say what they are."""

from __future__ import annotations

import json
import math
import multiprocessing
import queue
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rtx.errors import BadValue, DataError, RunConflict
from rtx.evaluation.evaluate import evaluate as evaluate_model
from rtx.evaluation.sweep.share import Share
from rtx.types import CLEAN, Condition
from tests.evaluation.stand_in import PixelDetector, coco_config

FEW = dict(corruptions=["gaussian_noise", "glass_blur", "frost"], severities=[1, 4], workers=0)


def evaluate(root: Path, out: Path, model: PixelDetector | None = None, **options: Any) -> dict[str, Any]:
    return evaluate_model(model or PixelDetector(), coco_config(root), out, **{**FEW, **options})


def cells_of(out: Path) -> dict[str, Any]:
    """Cell files without their timing."""
    rows = {p.name: json.loads(p.read_text()) for p in sorted((out / "cells").glob("*.json"))}
    for row in rows.values():
        assert row.pop("timing")["seconds"] > 0
    return rows


@pytest.fixture(scope="module")
def first(made_coco: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("first")
    return out, evaluate(made_coco, out)


def test_corruption_changes_the_scores_of_a_model_that_looks_at_pixels(first: tuple[Path, dict[str, Any]]) -> None:
    values = [cell["metrics"]["bbox_mAP"] for cell in first[1]["cells"].values()]
    assert len(values) == 7
    assert len(set(values)) > 3


def test_workers_do_not_change_a_cell_file(made_coco: Path, tmp_path: Path, first: tuple[Path, Any]) -> None:
    evaluate(made_coco, tmp_path, workers=2)
    assert cells_of(tmp_path) == cells_of(first[0])


def test_batch_size_moves_nothing_and_a_batch_holds_one_size(
    made_coco: Path, tmp_path: Path, first: tuple[Path, Any]
) -> None:
    model = PixelDetector()
    evaluate(made_coco, tmp_path, model, batch_size=3)
    assert cells_of(tmp_path) == cells_of(first[0])
    assert all(len(sizes) == 1 for sizes in model.sizes)


def test_the_order_of_corruptions_changes_nothing(made_coco: Path, tmp_path: Path, first: tuple[Path, Any]) -> None:
    evaluate(made_coco, tmp_path, corruptions=["frost", "glass_blur", "gaussian_noise"], severities=[4, 1])
    assert cells_of(tmp_path) == cells_of(first[0])


def test_two_ranks_give_the_cells_of_one(
    made_coco: Path, tmp_path: Path, first: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = [[], []]
    summaries: list[dict[str, Any]] = []
    sent: queue.Queue[list[Any]] = queue.Queue()

    def broadcast(row: list[Any]) -> None:
        if threading.current_thread().name == "0":
            sent.put(list(row))
        else:
            row[:] = sent.get(timeout=60)

    monkeypatch.setattr("mmengine.dist.broadcast_object_list", broadcast)

    def rank(number: int) -> None:
        note = seen[number].append
        summaries.append(
            evaluate(made_coco, tmp_path, share=Share(number, 2), on_cell=lambda cell, *_: note(cell.condition.key))
        )

    threads = [threading.Thread(target=rank, args=(n,), name=str(n)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert cells_of(tmp_path) == cells_of(first[0])
    assert [len(cells) for cells in seen] == [4, 3] and len({*seen[0], *seen[1]}) == 7, "no cell twice"
    assert summaries[0] == summaries[1] == first[1]


def test_an_interrupted_run_goes_on_where_it_stopped(made_coco: Path, tmp_path: Path, first: tuple[Path, Any]) -> None:
    def stop(cell: Any, done: int, todo: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(made_coco, tmp_path, on_cell=stop)
    assert len(cells_of(tmp_path)) == 3
    done: list[Condition] = []
    evaluate(made_coco, tmp_path, on_cell=lambda cell, *_: done.append(cell.condition))
    assert len(done) == 4
    assert cells_of(tmp_path) == cells_of(first[0])


def test_a_wider_grid_reuses_the_cells_of_a_narrow_one(made_coco: Path, tmp_path: Path) -> None:
    evaluate(made_coco, tmp_path, corruptions=["frost"], severities=[1])
    done: list[str] = []
    evaluate(
        made_coco,
        tmp_path,
        corruptions=["frost"],
        severities=[1, 2],
        on_cell=lambda c, *_: done.append(c.condition.key),
    )
    assert done == ["frost_2"]


@pytest.mark.parametrize("change", [dict(seed=1), dict(limit=2), dict(channel_order="bgr_legacy")], ids=str)
def test_another_protocol_needs_another_folder(made_coco: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    evaluate(made_coco, tmp_path, corruptions=["frost"], severities=[1])
    with pytest.raises(RunConflict, match="belongs to another run"):
        evaluate(made_coco, tmp_path, corruptions=["frost"], severities=[1], **change)


def test_a_model_that_predicts_nothing_scores_0(made_coco: Path, tmp_path: Path) -> None:
    summary = evaluate(made_coco, tmp_path, PixelDetector(silent=True))
    assert summary["P"] == summary["mPC"] == 0
    assert summary["rPC"] is None, "0 / 0 is undefined"
    assert all(cell["flags"] for cell in summary["cells"].values())


def test_a_partial_grid_never_calls_itself_mpc(first: tuple[Path, dict[str, Any]]) -> None:
    out, summary = first
    assert summary["complete"] is False
    assert summary["label"] == "mPC(3/15 corruptions, severities 1,4)"
    table = (out / "table.md").read_text()
    assert "INCOMPLETE" in table
    assert "| mPC |" not in table


def test_a_whole_grid_is_complete_and_its_mpc_is_the_mean_of_75_cells(made_coco: Path, tmp_path: Path) -> None:
    summary = evaluate(made_coco, tmp_path, corruptions=["benchmark"], severities=[1, 2, 3, 4, 5], limit=1)
    values = [c["metrics"]["bbox_mAP"] for k, c in summary["cells"].items() if k != "clean"]
    assert len(values) == 75
    assert summary["complete"] is True
    assert math.isclose(summary["mPC"], sum(values) / 75, abs_tol=1e-15)
    assert math.isclose(summary["rPC"], summary["mPC"] / summary["P"], abs_tol=1e-12) if summary["P"] else True
    assert set(summary["families"]) == {"noise", "blur", "weather", "digital"}
    assert summary["preview"] is True
    assert "PREVIEW" in (tmp_path / "table.md").read_text()


def test_limit_is_a_seeded_subset(made_coco: Path, tmp_path: Path) -> None:
    summary = evaluate(made_coco, tmp_path, corruptions=["frost"], severities=[1], limit=2)
    assert {cell["n_images"] for cell in summary["cells"].values()} == {2}
    with pytest.raises(BadValue, match="--limit 0"):
        evaluate(made_coco, tmp_path / "b", limit=0)


def test_csv_has_a_row_for_each_cell_and_metric_at_full_precision(first: tuple[Path, dict[str, Any]]) -> None:
    out, summary = first
    rows = [line.split(",") for line in (out / "cells.csv").read_text().splitlines()]
    head = rows[0]
    values = {
        (row[head.index("corruption")], row[head.index("severity")]): row[head.index("value")]
        for row in rows[1:]
        if row[head.index("metric")] == "bbox_mAP"
    }
    assert len(values) == 7
    assert float(values["frost", "4"]) == summary["cells"]["frost_4"]["metrics"]["bbox_mAP"]


def test_an_image_below_32_pixels_is_named_and_finished_cells_stay(
    made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data"
    shutil.copytree(made_coco, root)
    victim = sorted((root / "val2017").glob("*.jpg"))[0]
    Image.new("RGB", (31, 40)).save(victim)
    with pytest.raises((BadValue, DataError), match=rf"{victim.name}.*31x40") as caught:
        monkeypatch.setattr("rtx.evaluation.evaluate.check_data", lambda *given, **options: None)  # it says so before
        evaluate(root, tmp_path / "out", workers=2)
    assert "Traceback" not in str(caught.value)
    assert multiprocessing.active_children() == [], "loader processes end with the sweep, not with the garbage"
    assert (tmp_path / "out" / "cells" / f"{CLEAN.key}.json").is_file()


def test_a_missing_image_is_named(made_coco: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(made_coco, root)
    victim = sorted((root / "val2017").glob("*.jpg"))[0]
    victim.unlink()
    with pytest.raises(DataError, match=victim.name):
        evaluate(root, tmp_path / "out")


def test_every_cell_has_the_evidence_that_gives_its_score_again(first: tuple[Path, dict[str, Any]]) -> None:
    from rtx.results.evaluation import Evaluation
    from rtx.results.intervals import confidence

    out, summary = first
    assert {p.stem for p in (out / "cells").glob("*.npz")} == set(summary["cells"])
    found = confidence(Evaluation.read(out).evidence, "bbox_mAP", resamples=50)
    assert found.to_dict()["P"]["value"] == pytest.approx(summary["P"], abs=1e-12)


def test_kept_predictions_stand_beside_the_cells(made_coco: Path, tmp_path: Path) -> None:
    evaluate(made_coco, tmp_path, corruptions=["frost"], severities=[1], keep_predictions=True)
    assert {p.stem for p in (tmp_path / "predictions").iterdir()} == {"clean", "frost_1"}
