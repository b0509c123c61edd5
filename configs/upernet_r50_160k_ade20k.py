"""UperNet, plain ResNet-50, 160k iterations on ADE20K at 512x512, from standard (torchvision V1) ImageNet weights.

Reproduces: `upernet/upernet_r50_4xb4-160k_ade20k-512x512.py` of mmseg with a plain 7x7 stem instead of the V1c stem. A
            control for Yamada & Otani (2022), who compare ResNet-50 at 80k with Swin at 160k iterations.
Command:    python tools/train.py configs/upernet_r50_160k_ade20k.py
            tools/dist_train.sh configs/upernet_r50_160k_ade20k.py 4
Needs:      data/ade/ADEChallengeData2016 and weights/ for the source `resnet50_in1k_v1`.
Cost:       4 GPUs x 4 images; about 18 h on 4 V100 (estimate, not measured here). With other batch sizes use
            --auto-scale-lr (base batch 16).
Expected:   mIoU near 42.05 (mmseg model zoo, same schedule, V1c stem). Not yet reproduced with this config.
"""

_base_ = "./upernet_r50_ade20k.py"

param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=160000, by_epoch=False)]
train_cfg = dict(max_iters=160000, val_interval=16000)
default_hooks = dict(checkpoint=dict(interval=16000))

labels = dict(method="UperNet", data="ade20k_val", schedule="160k")
