"""Faster R-CNN, ResNet-50 FPN, trained on VOC07+12 trainval, tested on VOC07 test, from standard ImageNet weights.

Reproduces: `pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py` of mmdet; the non-robust baseline of the eps 3 config.
Command:    python tools/train.py configs/fasterrcnn_r50_voc.py
            tools/dist_train.sh configs/fasterrcnn_r50_voc.py 8
Needs:      data/VOCdevkit (VOC2007, VOC2012) and weights/ for the source `resnet50_in1k_v1`.
Cost:       8 GPUs x 2 images; about 1 h on 8 V100 (estimate, not measured here). With other batch sizes use
            --auto-scale-lr (base batch 16).
Expected:   AP50 80.4 (mmdet model zoo, 11-point; the zoo's config is the same). Under corruption, for the older zoo
            model of Michaelis et al. (2019): P 80.5, mPC 48.6, rPC 60.4 %. Not yet reproduced with this config.
"""

_base_ = "mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py"

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

labels = dict(method="Faster R-CNN", data="voc2007_test", schedule="4 epochs")
