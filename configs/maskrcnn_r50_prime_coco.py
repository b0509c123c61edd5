"""Mask R-CNN, ResNet-50 FPN, PRIME while training on COCO 2017, from weights that were trained with PRIME.

Reproduces: Yamada & Otani (2022), appendix B.2, Table 4 (column PR-PRIME) and Figure 6: their ResNet-50 setting (see
            maskrcnn_r50_lr04_coco.py) with PRIME on the pictures, geometric part and JSD loss left out, ImageNet's
            constants. Other sources: `--source resnet50_in1k_v1`, `resnet50_deepaug_augmix`; all runs: `rtx experiments
            show yamada2022_prime_augmented`.
Command:    python tools/train.py configs/maskrcnn_r50_prime_coco.py
            tools/dist_train.sh configs/maskrcnn_r50_prime_coco.py 8
Needs:      data/coco (train2017, val2017, annotations) and weights/ for the source `resnet50_prime_nojsd`.
Cost:       8 GPUs x 2 images; about 9 h on 8 V100 (estimate, not measured here). With other batch sizes use
            --auto-scale-lr (base batch 16).
Expected:   box AP 31.47 clean, 24.80 under corruption (drop 21.21 %); without PRIME while training 36.42, 28.30 and
            22.29 %. Not yet reproduced with this config.
"""

_base_ = "./maskrcnn_r50_lr04_coco.py"

custom_imports = dict(imports=["rtx.backbones", "rtx.augment.prime"], allow_failed_imports=False)

model = dict(backbone=dict(source="resnet50_prime_nojsd"))

train_pipeline = [*_base_.train_pipeline[:-1], dict(type="Prime"), _base_.train_pipeline[-1]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

labels = dict(method="Mask R-CNN", data="coco_val2017", schedule="1x lr 0.04 PRIME")
