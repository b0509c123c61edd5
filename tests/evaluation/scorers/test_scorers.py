from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmdet")
pytest.importorskip("mmseg")

from mmdet.datasets import CocoDataset, VOCDataset  # noqa: E402
from mmdet.evaluation import CocoMetric, VOCMetric  # noqa: E402
from mmdet.structures import DetDataSample  # noqa: E402
from mmengine.config import ConfigDict  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from mmengine.structures import InstanceData  # noqa: E402
from mmseg.evaluation import IoUMetric  # noqa: E402
from mmseg.structures import SegDataSample  # noqa: E402

from rtx.errors import BadValue, DataError, UnknownName  # noqa: E402
from rtx.evaluation.scorers.build import build_scorer  # noqa: E402
from rtx.metrics.coco import ITEMS  # noqa: E402
from rtx.metrics.voc import DEFINITIONS  # noqa: E402
from rtx.results.predictions import read_detections, read_maps  # noqa: E402
from rtx.results.resample import scores as resampled  # noqa: E402
from tests.evaluation.scorers.samples import (  # noqa: E402
    COCO,
    IOU,
    VOC,
    LabelledSet,
    coco_samples,
    scored,
    seg_samples,
    voc_samples,
    without_predictions,
)
from tests.makers import ADE_NAMES, COCO_NAMES  # noqa: E402


@pytest.mark.parametrize("seed", range(3))
def test_coco_equals_mmdet_to_its_three_decimals(coco_set: CocoDataset, seed: int) -> None:
    scorer = build_scorer(COCO, coco_set)
    samples = coco_samples(coco_set, seed)
    mine = scored(scorer, samples)
    metric = CocoMetric(ann_file=coco_set.ann_file, metric=["bbox", "segm"])
    metric.dataset_meta = coco_set.metainfo
    metric.process({}, [sample.to_dict() for sample in samples])
    theirs = metric.compute_metrics(metric.results)
    assert set(mine) == set(theirs) == set(scorer.metrics)
    for name, value in theirs.items():
        assert np.isnan(mine[name]) if value == -1 else mine[name] == pytest.approx(value, abs=0.000501), name
    assert scorer.headline == "bbox_mAP" and 0.1 < mine["bbox_mAP"] < 0.95
    assert scorer.n_images == len(coco_set) and scorer.flags() == []


def test_coco_without_predictions_is_zero_and_flagged(coco_set: CocoDataset) -> None:
    """Where mmdet's metric gives no number at all."""
    scorer = build_scorer(COCO, coco_set)
    empty = without_predictions(coco_samples(coco_set))
    scores = scored(scorer, empty)
    assert scorer.flags() == ["no predictions"]
    assert [scores[f"{kind}_{item}"] for kind in ("bbox", "segm") for item in ITEMS[:3]] == [0] * 6
    metric = CocoMetric(ann_file=coco_set.ann_file)
    metric.dataset_meta = coco_set.metainfo
    metric.process({}, [sample.to_dict() for sample in empty])
    assert metric.compute_metrics(metric.results) == {}
    assert scored(scorer, coco_samples(coco_set))["bbox_mAP"] > 0 and scorer.flags() == []


def test_coco_scores_only_what_was_processed(coco_set: CocoDataset, tmp_path: Path) -> None:
    scorer, samples = build_scorer(COCO, coco_set), coco_samples(coco_set)
    few = scored(scorer, samples[:2])
    ids = {sample.img_id for sample in samples[:2]}
    content = json.loads(Path(coco_set.ann_file).read_text())
    content["images"] = [image for image in content["images"] if image["id"] in ids]
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] in ids]
    cut = tmp_path / "cut.json"
    cut.write_text(json.dumps(content))
    assert scorer.n_images == 2
    alone = scored(build_scorer({**COCO, "ann_file": str(cut)}, coco_set), samples[:2])
    assert few == pytest.approx(alone, abs=0, nan_ok=True)
    with pytest.raises(DataError, match=r"cut\.json: lacks 2 of the evaluated images"):
        scored(build_scorer({**COCO, "ann_file": str(cut)}, coco_set), samples)
    with pytest.raises(BadValue, match="scored twice"):
        scored(scorer, samples[:1] * 2)
    scorer.reset()
    with pytest.raises(BadValue, match="no image was processed"):
        scorer.compute()


def test_coco_takes_masks_as_arrays_or_run_lengths_and_boxes_of_any_precision(coco_set: CocoDataset) -> None:
    from rtx.metrics.coco_truth import encode_mask

    scorer, samples = build_scorer(COCO, coco_set), coco_samples(coco_set)
    for sample in samples:  # whole pixels and few scores, so that half precision holds them exactly
        sample.pred_instances.bboxes = sample.pred_instances.bboxes.round()
        sample.pred_instances.scores = (sample.pred_instances.scores * 64).round() / 64
    expected = scored(scorer, samples)
    for sample in samples:
        pred = sample.pred_instances
        encoded = [encode_mask(mask.numpy()) for mask in pred.masks]
        del pred.masks
        pred.masks = encoded
        pred.bboxes, pred.scores = pred.bboxes.bfloat16(), pred.scores.bfloat16()
    assert scored(scorer, samples) == pytest.approx(expected, abs=0, nan_ok=True)
    assert all(isinstance(mask, dict) for row in scorer._images.values() for mask in row["segm"].masks)


@pytest.mark.parametrize(("mode", "name"), [("11points", "AP50_07"), ("area", "AP50_area")])
def test_voc_equals_mmdet_to_its_three_decimals(voc_set: VOCDataset, mode: str, name: str) -> None:
    scorer = build_scorer({**VOC, "eval_mode": mode}, voc_set)
    samples = voc_samples(voc_set, 1)
    assert sum(len(sample.ignored_instances) for sample in samples) > 0, "difficult objects must be among them"
    mine = scored(scorer, samples)
    metric = VOCMetric(eval_mode=mode)
    metric.dataset_meta = voc_set.metainfo
    metric.process({}, [sample.to_dict() for sample in samples])
    theirs = metric.compute_metrics(metric.results)
    assert scorer.headline == name and tuple(mine) == DEFINITIONS
    assert mine[name] == pytest.approx(theirs["AP50"], abs=0.000501)
    assert mine[name] == pytest.approx(theirs["mAP"], abs=1e-6), "mAP is not rounded there"
    assert 0.1 < mine[name] < 0.95


def test_voc_coco_definition_equals_mmdet_without_annotation_file(voc_set: VOCDataset) -> None:
    samples = voc_samples(voc_set, 2)
    metric = CocoMetric()
    metric.dataset_meta = voc_set.metainfo
    rows = [
        {**sample.to_dict(), "instances": voc_set.get_data_info(n)["instances"]} for n, sample in enumerate(samples)
    ]
    metric.process({}, rows)
    theirs = metric.compute_metrics(metric.results)
    mine = scored(build_scorer(VOC, voc_set), samples)
    assert mine["AP_coco"] == pytest.approx(theirs["bbox_mAP"], abs=0.000501)
    assert mine["AP50_coco"] == pytest.approx(theirs["bbox_mAP_50"], abs=0.000501)
    assert 0.1 < mine["AP_coco"] < 0.95


def test_voc_subset_flags_and_strangers(voc_set: VOCDataset, caplog: pytest.LogCaptureFixture) -> None:
    scorer, samples = build_scorer(VOC, voc_set), voc_samples(voc_set)
    assert set(scored(scorer, without_predictions(samples)).values()) == {0}
    assert scorer.flags() == ["no predictions"]
    assert caplog.text.count("AP_d2 counts 1 of 4 classes without objects as 0") == 1
    perfect = samples[0].clone()
    perfect.pred_instances = perfect.gt_instances.clone()
    perfect.pred_instances.scores = torch.linspace(0.9, 0.5, len(perfect.gt_instances))
    assert scored(scorer, [perfect])["AP50_07"] == 1 and scorer.n_images == 1
    stranger = samples[0].clone()
    stranger.set_metainfo({"img_id": "2007_999999"})
    with pytest.raises(BadValue, match="2007_999999"):
        scorer.process([stranger])


def test_miou_equals_mmseg_to_its_two_decimals() -> None:
    scorer, samples = build_scorer(IOU, LabelledSet()), seg_samples(len(ADE_NAMES))
    mine = scored(scorer, samples)
    metric = IoUMetric(iou_metrics=["mIoU"])
    metric.dataset_meta = LabelledSet.metainfo
    metric.process({}, [sample.to_dict() for sample in samples])
    theirs = metric.compute_metrics(metric.results)
    assert set(mine) == set(theirs) == set(scorer.metrics) and scorer.headline == "mIoU"
    for name, value in theirs.items():
        assert 100 * mine[name] == pytest.approx(value, abs=0.00501)
    assert scorer.flags() == [] and scorer.n_images == 4
    again = scored(scorer, samples[::-1])
    assert again == mine


def test_miou_says_what_does_not_fit() -> None:
    scorer, (sample, *_) = build_scorer(IOU, LabelledSet()), seg_samples(len(ADE_NAMES))
    unlabelled = sample.clone()
    unlabelled.gt_sem_seg.data[:] = 255
    assert np.isnan(scored(scorer, [unlabelled])["mIoU"]) and scorer.flags() == ["no labelled pixels"]
    with pytest.raises(BadValue, match=r"data/0\.jpg.*scored twice"):
        scored(scorer, [sample, sample])
    void = sample.clone()
    void.gt_sem_seg.data[:] = len(ADE_NAMES)
    with pytest.raises(DataError, match=r"data/0\.jpg: labels \[4\] are none of the 4 classes"):
        scored(scorer, [void])
    assert scored(build_scorer({**IOU, "ignore_index": 4}, LabelledSet()), [void]).keys()
    bare = sample.clone()
    del bare.gt_sem_seg
    with pytest.raises(BadValue, match="no label map"):
        scored(scorer, [bare])


def test_evaluators_that_rtx_cannot_score_are_named(coco_set: CocoDataset, voc_set: VOCDataset) -> None:
    for wrong, message in [
        ({"type": "CityScapesMetric"}, "'CityScapesMetric' is not in rtx"),
        ({"type": "CocoMetrics"}, "did you mean 'CocoMetric'"),
        ({**COCO, "metric": "proposal"}, "'proposal'"),
        ({**VOC, "eval_mode": "points"}, "eval_mode 'points'"),
    ]:
        with pytest.raises(UnknownName, match=message):
            build_scorer(wrong, coco_set)
    for wrong, message in [
        (None, "must be one evaluator"),
        ([COCO, COCO], "must be one evaluator"),
        ({**COCO, "format_only": True}, "format_only"),
        ({**COCO, "iou_thrs": [0.5]}, "iou_thrs"),
        ({**VOC, "metric": "recall"}, "recall"),
        ({**VOC, "iou_thrs": [0.5, 0.75]}, "AP_d2"),
        ({**VOC, "scale_ranges": [(0, 32)]}, "scale_ranges"),
        ({**IOU, "iou_metrics": ["mDice"]}, "mDice"),
        ({**IOU, "nan_to_num": 0}, "nan_to_num"),
    ]:
        with pytest.raises(BadValue, match=message):
            build_scorer(wrong, voc_set)
    with pytest.raises(DataError, match=r"absent\.json"):
        build_scorer({**COCO, "ann_file": "absent.json"}, coco_set)
    with pytest.raises(BadValue, match="ann_file"):
        build_scorer(COCO, LabelledSet())
    with pytest.raises(BadValue, match="pred_instances"):
        build_scorer(COCO, coco_set).process([SegDataSample(metainfo={"img_id": 1})])


def test_headlines_and_forms_of_the_entry(coco_set: CocoDataset, voc_set: VOCDataset) -> None:
    assert build_scorer({**COCO, "metric": ["segm", "bbox"]}, coco_set).headline == "bbox_mAP"
    assert build_scorer({**VOC, "eval_mode": "area"}, voc_set).headline == "AP50_area"
    with pytest.raises(UnknownName, match="bbox_mAP"):
        build_scorer({**COCO, "metric": "segm"}, coco_set)
    for entry in ([COCO], ConfigDict(COCO), {**COCO, "type": "mmdet.CocoMetric"}, {**COCO, "type": CocoMetric}):
        assert build_scorer(entry, coco_set).metrics[0] == "bbox_mAP"
    cards = [build_scorer(*pair).card() for pair in ((COCO, coco_set), (VOC, voc_set), (IOU, LabelledSet()))]
    assert [card["scorer"] for card in cards] == ["coco", "voc", "miou"]
    assert json.loads(json.dumps(cards)) == cards
    assert cards[0]["scorer_version"] == cards[1]["coco_scorer"] == "rtx.coco/1"


@pytest.mark.realdata
def test_blood_cells_with_two_boxes_of_zero_area(real_data: Path) -> None:
    """BCCD: each of the two flat objects covers a line of pixels, which VOC's widths can find and COCO's cannot."""
    init_default_scope("mmdet")
    where = {"ann_file": "VOC2007/ImageSets/Main/trainval.txt", "data_prefix": {"sub_data_root": "VOC2007/"}}
    root, names = str(real_data / "voc_bccd" / "VOCdevkit"), {"classes": ("RBC", "WBC", "Platelets")}
    dataset = VOCDataset(data_root=root, metainfo=names, test_mode=True, pipeline=[], **where)
    samples = []
    for n in range(len(dataset)):
        info = dataset.get_data_info(n)
        rows = [row for row in info["instances"] if not row["ignore_flag"]]
        sample = DetDataSample(metainfo={"img_id": info["img_id"]})
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor([row["bbox"] for row in rows], dtype=torch.float32).reshape(-1, 4),
            labels=torch.tensor([row["bbox_label"] for row in rows], dtype=torch.int64),
            scores=torch.linspace(0.9, 0.1, len(rows)),
        )
        samples.append(sample)
    scores = scored(build_scorer(VOC, dataset), samples)
    assert {scores[name] for name in DEFINITIONS[:5]} == {1.0}
    assert 0.99 < scores["AP_coco"] < 1


def test_evidence_gives_the_score_and_predictions_give_it_again(
    coco_set: CocoDataset, voc_set: VOCDataset, tmp_path: Path
) -> None:
    for entry, dataset, samples in (
        (COCO, coco_set, coco_samples(coco_set)),
        (VOC, voc_set, voc_samples(voc_set)),
        (IOU, LabelledSet(), seg_samples(len(ADE_NAMES))),
    ):
        scorer = build_scorer(entry, dataset)
        scorer.keep = True
        found = scored(scorer, samples)
        evidence = scorer.evidence()
        whole = np.ones((1, scorer.n_images), np.uint16)
        assert len(evidence.image_ids) == scorer.n_images == len(samples)
        assert scorer.headline in evidence.metrics and set(evidence.metrics) <= set(scorer.metrics)
        for metric in evidence.metrics:
            assert resampled(evidence, whole, metric)[0] == pytest.approx(found[metric], abs=1e-12), metric
        suffix, content = scorer.predictions()
        path = tmp_path / f"{scorer.card()['scorer']}{suffix}"
        path.write_bytes(content)
        if entry is IOU:
            maps = dict(read_maps(path))
            assert all((maps[Path(s.img_path).stem] == s.pred_sem_seg.data[0].numpy()).all() for s in samples)
            scorer.keep = False
            scored(scorer, samples)
            with pytest.raises(BadValue, match="predictions were not kept"):
                scorer.predictions()
            continue
        again, classes = read_detections(path)
        scorer.reset()
        for row in again:
            scorer.add(row.image_id, row)
        assert scorer.compute() == pytest.approx(found, abs=0, nan_ok=True)
        assert classes == list(dataset.metainfo["classes"]) if entry is VOC else len(classes) == len(COCO_NAMES)
