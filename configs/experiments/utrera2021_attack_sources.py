"""Utrera et al. (2021), Figure 8 and appendix A.10: sources trained with one attack step, and with Gaussian noise."""

experiment = dict(
    title="ResNet-50 trained on ImageNet with PGD(1) and with Gaussian noise of length 3",
    paper="utrera2021",
    place="Figure 8, appendix A.10",
    question="Does a cheaper or a random adversary make as good a source?",
    evaluation="attacks",
    attack=dict(threat="l2", eps=["0.5", "3"], steps=20),
    doubts=[
        "epochs and weight decay are not stated; 90 and 1e-4 as by Salman et al. (2020)",
        "the paper prints the clean accuracy alone; under attack nothing is printed",
        "Figure 8 fine-tunes these sources as in utrera2021_subsets; `rtx train_source` writes files for --source",
        "the noise is drawn for each pixel from N(0, 1) and cut to the ball, so it is a random direction of length 3",
    ],
)

SHARED = dict(config="classify_r50.py", source="random", transfer="full", norm="train")
FLAGS = dict(target="imagenet", recipe="source", threat="l2", eps=3)
runs = [
    dict(
        SHARED,
        name="pgd1",
        flags=dict(FLAGS, adversarial="pgd", attack_steps=1),
        published=[dict(place="Appendix A.10", source="pgd1_l2_eps3")],
    ),
    dict(
        SHARED,
        name="gaussian",
        flags=dict(FLAGS, adversarial="gaussian"),
        published=[dict(place="Appendix A.10", source="gaussian_l2_eps3")],
    ),
]
