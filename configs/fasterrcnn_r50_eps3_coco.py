"""Faster R-CNN, ResNet-50 FPN, 1x schedule on COCO 2017, from the adversarially trained (L2, eps 3) ImageNet weights.

Reproduces: the setting "robust source, COCO detection" of Salman et al. (2020) on mmdet's own 1x schedule; theirs is
            detectron2's, near its 3x.
Command:    python tools/train.py configs/fasterrcnn_r50_eps3_coco.py
            tools/dist_train.sh configs/fasterrcnn_r50_eps3_coco.py 8
Needs:      data/coco (train2017, val2017, annotations) and weights/ for the source `resnet50_l2_eps3`.
Cost:       8 GPUs x 2 images; about 7 h on 8 V100 (estimate, not measured here). With other batch sizes use
            --auto-scale-lr (base batch 16).
Expected:   no published number for this very schedule. For orientation, Salman et al. (2020), Figure 4, longer
            schedule, best robust source: box AP 40.07 +- 0.10 (standard: 39.80 +- 0.08).
"""

_base_ = "./fasterrcnn_r50_coco.py"

model = dict(backbone=dict(source="resnet50_l2_eps3"))
