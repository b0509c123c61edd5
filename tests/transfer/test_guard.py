"""The guard proves bit-identity over real training steps, and notices every way to break it."""

from __future__ import annotations

import logging

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from rtx.backbones import SourceResNet
from rtx.errors import FrozenChanged
from rtx.transfer import FrozenGuardHook
from rtx.transfer.guard import fingerprint, mode_of


class Classifier(BaseModel):
    """The smallest model with a backbone and something that trains beside it."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = torch.nn.Linear(512, 3)

    def forward(self, inputs, labels, mode="tensor"):
        logits = self.head(self.backbone(inputs)[-1].mean(dim=(2, 3)))
        return {"loss": torch.nn.functional.cross_entropy(logits, labels)}


def run(tmp_path, model, *, steps=2, hooks=(), resume=False, epochs=1):
    torch.manual_seed(0)
    data = [{"inputs": torch.randn(3, 32, 32), "labels": torch.tensor(i % 3)} for i in range(2 * steps)]
    runner = Runner(
        model,
        str(tmp_path),
        train_dataloader=DataLoader(data, batch_size=2),
        train_cfg={"by_epoch": True, "max_epochs": epochs},
        # Weight decay and momentum would pull on frozen weights if anything let them.
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}},
        default_hooks={"checkpoint": {"type": "CheckpointHook", "interval": 1}, "logger": None},
        custom_hooks=[{"type": "FrozenGuardHook"}, *hooks],
        resume=resume,
        experiment_name=f"guard_{tmp_path.name}_{id(model)}",
        log_level="INFO",
    )
    runner.train()
    return runner


def state(backbone):
    return {name: value.clone() for name, value in backbone.state_dict().items()}


@pytest.mark.parametrize("policy", ["eval", "train", "frozen_affine"])
def test_two_training_steps_leave_a_fixed_backbone_bit_identical(tmp_path, policy):
    backbone = SourceResNet(18, frozen_stages=4, norm_policy=policy)
    before, head = state(backbone), None
    model = Classifier(backbone)
    head = model.head.weight.detach().clone()
    run(tmp_path, model)
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())
    assert not torch.equal(head, model.head.weight)


def test_blocks_train_and_the_rest_stays(tmp_path):
    backbone = SourceResNet(18, trainable_blocks=1, norm_policy="train")
    before = state(backbone)
    run(tmp_path, Classifier(backbone))
    moved = {name for name, value in backbone.state_dict().items() if not torch.equal(before[name], value)}
    assert moved == {name for name in before if name.startswith("layer4.1.")}


def test_upstream_lets_statistics_drift_but_not_parameters(tmp_path, caplog):
    backbone = SourceResNet(18, frozen_stages=4, norm_policy="upstream")
    before = state(backbone)
    with caplog.at_level(logging.INFO):
        run(tmp_path, Classifier(backbone))
    moved = {name for name, value in backbone.state_dict().items() if not torch.equal(before[name], value)}
    assert moved and all(
        name.rsplit(".", 1)[1] in ("running_mean", "running_var", "num_batches_tracked") for name in moved
    )
    log_text = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert "drift, not guarded" in log_text


class Breaker:
    """A hook that breaks the promise after the first step."""

    def __new__(cls, action):
        from mmengine.hooks import Hook

        class _Breaker(Hook):
            def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
                with torch.no_grad():
                    action(runner.model.backbone)

        return _Breaker()


def batch_norm_in_train_mode(backbone):
    backbone.layer1[0].bn1.train()


def last_bit_of_a_weight(backbone):
    flat = backbone.conv1.weight.view(-1)
    flat[0] = torch.nextafter(flat[0], torch.tensor(9.0))


def sign_of_a_zero(backbone):
    backbone.bn1.running_mean.fill_(-0.0)


def unfreezing(backbone):
    backbone.layer2[0].conv1.weight.requires_grad_(True)


@pytest.mark.parametrize(
    ("action", "name"),
    [
        (batch_norm_in_train_mode, r"layer1\.0\.bn1\.running_mean"),
        (last_bit_of_a_weight, r"backbone\.conv1\.weight"),
        (sign_of_a_zero, r"bn1\.running_mean"),
        (unfreezing, r"layer2\.0\.conv1\.weight"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_guard_names_what_changed_and_nothing_is_saved(tmp_path, action, name):
    model = Classifier(SourceResNet(18, frozen_stages=4))
    with pytest.raises(FrozenChanged, match=name):
        run(tmp_path, model, hooks=[Breaker(action)])
    assert not list(tmp_path.rglob("*.pth"))


def test_the_log_states_trainable_and_frozen_counts(tmp_path):
    model = Classifier(SourceResNet(18, frozen_stages=4))
    run(tmp_path, model)
    log_text = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert "backbone: 0 parameters train, 11,176,512 are frozen" in log_text
    assert "total: 1,539 parameters train, 11,176,512 are frozen" in log_text
    assert "122 frozen" not in log_text and "frozen tensors are bit-identical" in log_text


def test_a_resumed_run_is_compared_with_the_start_of_the_first(tmp_path):
    backbone = SourceResNet(18, frozen_stages=4)
    run(tmp_path, Classifier(backbone))
    run(tmp_path, Classifier(SourceResNet(18, frozen_stages=4)), resume=True, epochs=2)
    path = tmp_path / "epoch_2.pth"
    saved = torch.load(path, weights_only=False)
    saved["state_dict"]["backbone.conv1.weight"] += 1
    torch.save(saved, path)
    with pytest.raises(FrozenChanged, match="resumed"):
        run(tmp_path, Classifier(SourceResNet(18, frozen_stages=4)), resume=True, epochs=3)


def test_a_wrapped_model_is_guarded_under_the_same_names():
    from mmengine.model import MMDistributedDataParallel

    model = Classifier(SourceResNet(18, frozen_stages=4))
    wrapped = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    torch.nn.Module.__init__(wrapped)
    wrapped.module = model
    plain, inside = FrozenGuardHook(), FrozenGuardHook()
    plain.start(model)
    inside.start(wrapped)
    assert plain.before == inside.before and len(plain.before) == len(model.backbone.state_dict())


def test_fingerprints_see_bits_types_and_shapes():
    zero = torch.zeros(4)
    prints = {fingerprint(t) for t in (zero, -zero, zero.view(2, 2), zero.int(), torch.zeros(0), torch.zeros(()))}
    assert len(prints) == 6
    assert fingerprint(torch.arange(6.0).view(2, 3).t()) == fingerprint(torch.arange(6.0).view(2, 3).t().contiguous())


@pytest.mark.parametrize(("frozen", "mode"), [((), "full_strict"), (("0",), "part"), (("0", "1"), "fixed")])
def test_the_mode_of_an_own_backbone_is_read_from_what_trains(frozen, mode):
    model = torch.nn.Module()
    model.backbone = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    for name in frozen:
        model.backbone.get_submodule(name).requires_grad_(False)
    assert mode_of(model, {"type": "MyOwn"}, "mmdet") == mode
    assert mode_of(model, {}, "mmdet") is None
