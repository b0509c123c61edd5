from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rtx.corruptions import BENCHMARK, CORRUPTIONS
from rtx.errors import BadValue
from rtx.metrics.robustness import rpc, summarise
from rtx.results.published_files import read_result_file
from rtx.types import CLEAN, Condition

NAMES = {"bbox AP": "bbox_mAP", "segm AP": "segm_mAP", "AP50": "AP50"}


def coco_row(score: float) -> dict[str, Any]:
    return {"bbox": {"AP": score, "AP50": score + 0.1, "AR1": 0.9}, "segm": {"AP": score / 2}}


def voc_row(score: float) -> list[dict[str, float]]:
    return [{"ap": score}, {"ap": score + 0.2}]


def table(row: Any) -> dict[str, Any]:
    """0.4 on clean images, and 0.05 less with each severity; the held-out corruptions score higher."""
    return {
        name: {str(s): row(0.4 - 0.05 * s + (0.1 if s and name not in BENCHMARK else 0)) for s in range(6)}
        for name in CORRUPTIONS
    }


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_coco_layout(tmp_path: Path) -> None:
    grids, _ = read_result_file(write(tmp_path / "a.json", table(coco_row)))
    assert set(grids) == {"bbox_mAP", "bbox_mAP_50", "segm_mAP"}
    assert grids["bbox_mAP"][CLEAN] == 0.4
    assert grids["segm_mAP"][Condition("fog", 2)] == pytest.approx(0.15)
    assert len(grids["bbox_mAP"]) == 1 + 19 * 5
    summary = summarise(read_result_file(tmp_path / "a.json")[0]["bbox_mAP"])
    assert (summary.P, summary.mPC, summary.complete) == (0.4, pytest.approx(0.25), True)


def test_voc_layout_is_the_mean_over_classes_then_the_ratio_of_means(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", table(voc_row))
    summary = summarise(read_result_file(path)[0]["AP50"])
    assert (summary.P, summary.mPC) == (pytest.approx(0.5), pytest.approx(0.35))
    assert summary.rPC == pytest.approx(0.7)
    _, by_class = read_result_file(path)
    assert [grid[CLEAN] for grid in by_class] == pytest.approx([0.4, 0.6])
    assert sum(map(rpc, by_class)) / 2 == pytest.approx((0.25 / 0.4 + 0.45 / 0.6) / 2) != summary.rPC


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "not a result file"),
        ({"fog": {"1": coco_row(0.2)}}, "no severity 0"),
        ({"fog": {"0": coco_row(0.2)}, "snow": {"0": coco_row(0.3)}}, r"snow.*differs"),
        ({"fog": {"0": coco_row(0.2), "1": voc_row(0.2)}}, r"fog_1.*another layout"),
        ({"fog": {"0": {"AP": 0.3}}}, "no COCO statistic"),
        ({"fog": {"0": 0.3}}, "no COCO statistic"),
    ],
)
def test_other_layouts_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(BadValue, match=message):
        read_result_file(write(tmp_path / "a.json", content))


@pytest.mark.realdata
def test_every_published_model_is_recomputed(real_data: Path) -> None:
    folder = real_data / "ref_robustness_results"
    expected = json.loads((folder / "detection_summary_recomputed.json").read_text())
    found = {f"{path.parent.name}/{path.stem}": read_result_file(path)[0] for path in folder.glob("detection/*/*.json")}
    assert set(found) == set(expected) and len(expected) == 16
    n_metrics = 0
    for model, metrics in expected.items():
        for name, numbers in metrics.items():
            summary = summarise(found[model][NAMES[name]])
            assert summary.complete and summary.label == "mPC"
            percent = {"P": 100 * summary.P, "mPC": 100 * summary.mPC, "rPC": 100 * summary.rPC}
            # The expected numbers are rounded to two decimals, so agreement is far closer than the required 0.05.
            assert percent == pytest.approx(numbers, abs=0.0051), (model, name)
            n_metrics += 1
        assert ("segm AP" in metrics) == ("segm_mAP" in found[model])
    assert n_metrics == 22


@pytest.mark.realdata
def test_ambiguities_of_the_published_numbers_are_on_record(real_data: Path) -> None:
    """Which mean, which severities and which corruptions: each choice moves the number by more than its rounding."""
    folder = real_data / "ref_robustness_results" / "detection"
    voc = folder / "pascal_voc" / "faster_rcnn_r50_fpn_1x_voc0712_results.json"
    ratios = [100 * rpc(grid) for grid in read_result_file(voc)[1]]
    assert 100 * summarise(read_result_file(voc)[0]["AP50"]).rPC == pytest.approx(60.42, abs=0.01)
    assert sum(ratios) / len(ratios) == pytest.approx(59.9, abs=0.05), "the mean of ratios is not rPC"

    grid = read_result_file(folder / "coco" / "mask_rcnn_r50_fpn_1x_results.json")[0]["bbox_mAP"]
    whole, first = summarise(grid), summarise(grid, severities=[1])
    order = ("noise", "blur", "weather", "digital")
    assert [100 * whole.families[f].drop for f in order] == pytest.approx([55.8, 64.5, 30.5, 50.1], abs=0.05)
    assert [100 * first.families[f].drop for f in order] == pytest.approx([28.2, 37.5, 15.2, 21.65], abs=0.05)
    assert list(whole.per_severity.values()) == pytest.approx([0.2777, 0.2331, 0.1839, 0.1378, 0.1018], abs=5e-5)
