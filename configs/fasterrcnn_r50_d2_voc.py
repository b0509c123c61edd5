"""Faster R-CNN, ResNet-50 FPN, detectron2's schedule on VOC07+12, from Salman et al.'s standard (eps 0) weights.

Reproduces: "VOC object detection" of Salman et al. (2020), Figure 4: detectron2's
            `PascalVOC-Detection/faster_rcnn_R_50_FPN.yaml` with mmdet: VOC07+12 trainval, VOC07 test, 18k iterations
            of 16 images, learning rate 0.02 divided by ten at 12k and 16k, 100 iterations of warm-up, shorter side 480
            to 800 in steps of 32 and 800 for testing, Pillow for reading and resizing, difficult and small objects
            trained on, stem and stage 1 frozen (FREEZE_AT 2), batch norm frozen with its scale and shift (FrozenBN).
            Known departure: mmdet's VOC boxes are one pixel narrower and lower than detectron2's (it subtracts 1 from
            all four corners). Robust sources: `--source resnet50_l2_eps3` and so on; their runs: `rtx experiments show
            salman2020_voc`.
Command:    python tools/train.py configs/fasterrcnn_r50_d2_voc.py
            tools/dist_train.sh configs/fasterrcnn_r50_d2_voc.py 8
Needs:      data/VOCdevkit (VOC2007, VOC2012) and weights/ for the source `resnet50_l2_eps0`.
Cost:       8 GPUs x 2 images; about 1 h on 8 V100 (estimate, not measured here). With other batch sizes use
            --auto-scale-lr (base batch 16).
Expected:   AP 52.80, best robust source 53.87: detectron2's AP for VOC, the mean over IoU .50:.05:.95 of the 11-point
            AP. `corrupt_eval` reports it as `AP_d2`; the score during training is mmdet's AP50. Not yet reproduced
            with this config.
"""

_base_ = [
    "mmdet::_base_/models/faster-rcnn_r50_fpn.py",
    "mmdet::_base_/datasets/voc0712.py",
    "mmdet::_base_/default_runtime.py",
]

custom_imports = dict(imports=["rtx.backbones", "rtx.datasets.openmmlab.keep_difficult"], allow_failed_imports=False)

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
    roi_head=dict(bbox_head=dict(num_classes=20)),
)

backend = "pillow"
train_pipeline = [
    dict(type="LoadImageFromFile", backend_args=None, imdecode_backend=backend),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="KeepDifficult"),
    dict(
        type="RandomChoiceResize",
        scales=[(1333, side) for side in range(480, 801, 32)],
        keep_ratio=True,
        backend=backend,
    ),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile", backend_args=None, imdecode_backend=backend),
    dict(type="Resize", scale=(1333, 800), keep_ratio=True, backend=backend),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]
year = dict(
    type="VOCDataset",
    data_root="data/VOCdevkit/",
    # Without mmdet's bbox_min_size: detectron2 trains on objects of every size.
    filter_cfg=dict(filter_empty_gt=True, min_size=32),
    pipeline=train_pipeline,
    backend_args=None,
)
train_dataloader = dict(
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
    dataset=dict(
        _delete_=True,
        type="ConcatDataset",
        ignore_keys=["dataset_type"],
        datasets=[
            dict(
                year,
                ann_file="VOC2007/ImageSets/Main/trainval.txt",
                data_prefix=dict(sub_data_root="VOC2007/"),
            ),
            dict(
                year,
                ann_file="VOC2012/ImageSets/Main/trainval.txt",
                data_prefix=dict(sub_data_root="VOC2012/"),
            ),
        ],
    ),
)
del year
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

max_iter = 18000
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iter, val_interval=6000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=100),
    dict(type="MultiStepLR", begin=0, end=max_iter, by_epoch=False, milestones=[12000, 16000], gamma=0.1),
]
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=0.0001))
auto_scale_lr = dict(enable=False, base_batch_size=16)

default_hooks = dict(checkpoint=dict(by_epoch=False, interval=6000))
log_processor = dict(by_epoch=False)
vis_backends = [dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")]
visualizer = dict(vis_backends=vis_backends)

labels = dict(method="Faster R-CNN", data="voc2007_test", schedule="d2 18k")
