"""UperNet, Swin-T, 160k iterations with PRIME on ADE20K, from the Swin repository's ImageNet-1k weights.

Reproduces: Yamada & Otani (2022), appendix B.2, Figure 6 (Swin-T): their Swin setting (see
            upernet_swin_t_160k_ade20k.py) with PRIME on the pictures, geometric part and JSD loss left out, ImageNet's
            constants.
Command:    python tools/train.py configs/upernet_swin_t_prime_ade20k.py
            tools/dist_train.sh configs/upernet_swin_t_prime_ade20k.py 8
Needs:      data/ade/ADEChallengeData2016 and weights/ for the source `swin_t_in1k`.
Cost:       8 GPUs x 2 images; about 21 h on 8 V100 (estimate, not measured here). With other batch sizes use
            --auto-scale-lr (base batch 16).
Expected:   the paper gives this one only as a figure (Figure 6). For orientation, fully trained without PRIME: mIoU
            44.41 (mmseg model zoo). Not yet reproduced with this config.
"""

_base_ = "./upernet_swin_t_160k_ade20k.py"

custom_imports = dict(imports=["rtx.backbones", "rtx.augment.prime"], allow_failed_imports=False)

train_pipeline = [*_base_.train_pipeline[:-1], dict(type="Prime"), _base_.train_pipeline[-1]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

labels = dict(method="UperNet", data="ade20k_val", schedule="160k PRIME")
