"""UperNet, plain ResNet-50, 80k iterations with PRIME on ADE20K, from weights that were trained with PRIME.

Reproduces: Yamada & Otani (2022), appendix B.2, Table 5 (column PR-PRIME) and Figure 6: their ResNet-50 setting (see
            upernet_r50_ade20k.py) with PRIME on the pictures, geometric part and JSD loss left out, ImageNet's
            constants. Other sources: `--source resnet50_in1k_v1`, `resnet50_deepaug_augmix`; all runs: `rtx experiments
            show yamada2022_prime_augmented`.
Command:    python tools/train.py configs/upernet_r50_prime_ade20k.py
            tools/dist_train.sh configs/upernet_r50_prime_ade20k.py 4
Needs:      data/ade/ADEChallengeData2016 and weights/ for the source `resnet50_prime_nojsd`.
Cost:       4 GPUs x 4 images; about 10 h on 4 V100 (estimate, not measured here). With other batch sizes use
            --auto-scale-lr (base batch 16).
Expected:   mIoU 40.91 clean, 30.56 under corruption (drop 25.31 %); without PRIME while training 40.64, 28.56 and
            29.73 %. Not yet reproduced with this config.
"""

_base_ = "./upernet_r50_ade20k.py"

custom_imports = dict(imports=["rtx.backbones", "rtx.augment.prime"], allow_failed_imports=False)

model = dict(backbone=dict(source="resnet50_prime_nojsd"))

train_pipeline = [*_base_.train_pipeline[:-1], dict(type="Prime"), _base_.train_pipeline[-1]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

labels = dict(method="UperNet", data="ade20k_val", schedule="80k PRIME")
