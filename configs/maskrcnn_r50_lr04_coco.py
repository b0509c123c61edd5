"""Mask R-CNN, ResNet-50 FPN, 1x schedule and learning rate 0.04 on COCO 2017, from standard ImageNet weights.

Reproduces: the ResNet-50 models of Yamada & Otani (2022) on COCO: mmdet's default Mask R-CNN and data, SGD with
            learning rate 0.04 (their grid: 0.01, 0.04, 0.08). They state neither batch size nor schedule; here 16
            images and 1x, mmdet's defaults. Their sources: `--source`; their Table 1: `--transfer fixed`.
            All their runs: `rtx experiments list`.
Command:    python tools/train.py configs/maskrcnn_r50_lr04_coco.py --transfer fixed
            tools/dist_train.sh configs/maskrcnn_r50_lr04_coco.py 8 --source resnet50_l2_eps3
Needs:      data/coco (train2017, val2017, annotations) and weights/ for the source `resnet50_in1k_v1`.
Cost:       8 GPUs x 2 images; about 8 h on 8 V100 (estimate, not measured here), less with a fixed backbone. With other
            batch sizes use --auto-scale-lr (base batch 16).
Expected:   drops of box AP under corruption with a fixed backbone (Table 1): noise 36.09, blur 44.00, digital 21.17,
            weather 17.59 %. Fully trained only as a figure (Figure 2), but for the PRIME source (Table 4): box AP 36.42
            clean, 28.30 under corruption. Not yet reproduced with this config.
"""

_base_ = "./maskrcnn_r50_coco.py"

optim_wrapper = dict(optimizer=dict(lr=0.04))

labels = dict(method="Mask R-CNN", data="coco_val2017", schedule="1x lr 0.04")
