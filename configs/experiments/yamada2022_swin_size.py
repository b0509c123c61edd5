"""Yamada & Otani (2022), Figure 3 and Table 3: Swin models of three sizes and two pretraining sets."""

experiment = dict(
    title="size and pretraining of Swin: T, S, B, B'' (22k) and B' (22k, 384) on COCO and ADE20K",
    paper="yamada2022",
    place="Figure 3 and Table 3, section 5 (values in the figure only)",
    question="Do larger models transfer robustness better?",
    evaluation="corruptions",
    doubts=[
        "severities are not stated; 1 to 5 here",
        "there is no official Mask R-CNN configuration for Swin-B; which one the paper used is not stated. Here the "
        "one of Swin-T, with the drop path 0.3 of the official Cascade Mask R-CNN with Swin-B",
        "ADE20K trains at 512 px for every model, B' (pretrained at 384) included, as mmseg's configurations do",
    ],
)

SOURCES = {
    "swin_t": "swin_t_in1k",
    "swin_s": "swin_s_in1k",
    "swin_b": "swin_b_in1k",
    "swin_b_22k": "swin_b_in22k",
    "swin_b_22k_384": "swin_b_w12_in22k",
}
runs = [
    dict(
        name=f"{name}_coco",
        config="maskrcnn_swin_t_3x_coco.py",
        source=source,
        transfer="full",
        options={"model.backbone.drop_path_rate": 0.3} if name.startswith("swin_b") else {},
    )
    for name, source in SOURCES.items()
]
runs += [
    dict(name=f"{name}_ade20k", config="upernet_swin_t_160k_ade20k.py", source=source, transfer="full")
    for name, source in SOURCES.items()
]
