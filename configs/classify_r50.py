"""Linear classifier on a plain ResNet-50, for the classification targets of Salman et al. and Utrera et al.

Reproduces: `resnet/resnet50_8xb32_in1k.py` of mmpretrain with the plain ResNet-50 of the ImageNet weights. --target
            puts a target's data, head and metric in place of ImageNet's, and --recipe a paper's schedule.
Command:    python tools/train.py configs/classify_r50.py --target caltech101 --data-root DIR --transfer fixed
            ... --source resnet50_l2_eps3 --transfer full|blocks:3 --images 400 --seed 3 --recipe salman|utrera|yamada
Needs:      the target's folder (`rtx targets list`) and weights/ for the source `resnet50_in1k_v1`.
Cost:       1 GPU x 64 images; about 20 min for 150 epochs on 3,030 images on a V100 (estimate, not measured here).
Expected:   Caltech-101, mean per class: 91.07 fixed with the L2 source of eps 1, 94.61 full with that of eps 0.03,
            the best of Salman et al. for ResNet-50. Not yet reproduced with this config.
"""

_base_ = "mmpretrain::resnet/resnet50_8xb32_in1k.py"

custom_imports = dict(imports=["rtx.backbones"], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        type="SourceResNet",
        depth=50,
        source="resnet50_in1k_v1",
        out_indices=(3,),
        frozen_stages=-1,
        norm_policy="train",
    )
)

vis_backends = [dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")]
visualizer = dict(vis_backends=vis_backends)

labels = dict(method="classifier", data="imagenet_val", schedule="100 epochs")
