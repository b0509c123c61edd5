"""Mask R-CNN, ResNet-50 FPN, 1x schedule on COCO 2017, from the adversarially trained (L2, eps 3) ImageNet weights.

Reproduces: the setting "robust source, COCO instance segmentation" of Salman et al. (2020) and Yamada & Otani (2022)
            on mmdet's own 1x schedule. Their schedules differ (Salman: detectron2, near its 3x; Yamada: lr 0.04).
Command:    python tools/train.py configs/maskrcnn_r50_eps3_coco.py
            tools/dist_train.sh configs/maskrcnn_r50_eps3_coco.py 8
Needs:      data/coco (train2017, val2017, annotations) and weights/ for the source `resnet50_l2_eps3`.
Cost:       8 GPUs x 2 images; about 8 h on 8 V100 (estimate, not measured here). With other batch sizes use
            --auto-scale-lr (base batch 16).
Expected:   no published number for this very schedule. For orientation, Salman et al. (2020), Figure 4, longer
            schedule, best robust source: box AP 40.91 +- 0.15, mask AP 37.08 +- 0.10 (standard: 40.67, 36.92).
"""

_base_ = "./maskrcnn_r50_coco.py"

model = dict(backbone=dict(source="resnet50_l2_eps3"))
