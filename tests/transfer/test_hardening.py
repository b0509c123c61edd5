"""Training on perturbed images: what the network is given, and that it is trained as ever."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.utils import import_modules_from_strings
from mmpretrain.registry import TRANSFORMS
from torch.utils.data import DataLoader

from rtx.adversarial.threat import L2
from rtx.errors import BadValue, UnknownName
from rtx.transfer.hardening import Hardening, Replayed, TrainUnderAttack, with_hardening
from tests.evaluation.class_folders import class_config, make_folders
from tests.small_configs import small_config


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any]]:
    """A classifier and a collated training batch of 8-bit images."""
    cfg = class_config(make_folders(tmp_path_factory.mktemp("data") / "set"))
    init_default_scope("mmpretrain")
    torch.manual_seed(0)
    model = MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor})
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    return model, dict(default_collate([dataset[n] for n in range(0, 12, 2)]))


def runner_of(model: Any, iteration: int = 0) -> Any:
    return SimpleNamespace(model=model, iter=iteration, optim_wrapper=object())


def perturbed(model: Any, batch: dict[str, Any], **fields: Any) -> torch.Tensor:
    data = dict(batch)
    TrainUnderAttack(Hardening(**fields).card()).before_train_iter(runner_of(model), 0, data)
    return data["inputs"] / 255 - batch["inputs"].float() / 255


def test_pgd_perturbs_the_batch_within_the_threat_and_leaves_the_network_in_training(world: Any) -> None:
    model, batch = world
    model.train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    delta = perturbed(model, batch, recipe="pgd", threat="linf", eps=4)
    assert float(delta.abs().max()) == pytest.approx(4 / 255, abs=1e-4)
    assert model.training and model.backbone.bn1.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())


def test_pgd_raises_the_loss_more_than_gaussian_noise_of_the_same_length(world: Any) -> None:
    model, batch = world
    model.eval()

    def loss(delta: torch.Tensor) -> float:
        data = model.data_preprocessor(dict(batch, inputs=batch["inputs"].float() + 255 * delta), False)
        with torch.no_grad():
            return float(model.loss(data["inputs"], data["data_samples"])["loss"])

    clean, noisy, attacked = (
        loss(delta)
        for delta in (
            torch.zeros(1),
            perturbed(model, batch, recipe="gaussian", threat="l2", eps=2.0),
            perturbed(model, batch, recipe="pgd", threat="l2", eps=2.0),
        )
    )
    assert attacked > clean + 3 * abs(noisy - clean)


def test_gaussian_noise_of_a_usual_image_is_a_random_direction_of_length_eps(world: Any) -> None:
    model, batch = world
    grey = dict(batch, inputs=torch.full_like(batch["inputs"], 128))
    norms = L2(3.0).norm(perturbed(model, grey, recipe="gaussian", threat="l2", eps=3.0))
    torch.testing.assert_close(norms, torch.full((6,), 3.0), atol=1e-3, rtol=0)


def test_under_amp_the_attack_is_made_in_half_precision_and_keeps_to_the_ball(world: Any) -> None:
    model, batch = world
    seen = []
    hook = model.backbone.conv1.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    runner, data = runner_of(model), dict(batch)
    runner.optim_wrapper = SimpleNamespace(loss_scaler=object(), cast_dtype=torch.bfloat16)
    try:
        TrainUnderAttack(Hardening("pgd", "linf", 4).card()).before_train_iter(runner, 0, data)
    finally:
        hook.remove()
    assert seen == [torch.bfloat16] * 3
    assert float((data["inputs"] / 255 - batch["inputs"].float() / 255).abs().max()) == pytest.approx(4 / 255, abs=1e-4)


def test_salmans_step_is_two_thirds_of_eps_and_utreras_single_one_two_eps() -> None:
    assert Hardening("pgd", "l2", 3.0).attack().size == pytest.approx(2.0)
    assert Hardening("pgd", "l2", 3.0, steps=1).attack().size == pytest.approx(6.0)


def test_free_training_moves_the_perturbation_on_by_the_gradient_of_each_step(world: Any) -> None:
    model, batch = world
    wrapper = build_optim_wrapper(model, dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.0)))
    hook = TrainUnderAttack(Hardening("free", "linf", 4, replays=3).card())
    seen, losses = [], []
    for data in Replayed([batch], 3):
        hook.before_train_iter(runner_of(model), 0, data)
        seen.append(data["inputs"].detach() - batch["inputs"].float())
        losses.append(float(model.eval().train_step(data, wrapper)["loss"]))
        hook.after_train_iter(runner_of(model), 0, data, {})
    assert not seen[0].any()
    assert all(float(delta.abs().max()) == pytest.approx(4, abs=1e-2) for delta in seen[1:])
    assert losses[0] < losses[1] <= losses[2] + 1e-3
    assert batch["inputs"].dtype == torch.uint8
    other = dict(batch, inputs=batch["inputs"].flip(0))
    hook.before_train_iter(runner_of(model), 0, other)
    assert (other["inputs"].detach() - batch["inputs"].flip(0).float()).abs().max() > 3, (
        "carried over to the next batch"
    )


def test_free_training_sees_each_batch_as_often_as_asked_in_both_kinds_of_schedule() -> None:
    loader = DataLoader(range(6), batch_size=2, collate_fn=lambda rows: dict(inputs=rows))  # type: ignore[arg-type]
    hook = TrainUnderAttack(Hardening("free", "l2", 1, replays=4).card())
    loop = SimpleNamespace(dataloader=loader, _max_iters=9)
    hook.before_train(SimpleNamespace(train_loop=loop))
    assert [row["inputs"] for row in loop.dataloader] == [rows for rows in ([0, 1], [2, 3], [4, 5]) for _ in range(4)]
    assert len(loop.dataloader) == 12 and loop._max_iters == 36 and loop.dataloader.dataset == range(6)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("name", ["maskrcnn_r50_lr04_coco.py", "upernet_r50_ade20k.py"])
@pytest.mark.parametrize("recipe", ["free", "pgd"])
def test_detectors_and_segmenters_train_under_attack(name: str, recipe: str, request: pytest.FixtureRequest) -> None:
    kind = "coco" if "coco" in name else "ade"
    cfg = small_config(name, request.getfixturevalue(f"made_{kind}"))
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model).train()
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    hook = TrainUnderAttack(Hardening(recipe, "linf", 4, steps=1).card())
    for _ in range(2):
        data = dict(pseudo_collate([dataset[0], dataset[1]]))
        clean = [image.float() for image in data["inputs"]]
        hook.before_train_iter(runner_of(model), 0, data)
        losses = model.train_step(data, wrapper)
        hook.after_train_iter(runner_of(model), 0, data, losses)
        assert all(torch.isfinite(torch.as_tensor(value)).all() for value in losses.values())
        moved = max(float((a.detach() - b).abs().max()) for a, b in zip(data["inputs"], clean, strict=True))
        assert moved <= 4 + 1e-2
    assert moved == pytest.approx(4, abs=1e-2)


def config(scope: str = "mmpretrain") -> Config:
    pipeline = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]
    return Config(dict(default_scope=scope, train_dataloader=dict(dataset=dict(pipeline=pipeline))))


def test_prime_and_augmix_come_last_before_packing() -> None:
    for recipe, steps in (("prime", ["Prime"]), ("augmix", ["NumpyToPIL", "torchvision/AugMix", "PILToNumpy"])):
        cfg = with_hardening(config(), Hardening(recipe))
        pipeline = cfg.train_dataloader.dataset.pipeline
        assert [step["type"] for step in pipeline] == ["LoadImageFromFile", *steps, "PackInputs"]
        import_modules_from_strings(**cfg.get("custom_imports", dict(imports=[])))
        init_default_scope("mmpretrain")
        assert all(TRANSFORMS.get(step) is not None for step in steps), "a step that no registry has"


def test_augmix_gives_an_image_of_the_same_kind() -> None:
    import numpy as np
    from mmcv.transforms import Compose

    init_default_scope("mmpretrain")

    steps = with_hardening(config(), Hardening("augmix")).train_dataloader.dataset.pipeline[1:-1]
    image = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    found = Compose([TRANSFORMS.build(dict(step)) for step in steps])(dict(img=image.copy()))["img"]
    assert found.shape == image.shape and found.dtype == np.uint8 and not np.array_equal(found, image)


def test_the_choice_is_kept_in_the_config() -> None:
    assert with_hardening(config(), Hardening("pgd", "l2", 0.5)).rtx_hardening.to_dict() == {
        "recipe": "pgd", "threat": "l2", "eps": 0.5, "steps": 3, "step": 2.0, "random_start": False,
    }  # fmt: skip
    assert with_hardening(config(), Hardening("standard")).rtx_hardening == {"recipe": "standard"}
    assert not with_hardening(config(), Hardening("standard")).get("custom_hooks")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (dict(recipe="trades"), UnknownName), (dict(recipe="pgd"), BadValue),
        (dict(recipe="pgd", threat="l2"), BadValue),
        (dict(recipe="prime", threat="l2", eps=1), BadValue), (dict(recipe="free", threat="l2", eps=0), BadValue),
        (dict(recipe="free", threat="l2", eps=1, replays=0), BadValue),
        (dict(recipe="pgd", threat="l3", eps=1), UnknownName),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_such_training_is_refused(wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Hardening(**wrong)


def test_augmix_is_for_classifiers(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="classifiers only"):
        with_hardening(config("mmdet"), Hardening("augmix"))
