"""UperNet, plain ResNet-50, 80k iterations on ADE20K at 512x512, from standard (torchvision V1) ImageNet weights.

Reproduces: `upernet/upernet_r50_4xb4-80k_ade20k-512x512.py` of mmseg with a plain 7x7 stem instead of the V1c stem, as
            Yamada & Otani (2022) did; the non-robust baseline of the eps 3 config.
Command:    python tools/train.py configs/upernet_r50_ade20k.py
            tools/dist_train.sh configs/upernet_r50_ade20k.py 4
Needs:      data/ade/ADEChallengeData2016 and weights/ for the source `resnet50_in1k_v1`.
Cost:       4 GPUs x 4 images; about 9 h on 4 V100 (estimate, not measured here). With other batch sizes use
            --auto-scale-lr (base batch 16).
Expected:   mIoU near 40.7 (mmseg model zoo, same schedule, V1c stem). Not yet reproduced with this config.
"""

_base_ = "./_base_/upernet_r50_4xb4-80k_ade20k-512x512.py"

labels = dict(method="UperNet", data="ade20k_val", schedule="80k")
