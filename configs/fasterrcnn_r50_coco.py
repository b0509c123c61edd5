"""Faster R-CNN, ResNet-50 FPN, 1x schedule on COCO 2017, from standard (torchvision V1) ImageNet weights.

Reproduces: `faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py` of mmdet; the non-robust baseline of the eps 3 config.
Command:    python tools/train.py configs/fasterrcnn_r50_coco.py
            tools/dist_train.sh configs/fasterrcnn_r50_coco.py 8
Needs:      data/coco (train2017, val2017, annotations) and weights/ for the source `resnet50_in1k_v1`.
Cost:       8 GPUs x 2 images; about 7 h on 8 V100 (estimate, not measured here). With other batch sizes use
            --auto-scale-lr (base batch 16).
Expected:   box AP 37.4 (mmdet model zoo, same schedule). Under corruption, for the older zoo model of
            Michaelis et al. (2019): P 36.3, mPC 18.2, rPC 50.2 %. Not yet reproduced with this config.
"""

_base_ = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"

custom_imports = dict(imports=["rtx.backbones"], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        type="SourceResNet",
        depth=50,
        source="resnet50_in1k_v1",
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_policy="eval",
    )
)

vis_backends = [dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")]
visualizer = dict(vis_backends=vis_backends)

labels = dict(method="Faster R-CNN", data="coco_val2017", schedule="1x")
