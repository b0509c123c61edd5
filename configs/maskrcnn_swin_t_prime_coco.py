"""Mask R-CNN, Swin-T FPN, 3x schedule with PRIME on COCO 2017, from the Swin repository's IN-1k weights.

Reproduces: Yamada & Otani (2022), appendix B.2, Figure 6 (Swin-T): their Swin setting (see maskrcnn_swin_t_3x_coco.py)
            with PRIME on the pictures, geometric part and JSD loss left out, ImageNet's constants.
Command:    python tools/train.py configs/maskrcnn_swin_t_prime_coco.py
            tools/dist_train.sh configs/maskrcnn_swin_t_prime_coco.py 8
Needs:      data/coco (train2017, val2017, annotations) and weights/ for the source `swin_t_in1k`.
Cost:       8 GPUs x 2 images; about 33 h on 8 V100 (estimate, not measured here). With other batch sizes use
            --auto-scale-lr (base batch 16).
Expected:   the paper gives this one only as a figure (Figure 6). For orientation, fully trained without PRIME: box AP
            46.0, mask AP 41.6 (mmdet model zoo). Not yet reproduced with this config.
"""

_base_ = "./maskrcnn_swin_t_3x_coco.py"

custom_imports = dict(imports=["rtx.backbones", "rtx.augment.prime"], allow_failed_imports=False)

train_pipeline = [*_base_.train_pipeline[:-1], dict(type="Prime"), _base_.train_pipeline[-1]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

labels = dict(method="Mask R-CNN", data="coco_val2017", schedule="3x PRIME")
