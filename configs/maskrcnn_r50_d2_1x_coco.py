"""Mask R-CNN, ResNet-50 FPN, detectron2's 1x schedule on COCO 2017, from Salman et al.'s standard (eps 0) weights.

Reproduces: detectron2's `COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml` with mmdet: 90k iterations of 16
            images, learning rate 0.02 divided by ten at 60k and 80k, 1000 iterations of warm-up, shorter side 640 to
            800 in steps of 32, Pillow for reading and resizing, polygon masks, no low-quality matches in the second
            stage, stem and stage 1 frozen (FREEZE_AT 2), batch norm frozen with its scale and shift (FrozenBN).
            `--transfer full` asks for mmdet's batch-norm policy; add `--norm frozen_affine` to it.
Command:    python tools/train.py configs/maskrcnn_r50_d2_1x_coco.py
            tools/dist_train.sh configs/maskrcnn_r50_d2_1x_coco.py 8
Needs:      data/coco (train2017, val2017, annotations) and weights/ for the source `resnet50_l2_eps0`.
Cost:       8 GPUs x 2 images; about 7 h on 8 V100 (estimate from detectron2's 0.26 s an iteration, not measured here).
            With other batch sizes use --auto-scale-lr (base batch 16).
Expected:   box AP 38.6, mask AP 35.2 (detectron2's model zoo, from the MSRA ImageNet weights). Salman et al. (2020)
            lie at 40.67 and 36.92, so near the 3x schedule. Not yet reproduced with this config.
"""

_base_ = ["mmdet::common/ms-poly-90k_coco-instance.py", "mmdet::_base_/models/mask-rcnn_r50_fpn.py"]

custom_imports = dict(imports=["rtx.backbones"], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        type="SourceResNet",
        depth=50,
        source="resnet50_l2_eps0",
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_policy="frozen_affine",
    ),
    train_cfg=dict(rcnn=dict(assigner=dict(match_low_quality=False))),
)

vis_backends = [dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")]
visualizer = dict(vis_backends=vis_backends)

labels = dict(method="Mask R-CNN", data="coco_val2017", schedule="d2 1x")
