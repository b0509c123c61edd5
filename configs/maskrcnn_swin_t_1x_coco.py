"""Mask R-CNN, Swin-T FPN, 1x schedule on COCO 2017, from the Swin repository's ImageNet-1k weights.

Reproduces: `swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py` of mmdet: AdamW 1e-4, weight decay 0.05 but for
            norms and bias tables, drop path 0.2, 12 epochs with steps at 8 and 11. The equal of the
            ResNet leaves in schedule and augmentation, which Yamada & Otani (2022) did not have.
Command:    python tools/train.py configs/maskrcnn_swin_t_1x_coco.py
            tools/dist_train.sh configs/maskrcnn_swin_t_1x_coco.py 8
Needs:      data/coco (train2017, val2017, annotations) and weights/ for the source `swin_t_in1k`.
Cost:       8 GPUs x 2 images; about 10 h on 8 V100 (estimate, not measured here; mmdet states 7.6 GB a GPU). With
            other batch sizes use --auto-scale-lr (base batch 16).
Expected:   box AP 42.7, mask AP 39.3 (mmdet model zoo, same schedule). Not yet reproduced with this config.
"""

_base_ = "mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py"

custom_imports = dict(imports=["rtx.backbones"], allow_failed_imports=False)

# Upstream's own weights, which rtx's backbone does not read.
pretrained = None
model = dict(
    backbone=dict(
        _delete_=True,
        type="SourceSwin",
        arch="swin_t",
        source="swin_t_in1k",
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        drop_path_rate=0.2,
    )
)

vis_backends = [dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")]
visualizer = dict(vis_backends=vis_backends)

labels = dict(method="Mask R-CNN", data="coco_val2017", schedule="1x")
