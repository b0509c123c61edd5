"""Faster R-CNN, ResNet-50 FPN, trained on VOC07+12 trainval, tested on VOC07 test, from the L2 eps 3 ImageNet weights.

Reproduces: the setting "robust source, VOC detection" of Salman et al. (2020) on mmdet's own schedule; theirs is
            detectron2's (18k iterations, 480-800 px, COCO-style AP).
Command:    python tools/train.py configs/fasterrcnn_r50_eps3_voc.py
            tools/dist_train.sh configs/fasterrcnn_r50_eps3_voc.py 8
Needs:      data/VOCdevkit (VOC2007, VOC2012) and weights/ for the source `resnet50_l2_eps3`.
Cost:       8 GPUs x 2 images; about 1 h on 8 V100 (estimate, not measured here). With other batch sizes use
            --auto-scale-lr (base batch 16).
Expected:   no published number for this very schedule and metric. For orientation, Salman et al. (2020), Figure 4,
            COCO-style AP, best robust source: 53.87 (standard: 52.80).
"""

_base_ = "./fasterrcnn_r50_voc.py"

model = dict(backbone=dict(source="resnet50_l2_eps3"))
