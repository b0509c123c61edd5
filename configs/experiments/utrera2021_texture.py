"""Utrera et al. (2021), Tables 1a and 2: Stylized-ImageNet, and Caltech-101 at low resolution and low frequencies."""

experiment = dict(
    title="natural and robust ResNet-50 on Stylized-ImageNet, and on Caltech-101 without fine detail",
    paper="utrera2021",
    place="Tables 1a and 2, section 5",
    question="Do robust sources look at shapes where natural ones look at textures?",
    evaluation="clean",
    keep_weights=False,
    doubts=[
        "Table 1a, fine-tuned: the last layer alone by the text, three blocks by the caption; both here",
        "Table 1a, schedule: not stated; the recipe's 150 epochs of 1.3 million images would take weeks, 10 here",
        "Table 1a, tested: utrera2021_sin_tested. Table 1b: utrera2021_attacked",
        "Table 2, low pass: 'the top 1,024 (~14%) frequencies' may be all but the lowest 32 x 32, or the highest 32 x "
        "32; both here",
        "Table 2: seeds not stated; one here, of utrera2021_subsets. Caltech-101 has images under 224 pixels too",
    ],
)

SOURCES = {"natural": ("resnet50_in1k_v1", "in1k"), "l2": ("resnet50_madry_l2_eps3", "l2_eps3")}
VIEWS = {
    "lowres": ("downscale:32x32", "P@downscale:32x32"),
    "lowpass_keep": ("lowpass:keep32", "P@lowpass:keep32"),
    "lowpass_drop": ("lowpass:drop32", None),
}
TUNED = "fine-tuned: the last layer alone by the text, three blocks by the caption"
SHARED = dict(config="classify_r50.py", seeds=(20_000_000,))
runs = [
    dict(
        SHARED,
        name=f"{name}_{view}",
        source=source,
        transfer="blocks:3",
        flags=dict(target="caltech101", recipe="utrera", view=form),
        published=[dict(place="Table 2", source=printed, quantity=quantity)] if quantity else [],
    )
    for name, (source, printed) in SOURCES.items()
    for view, (form, quantity) in VIEWS.items()
]
runs += [
    dict(
        SHARED,
        name=f"{name}_sin_{transfer.replace(':', '')}",
        source=source,
        transfer=transfer,
        flags=dict(target="stylized_imagenet", recipe="utrera", epochs=10),
        published=[dict(place="Table 1a", source=printed, note=TUNED)] if transfer == "blocks:3" else [],
    )
    for name, (source, printed) in SOURCES.items()
    for transfer in ("fixed", "blocks:3")
]
