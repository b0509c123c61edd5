"""A network of a user as a backbone, by one call: what is checked, what trains, what is loaded, what the card says."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor, nn

import rtx
from rtx.backbones import BACKBONES, SourceConvNet
from rtx.backbones.registered import NETS
from rtx.backbones.spec import arch_of, kept_arguments, spec_of
from rtx.cli.main import main
from rtx.config import check_statistics, with_source, with_transfer
from rtx.errors import BadValue, WeightsMismatch
from rtx.sources import Source, add_source
from rtx.sources.catalog.archs import ARCHS
from rtx.sources.catalog.rows import CATALOG
from rtx.sources.reading.read import read_checkpoint
from rtx.transfer.guard import FrozenGuardHook, freeze_map
from rtx.transfer.modes import transfer_name
from tests.backbones.users import USERS_FILE, forget

WIDTHS = (8, 16, 32, 64)


class Block(nn.Module):
    """A residual block; its control flow could not be traced."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.conv(x)).relu() if float(x.shape[2] % 2) >= 0 else x


class Net(nn.Module):
    """A classifier whose classifier is cut off: a stem, four stages, a bias in between, functions at the end."""

    def __init__(self, *, inplace: bool = False, stride: int = 2) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.BatchNorm2d(8))
        self.offset = nn.Parameter(torch.zeros(1, 8, 1, 1))
        widths = (8, *WIDTHS)
        for n in range(1, 5):
            layers = [nn.Conv2d(widths[n - 1], widths[n], stride, stride=stride)] if n > 1 else []
            first = [nn.ReLU(inplace=True)] if inplace and n > 1 else []
            self.add_module(f"stage{n}", nn.Sequential(*first, *layers, Block(widths[n]), Block(widths[n])))
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x) + self.offset
        x = self.stage4(self.stage3(self.stage2(self.stage1(x))))
        return self.fc(x.mean((2, 3)))


STAGES = (("stem", "offset"), "stage1", "stage2", "stage3", "stage4")
ROW: dict[str, Any] = dict(
    channels=WIDTHS, stages=STAGES, head_keys=("fc.",), mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1)
)


@pytest.fixture
def mine() -> Iterator[str]:
    rtx.register_backbone("mine", Net, **ROW)
    yield "mine"
    forget("mine")


def detector(**backbone: Any) -> Config:
    return Config(
        {
            "default_scope": "mmdet",
            "model": {
                "backbone": {"type": "SourceResNet", "depth": 50, "norm_cfg": {"type": "BN"}, **backbone},
                "neck": {"in_channels": [256, 512, 1024, 2048]},
                "data_preprocessor": {"mean": [0, 0, 0], "std": [1, 1, 1], "bgr_to_rgb": False},
            },
        }
    )


def test_maps_are_those_of_the_network(mine: str) -> None:
    torch.manual_seed(0)
    net, backbone = Net().eval(), SourceConvNet(mine).eval()
    nn.init.normal_(net.offset)
    state = {key: value for key, value in net.state_dict().items() if not key.startswith("fc.")}
    backbone.load_state_dict(state, strict=True)
    x = torch.randn(2, 3, 64, 96)
    y, theirs = net.stem(x) + net.offset, []
    for stage in (net.stage1, net.stage2, net.stage3, net.stage4):
        y = stage(y)
        theirs.append(y)
    assert all(torch.equal(a, b) for a, b in zip(backbone(x), theirs, strict=True))
    backbone.out_indices = (1, 3)
    assert all(torch.equal(a, b) for a, b in zip(backbone(x), theirs[1::2], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(copy.deepcopy(backbone)(x), theirs[1::2], strict=True))


@pytest.mark.parametrize(
    ("mode", "trains"),
    [("fixed", 0), ("full", 6), ("full_strict", 6), ("blocks:1", 1), ("blocks:3", 4)],
)
def test_a_transfer_trains_what_it_says_and_nothing_else(mine: str, mode: str, trains: int) -> None:
    """The parts behind the stem: in each stage two blocks, and from stage 2 on the convolution before them."""
    cfg = with_transfer(with_source(detector(with_cp=True), f"{mine}:random"), mode)
    backbone = MODELS.build(cfg.model.backbone).train()
    parts = [part.name for part in backbone.parts]
    assert parts[:5] == ["stem", "offset", "stage1.0", "stage1.1", "stage2.0"] and len(parts) == 13
    tail = {"fixed": parts[13:], "full": parts[4:], "full_strict": parts, "blocks:1": parts[12:], "blocks:3": parts[9:]}
    assert list(backbone.plan.trainable) == tail[mode]
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    guard = FrozenGuardHook()
    guard.start(backbone)
    weights = [p for p in backbone.parameters() if p.requires_grad]
    maps = backbone(torch.randn(2, 3, 64, 64))
    if weights:
        sum(m.square().mean() for m in maps).backward()
        torch.optim.SGD(weights, lr=0.1).step()
    assert maps[-1].requires_grad == bool(weights)
    guard.check(backbone)
    changed = {key for key, value in backbone.state_dict().items() if not torch.equal(value, before[key])}
    expected = {n for n, _ in backbone.named_parameters() if any(n == p or n.startswith(p + ".") for p in tail[mode])}
    assert changed <= expected and all(any(key.startswith(part) for key in changed) for part in tail[mode])
    assert freeze_map(backbone)["backbone"]["trainable_parts"] == tail[mode]


def test_a_source_sets_channels_pixel_statistics_and_weights(mine: str, tmp_path: Path) -> None:
    net = Net()
    torch.save(net.state_dict(), tmp_path / "w.pth")
    cfg = with_source(detector(), f"{mine}:{tmp_path / 'w.pth'}")
    assert cfg.model.neck.in_channels == list(WIDTHS) and cfg.model.data_preprocessor.bgr_to_rgb
    assert cfg.model.data_preprocessor.mean == [127.5, 102.0, 76.5]
    assert cfg.model.data_preprocessor.std == [51.0, 51.0, 25.5]
    check_statistics(cfg)
    backbone = MODELS.build(cfg.model.backbone)
    backbone.init_weights()
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in backbone.state_dict().items())
    cfg.model.data_preprocessor.mean = [1.0, 2.0, 3.0]
    with pytest.raises(BadValue, match=r"trained with \[127.5, 102.0, 76.5\]"):
        check_statistics(cfg)
    torch.save(
        {**net.state_dict(), "fc.weight": torch.zeros(1000, 64), "extra.bias": torch.zeros(1)}, tmp_path / "w.pth"
    )
    with pytest.raises(WeightsMismatch, match="1 unexpected"):  # a head of any size is dropped, all else must fit
        backbone.init_weights()


def test_a_record_of_the_catalogue_may_name_it(mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTX_WEIGHTS", str(tmp_path))
    torch.save({f"module.{key}": value for key, value in Net().state_dict().items()}, tmp_path / "mine.pth")
    add_source(
        Source(
            name="mine_here", arch=mine, recipe="here", filename="mine.pth", layout="ddp", licence="MIT", paper="none"
        )
    )
    try:
        assert with_source(detector(), "mine_here").model.data_preprocessor.mean[0] == 123.675
        SourceConvNet(mine, source="mine_here").init_weights()
        with pytest.raises(BadValue, match="'mine_here' is there already"):
            add_source(CATALOG["mine_here"])
    finally:
        del CATALOG["mine_here"]


def test_other_backbones_arguments_are_left_out(mine: str) -> None:
    config = {"type": "SourceResNet", "depth": 18, "base_width": 64, "with_cp": True, "no_such": 1}
    assert kept_arguments(config, spec_of(mine)) == {"with_cp": True, "no_such": 1}
    assert arch_of({"type": "SourceConvNet", "arch": mine, "frozen_stages": 4}) == mine
    assert arch_of(spec_of("vgg16_bn").config) == "vgg16_bn"


def test_batch_norm_decides_what_full_freezes_in_mmdet() -> None:
    class Normless(Net):
        def __init__(self) -> None:
            super().__init__()
            for module in (self.stem, *(block for n in range(1, 5) for block in getattr(self, f"stage{n}"))):
                if isinstance(module, Block):
                    module.norm = nn.Identity()
            self.stem[1] = nn.Identity()

    rtx.register_backbone("normless", Normless, **ROW)
    try:
        assert not spec_of("normless").freezes_early
        cfg = with_transfer(with_source(detector(), "normless:random"), "full")
        assert cfg.model.backbone.frozen_stages == -1
    finally:
        forget("normless")


class Odd(Net):
    """Takes multiples of 32 only."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(Whole.apply(x))


class Whole:
    @staticmethod
    def apply(x: Tensor) -> Tensor:
        return torch.reshape(x, (x.shape[0], 3, x.shape[2] // 32 * 32, x.shape[3] // 32 * 32))


def test_sizes_that_the_network_refuses_are_padded() -> None:
    rtx.register_backbone("odd", Odd, **ROW)
    try:
        maps = SourceConvNet("odd").eval()(torch.zeros(1, 3, 75, 101))
        assert [tuple(m.shape[2:]) for m in maps] == [(19, 26), (10, 13), (5, 7), (3, 4)]
    finally:
        forget("odd")


class Short(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.stage2(self.stage1(self.stem(x) + self.offset))


def replaced() -> Net:
    net = Net()
    net.forward = lambda x: net.stem(x)  # type: ignore[method-assign]
    return net


class Branches(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum() > 0 else x


class Reserved(Net):
    def __init__(self) -> None:
        super().__init__()
        self.parts = self.stage4
        del self.stage4

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.parts(self.stage3(self.stage2(self.stage1(self.stem(x) + self.offset)))).mean((2, 3)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(name="a:b"), "must have no ':'"),
        (dict(name="resnet50"), "'resnet50' is there already"),
        (dict(name="r50_eps3"), "'r50_eps3' is there already"),
        (dict(name="random"), "'random' is there already"),
        (dict(builder=lambda: 3), "returned a int, not a torch.nn.Module"),
        (dict(channels=(8, 16, 32)), "channels=.* must be 4 numbers"),
        (dict(channels=(8, 16, 32, 65)), r"stage 4 gives \(1, 64, 4, 5\).*channels=65"),
        (dict(strides=(4, 8, 16, 64)), r"stage 4 gives .*strides=64"),
        (dict(mean=(123.0, 116.0, 103.0)), r"\[0, 1\] scale"),
        (dict(std=(0.1, 0.2)), "std=.* must be 3 numbers"),
        (dict(stages=STAGES[1:]), "must be five"),
        (dict(stages=(*STAGES[:4], "layer4")), r"'layer4' in stages= is none of its modules \(stem, stage1"),
        (dict(stages=(*STAGES[:4], ())), "stage 4 of stages= names no module"),
        (dict(stages=(*STAGES[:4], ("stage3", "stage4"))), "stage3.0.* twice"),
        (dict(stages=("stem", *STAGES[1:])), "offset has weights and is in no stage"),
        (dict(stages=(("stem", "offset"), "stage2", "stage1", "stage3", "stage4")), "passes stage1.0 before stage2.0"),
        (dict(builder=Short), "never calls stage3"),
        (dict(builder=replaced), "forward was replaced on the object"),
        (dict(builder=Branches), "cannot be traced"),
        (dict(builder=Reserved, stages=(*STAGES[:4], "parts")), "parts is a name that rtx's backbones use"),
        (dict(builder=lambda: Net(inplace=True)), "map of stage 1 is changed in place"),
        (dict(head_keys=()), r"2 tensors .* neither in stages= nor named by head_keys= \(fc.bias, fc.weight\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_refused_when_it_is_registered(change: dict[str, Any], said: str) -> None:
    arguments = {"name": "wrong", "builder": Net, **ROW, **change}
    with pytest.raises(BadValue, match=said):
        rtx.register_backbone(arguments.pop("name"), arguments.pop("builder"), **arguments)
    assert not {"wrong", "a:b"} & {*BACKBONES, *ARCHS, *NETS}


def test_a_name_is_registered_once(mine: str) -> None:
    with pytest.raises(BadValue, match="'mine' is there already"):
        rtx.register_backbone(mine, Net, **ROW)


def test_detectors_need_the_usual_strides() -> None:
    rtx.register_backbone("dense", lambda: Net(stride=1), **{**ROW, "strides": (4, 4, 4, 4), "stages": STAGES})
    try:
        with pytest.raises(BadValue, match="detectors of mmdet read 4, 8, 16 and 32"):
            with_source(detector(), "dense:random")
    finally:
        forget("dense")


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("mode", ["fixed", "full", "blocks:1"])
def test_a_users_file_trains_through_the_command(
    made_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    pytest.importorskip("mmdet")
    (tmp_path / "pocket.py").write_text(USERS_FILE)
    base = Path(__file__).resolve().parents[2] / "configs/maskrcnn_r50_coco.py"
    (tmp_path / "c.py").write_text(f"_base_ = {str(base)!r}\ncustom_imports = dict(imports=['pocket'])\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    arguments = [
        "c.py", "--source", "pocket:w.pth", "--transfer", mode, "--data-root", str(made_coco), "--work-dir", "run",
        "--no-clean-eval", "--cfg-options", "train_cfg.max_epochs=1", "train_dataloader.num_workers=0",
        "train_dataloader.persistent_workers=False", "train_dataloader.batch_size=3", "train_cfg.val_interval=9",
    ]  # fmt: skip
    try:
        import pocket  # type: ignore[import-not-found]

        torch.save(pocket.Pocket().state_dict(), "w.pth")
        assert main(["train", *arguments]) == 0
        made = Config.fromfile("run/c.py").model.backbone
        assert (made.arch, made.source, transfer_name(made, "mmdet")) == ("pocket", "pocket:w.pth", mode)
    finally:
        sys.modules.pop("pocket", None)
        forget("pocket")
    saved = read_checkpoint(tmp_path / "run" / "epoch_1.pth")["state_dict"]
    start = torch.load(tmp_path / "w.pth", weights_only=True)
    moved = set()
    for key, value in start.items():
        if key.endswith("conv.weight") and not torch.equal(value, saved[f"backbone.{key}"]):
            moved.add(key.split(".")[1] if key.startswith("body") else "stem")
    assert moved == {"fixed": set(), "full": {"1", "2", "3"}, "blocks:1": {"3"}}[mode]
