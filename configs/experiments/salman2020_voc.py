"""Salman et al. (2020), Figure 4, first row: VOC detection from one standard and the robust ResNet-50s."""

experiment = dict(
    title="VOC detection, Faster R-CNN R50-FPN: standard and adversarially trained sources",
    paper="salman2020",
    place="Figure 4, section 3.2",
    question="Do adversarially robust backbones give better detectors on clean images?",
    evaluation="clean",
    published=[dict(place="Figure 4", dataset="voc2007_test", source="l2_robust_best")],
    doubts=[
        "the text says twelve robust networks without naming them; all 14 robust ResNet-50s of the release are here",
        "the best one was chosen on the test set",
        "the number of runs behind 52.80 and 53.87 is not stated; one here",
        "compare `AP_d2`, detectron2's AP for VOC, and not the AP50 printed during training",
    ],
)

CONFIG = "fasterrcnn_r50_d2_voc.py"
SHARED = dict(config=CONFIG, transfer="full", norm="frozen_affine")
runs = [
    dict(
        SHARED,
        name="standard",
        source="resnet50_l2_eps0",
        published=[dict(place="Figure 4", dataset="voc2007_test", source="in1k")],
        doubts=["which standard network is not stated; the release's eps 0, of the same recipe, here"],
    )
]
runs += [
    dict(SHARED, name=f"l2_eps{eps}", source=f"resnet50_l2_eps{eps}")
    for eps in ("0.01", "0.03", "0.05", "0.1", "0.25", "0.5", "1", "3", "5")
]
runs += [dict(SHARED, name=f"linf_eps{eps}", source=f"resnet50_linf_eps{eps}") for eps in ("0.5", "1", "2", "4", "8")]
