"""Michaelis et al. (2019): detectors of the model zoo under the 15 corruptions. P, mPC and rPC as printed."""

from __future__ import annotations

from rtx.reports.published.record import Paper, Record, fraction

PAPER = Paper(
    "michaelis2019",
    "Michaelis, Mitzkus, Geirhos, Rusak, Bringmann, Ecker, Bethge, Brendel: "
    "Benchmarking Robustness in Object Detection: Autonomous Driving when Winter is Coming, 2019",
    "https://arxiv.org/abs/1907.07484",
    (
        "corruptions were applied to BGR images, as mmdet's reader gives them; rtx applies them to RGB unless told "
        "--channel-order bgr_legacy",
        "its page calls the COCO numbers mAP50, but they are AP at IoU .50:.95",
        "trained with mmdet's 1x schedule where their result files are named so; of the others it is not known",
        "random corruptions depended on the number of workers; another run gives mPC about 0.2 apart",
    ),
)

# method, backbone, training data, test set, metric, P, mPC, rPC
_ROWS = (
    ("Faster R-CNN", "resnet50", "", "coco_val2017", "bbox_mAP", 36.3, 18.2, 50.2),
    ("Faster R-CNN", "resnet101", "", "coco_val2017", "bbox_mAP", 38.5, 20.9, 54.2),
    ("Faster R-CNN", "resnext101_32x4d", "", "coco_val2017", "bbox_mAP", 40.1, 22.3, 55.5),
    ("Faster R-CNN", "resnext101_64x4d", "", "coco_val2017", "bbox_mAP", 41.3, 23.4, 56.6),
    ("Faster R-CNN", "resnet50_dcn", "", "coco_val2017", "bbox_mAP", 40.0, 22.4, 56.1),
    ("Faster R-CNN", "resnext101_32x4d_dcn", "", "coco_val2017", "bbox_mAP", 43.4, 26.7, 61.6),
    ("Mask R-CNN", "resnet50", "", "coco_val2017", "bbox_mAP", 37.3, 18.7, 50.1),
    ("Mask R-CNN", "resnet50", "", "coco_val2017", "segm_mAP", 34.2, 16.8, 49.1),
    ("Mask R-CNN", "resnet50_dcn", "", "coco_val2017", "bbox_mAP", 41.1, 23.3, 56.7),
    ("Mask R-CNN", "resnet50_dcn", "", "coco_val2017", "segm_mAP", 37.2, 20.7, 55.7),
    ("Cascade R-CNN", "resnet50", "", "coco_val2017", "bbox_mAP", 40.4, 20.1, 49.7),
    ("Cascade Mask R-CNN", "resnet50", "", "coco_val2017", "bbox_mAP", 41.2, 20.7, 50.2),
    ("Cascade Mask R-CNN", "resnet50", "", "coco_val2017", "segm_mAP", 35.7, 17.6, 49.3),
    ("RetinaNet", "resnet50", "", "coco_val2017", "bbox_mAP", 35.6, 17.8, 50.1),
    ("HTC", "resnext101_64x4d_dcn", "", "coco_val2017", "bbox_mAP", 50.6, 32.7, 64.7),
    ("HTC", "resnext101_64x4d_dcn", "", "coco_val2017", "segm_mAP", 43.8, 28.1, 64.0),
    ("Faster R-CNN", "resnet50", "stylised images added", "coco_val2017", "bbox_mAP", 34.6, 20.4, 58.9),
    ("Faster R-CNN", "resnet50", "", "voc2007_test", "AP50", 80.5, 48.6, 60.4),
    ("Faster R-CNN", "resnet50", "stylised images added", "voc2007_test", "AP50", 80.4, 56.2, 69.9),
    ("Faster R-CNN", "resnet50", "", "cityscapes_val", "bbox_mAP", 36.4, 12.2, 33.4),
)


# Detectors whose published result files have 1x in their names.
_ONE_X = frozenset(
    {
        ("Faster R-CNN", "resnet50"),
        ("Faster R-CNN", "resnext101_64x4d"),
        ("Faster R-CNN", "resnext101_32x4d_dcn"),
        ("Mask R-CNN", "resnet50"),
        ("Mask R-CNN", "resnet50_dcn"),
        ("Cascade R-CNN", "resnet50"),
    }
)


def records() -> list[Record]:
    """Every printed number, three for each detector."""
    found = []
    for method, backbone, training, dataset, metric, *values in _ROWS:
        for quantity, value in zip(("P", "mPC", "rPC"), values, strict=True):
            row = (dataset, method, backbone, "in1k", "full", metric, quantity, fraction(float(value)))
            schedule = "1x" if (method, backbone) in _ONE_X else ""
            found.append(Record(PAPER.key, "results page", *row, note=training, schedule=schedule))
    return found
