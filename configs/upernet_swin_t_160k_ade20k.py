"""UperNet, Swin-T, 160k iterations on ADE20K at 512x512, from the Swin repository's ImageNet-1k weights.

Reproduces: `swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py` of mmseg: AdamW 6e-5, weight
            decay 0.01 but for norms and bias tables, 1500 iterations of warm-up, linear decay, drop path 0.3. The
            setting of the Swin paper, which Yamada & Otani (2022) employed on ADE20K. Other sizes: `--source
            swin_s_in1k`, `swin_b_in1k`, `swin_b_in22k`, `swin_b_w12_in22k`.
Command:    python tools/train.py configs/upernet_swin_t_160k_ade20k.py --transfer fixed
            tools/dist_train.sh configs/upernet_swin_t_160k_ade20k.py 8
Needs:      data/ade/ADEChallengeData2016 and weights/ for the source `swin_t_in1k`.
Cost:       8 GPUs x 2 images; about 20 h on 8 V100 (estimate, not measured here; mmseg states 5.0 GB a GPU). With other
            batch sizes use --auto-scale-lr (base batch 16).
Expected:   with a fixed backbone, drops of mIoU under corruption (Yamada & Otani, Table 2): noise 13.57, blur 23.50,
            digital 16.42, weather 14.28 %. Fully trained: mIoU 44.41 (mmseg model zoo; Swin-S 47.72, Swin-B 47.99,
            Swin-B of ImageNet-22k 50.13, at 384 px and window 12 50.76). Not yet reproduced with this config.
"""

_base_ = "./upernet_r50_160k_ade20k.py"

model = dict(
    backbone=dict(
        _delete_=True,
        type="SourceSwin",
        arch="swin_t",
        source="swin_t_in1k",
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        drop_path_rate=0.3,
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)

optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=0.00006, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys={
            "absolute_pos_embed": dict(decay_mult=0.0),
            "relative_position_bias_table": dict(decay_mult=0.0),
            "norm": dict(decay_mult=0.0),
        }
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type="PolyLR", eta_min=0.0, power=1.0, begin=1500, end=160000, by_epoch=False),
]
train_dataloader = dict(batch_size=2)

labels = dict(method="UperNet", data="ade20k_val", schedule="160k")
