"""An evaluation under attack: pixels that are searched against the model itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope
from PIL import Image
from torch import nn

from rtx.errors import BadValue, UnknownName
from rtx.evaluation.evaluate import evaluate
from rtx.evaluation.models.adapters import Classifier, Detector, Segmenter
from rtx.evaluation.models.objectives import objective
from rtx.evaluation.pixels.attacked import Attacked
from rtx.evaluation.protocol import Protocol
from rtx.results.summary import markdown
from rtx.types import CLEAN, Condition
from tests.evaluation.class_folders import NAMES, class_config, make_folders, train
from tests.makers import COCO_NAMES
from tests.small_configs import small_config

QUICK = dict(eps=(8,), steps=2)
LINF = Condition("linf", 8)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Any]:
    """Class folders and a classifier that has learnt them."""
    cfg = class_config(make_folders(tmp_path_factory.mktemp("data") / "set"))
    init_default_scope("mmpretrain")
    model = MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor})
    train(model)
    return cfg, model.eval()


def built(name: str, data: Path) -> tuple[Config, Any]:
    cfg = small_config(name, data)
    init_default_scope(cfg.default_scope)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MODELS.build(copy.deepcopy(cfg.model))
    return cfg, model.eval()


@pytest.fixture(
    scope="module", params=["maskrcnn_r50_lr04_coco.py", "fasterrcnn_r50_d2_voc.py", "upernet_r50_ade20k.py"]
)
def dense(request: pytest.FixtureRequest) -> tuple[Config, Any]:
    name = request.param
    kind = next(k for k in ("voc", "coco", "ade") if k in name)
    return built(name, request.getfixturevalue(f"made_{kind}"))


def loaded(cfg: Config, pixels: Attacked, count: int) -> dict[str, Any]:
    """A collated batch of the attacked test set."""
    init_default_scope(cfg.default_scope)
    dataset = DATASETS.build(pixels.dataset(cfg, Protocol()))
    return dict(pseudo_collate([dataset[n] for n in range(count)]))


def test_a_detectors_and_a_segmenters_loss_rises_within_the_threat(dense: tuple[Config, Any]) -> None:
    cfg, model = dense
    pixels = Attacked(**QUICK)
    batch = loaded(cfg, pixels, 2)
    clean = [image.float() / 255 for image in batch["inputs"]]
    samples = batch["data_samples"]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found, flat = pixels.perturbed(model, batch, LINF, 0)
    assert not flat["no gradient"]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    name = pixels.attack_card(model)["attack"]["losses"][0]
    for n, sample in enumerate(samples):
        moved = found["inputs"][n] / 255
        assert float((moved - clean[n]).abs().max()) == pytest.approx(8 / 255, abs=1e-4)
        assert 0 <= moved.min() and moved.max() <= 1
        raised = objective(model, [sample], name, seed=3)
        with torch.no_grad():
            (before, harm_before), (after, harm) = (raised(image[None], 1.0) for image in (clean[n], moved))
        assert after > before or harm > harm_before
    assert batch["inputs"][0].dtype == torch.uint8, "the batch that came in is another one"


def test_the_ground_truth_of_a_loss_is_at_the_scale_of_the_networks_image(made_coco: Path) -> None:
    cfg = small_config("maskrcnn_r50_lr04_coco.py", made_coco)
    for step in cfg.test_dataloader.dataset.pipeline:
        if step["type"] == "Resize":
            step["scale"] = (200, 150)
    sample = loaded(cfg, Attacked(**QUICK), 1)["data_samples"][0]
    width, height = sample.scale_factor
    assert (width, height) != (1, 1)
    plain = copy.deepcopy(cfg)
    plain.test_dataloader.dataset.pipeline = [
        dict(step, scale=tuple(sample.ori_shape[::-1])) if step["type"] == "Resize" else step
        for step in plain.test_dataloader.dataset.pipeline
    ]
    whole = loaded(plain, Attacked(**QUICK), 1)["data_samples"][0]
    scaled = whole.gt_instances.bboxes.tensor * torch.tensor([width, height] * 2)
    torch.testing.assert_close(sample.gt_instances.bboxes.tensor, scaled, atol=1e-3, rtol=0)
    assert sample.gt_instances.masks.masks.shape[1:] == sample.img_shape


@pytest.mark.parametrize("part", ["classification", "localisation"])
def test_parts_of_a_detectors_loss_make_up_the_whole(made_coco: Path, part: str) -> None:
    cfg, model = built("maskrcnn_r50_lr04_coco.py", made_coco)
    batch = loaded(cfg, Attacked(**QUICK), 1)
    image = batch["inputs"][0][None].float() / 255
    with torch.no_grad():
        total, mine = (
            float(objective(model, batch["data_samples"], n, seed=0)(image, 0.0)[0]) for n in ("total", part)
        )
    assert 0 < mine < total


def test_cells_by_eps_with_intervals_card_and_table(world: tuple[Config, Any], tmp_path: Path) -> None:
    cfg, model = world
    pixels = Attacked(eps=(4, 32), steps=5)
    summary = evaluate(model, cfg, tmp_path, pixels=pixels, resamples=20, batch_size=4)
    assert list(summary["cells"]) == ["clean", "linf_4", "linf_32"]
    scores = [summary["P"], *summary["attacks"].values()]
    assert scores[0] > scores[1] >= scores[2]
    assert summary["complete"] and summary["mPC"] is None
    assert set(summary["intervals"]["cells"]) == {"clean", "linf_4", "linf_32"}
    assert summary["protocol"]["attack"] == {
        "threat": "linf", "method": "pgd", "steps": 5, "step": 2.5, "random_start": True, "restarts": 1,
        "momentum": 0.0, "keep": "worst", "losses": ["ce"],
    }  # fmt: skip
    text = markdown(summary)
    assert "Linf 4/255" in text and "PGD-5 on ce" in text and "INCOMPLETE" not in text and "mPC" not in text
    again = evaluate(model, cfg, tmp_path, pixels=Attacked(eps=(4, 32, 2), steps=5), resamples=0)
    assert list(again["cells"]) == ["clean", "linf_2", "linf_4", "linf_32"], "finished cells are kept"


def test_numbers_depend_on_seed_and_image_only(world: tuple[Config, Any], tmp_path: Path) -> None:
    cfg, model = world
    pixels = Attacked(threat="l2", eps=(0.7,), steps=4, restarts=2)
    found = [
        evaluate(model, cfg, tmp_path / str(n), pixels=pixels, resamples=0, **options)
        for n, options in enumerate([dict(batch_size=1, workers=0), dict(batch_size=5, workers=1), dict(seed=1)])
    ]
    assert found[0]["attacks"] == found[1]["attacks"]
    assert found[0]["key"] == found[1]["key"] != found[2]["key"]


def test_an_attack_on_another_model_is_weaker_and_says_so(world: tuple[Config, Any], tmp_path: Path) -> None:
    cfg, model = world
    other = copy.deepcopy(model)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        for module in other.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.reset_parameters()
    white, black = (
        evaluate(model, cfg, tmp_path / name, pixels=Attacked(eps=(16,), steps=5, surrogate=who), resamples=0)
        for name, who in (("white", None), ("black", other))
    )
    assert black["attacks"]["linf_16"] > white["attacks"]["linf_16"]
    assert len(black["protocol"]["attack"]["surrogate_sha256"]) == 64
    assert "made against another model" in markdown(black)


class Pooled(nn.Module):
    """A classifier, or with `dense` a segmenter, of mean colours; `rounded` keeps no gradient."""

    def __init__(self, *, dense: bool = False, rounded: bool = False) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, len(NAMES), 1)
        self.dense, self.rounded = dense, rounded
        with torch.random.fork_rng():
            torch.manual_seed(0)
            nn.init.normal_(self.head.weight)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        pixels = torch.round(pixels) if self.rounded else pixels
        scores = self.head(pixels)
        return scores if self.dense else scores.mean((2, 3))


def fitted(root: Path) -> Pooled:
    """A network that has learnt the mean colours of the classes."""
    net = Pooled()
    means = [np.asarray(Image.open(path).convert("RGB")).mean((0, 1)) / 255 for path in sorted(root.rglob("*.png"))]
    colours = torch.tensor(np.array(means), dtype=torch.float32)[:, :, None, None]
    labels = torch.arange(len(NAMES)).repeat_interleave(len(means) // len(NAMES))
    optimiser = torch.optim.Adam(net.parameters(), 0.3)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(colours), labels).backward()
        optimiser.step()
    return net


def test_a_torch_module_is_attacked_by_its_scores_or_by_a_loss_of_ones_own(tmp_path: Path) -> None:
    root = make_folders(tmp_path / "set")
    mine = Classifier(fitted(root), NAMES, crop=64, resize=72)
    usual = evaluate(mine, root, tmp_path / "a", pixels=Attacked(eps=(16,), steps=3), resamples=0)
    assert usual["attacks"]["linf_16"] < usual["P"]
    calls = []

    def own(pixels: torch.Tensor, truths: list[dict[str, torch.Tensor]]) -> torch.Tensor:
        calls.append([int(truth["labels"]) for truth in truths])
        return nn.functional.cross_entropy(net(pixels), torch.cat([t["labels"] for t in truths]), reduction="none")

    net = Pooled()
    same = evaluate(
        Classifier(net, NAMES, crop=64, resize=72, loss=own), root, tmp_path / "b",
        pixels=Attacked(eps=(16,), steps=3), resamples=0,
    )  # fmt: skip
    assert same["protocol"]["attack"]["losses"] == ["own"]
    assert {label for row in calls for label in row} == set(range(len(NAMES)))


def test_labels_of_an_adapter_are_in_the_order_of_the_function(made_ade: Path, tmp_path: Path) -> None:
    import json

    names = [
        row["name"] if isinstance(row, dict) else row
        for row in _names(json.loads((made_ade / "classes.json").read_text()))
    ]
    seen: list[set[int]] = []
    for order in (names, names[::-1]):
        labels: set[int] = set()

        def own(pixels: torch.Tensor, truths: Any, labels: set[int] = labels) -> torch.Tensor:
            labels |= set(np.unique(torch.cat([t["labels"] for t in truths]).numpy()).tolist()) - {255}
            return pixels.flatten(1).sum(1)

        net = Pooled(dense=True)
        net.head = nn.Conv2d(3, len(names), 1)
        model = Segmenter(net, order, name="n", loss=own)
        evaluate(model, made_ade, tmp_path / order[0], pixels=Attacked(eps=(2,), steps=1), resamples=0, limit=1)
        seen.append({order.index(names[label]) if order is names else names.index(order[label]) for label in labels})
    assert seen[0] == seen[1]


def _names(table: Any) -> Iterator[Any]:
    yield from table["classes"] if isinstance(table, dict) and "classes" in table else table


def test_a_model_without_a_gradient_to_its_pixels_is_not_scored_as_robust(tmp_path: Path) -> None:
    root = make_folders(tmp_path / "set", per_class=1)
    summary = evaluate(
        Classifier(Pooled(rounded=True), NAMES, crop=64, resize=72), root, tmp_path / "out",
        pixels=Attacked(**QUICK), resamples=0,
    )  # fmt: skip
    assert summary["cells"]["linf_8"]["flags"] == ["no gradient for 6 of 6 images"]
    assert "no gradient for 6 of 6 images" in markdown(summary)


def test_what_no_gradient_passes_through_is_refused_before_any_image(tmp_path: Path, made_coco: Path) -> None:
    root = make_folders(tmp_path / "set", per_class=1)
    function = Classifier(lambda images: [np.zeros(len(NAMES))] * len(images), NAMES, name="f")
    with pytest.raises(BadValue, match=r"no gradient passes.*torch module"):
        evaluate(function, root, tmp_path / "out", pixels=Attacked(**QUICK))
    detector = Detector(Pooled(), COCO_NAMES)
    with pytest.raises(BadValue, match=r"give Detector.*loss="):
        evaluate(detector, made_coco, tmp_path / "out", pixels=Attacked(**QUICK))
    assert not (tmp_path / "out").exists()


def test_a_pipeline_that_normalises_is_refused(world: tuple[Config, Any], tmp_path: Path) -> None:
    cfg, model = copy.deepcopy(world[0]), world[1]
    steps = cfg.test_dataloader.dataset.pipeline
    steps.insert(len(steps) - 1, dict(type="Normalize", mean=[0, 0, 0], std=[255, 255, 255]))
    with pytest.raises(BadValue, match="normalises; leave that to the model"):
        evaluate(model, cfg, tmp_path, pixels=Attacked(**QUICK), resamples=0)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (dict(eps=()), BadValue), (dict(eps=(0,)), BadValue), (dict(eps=(256,)), BadValue), (dict(steps=0), BadValue),
        (dict(threat="l1"), UnknownName), (dict(keep="last", losses=("js", "ce")), BadValue),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_numbers_are_refused_at_once(wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Attacked(**wrong)


@pytest.mark.parametrize(
    ("wrong", "error"), [(dict(losses=("js",)), UnknownName), (dict(target=77), BadValue)], ids=str
)
def test_losses_and_targets_that_a_classifier_does_not_have(
    world: tuple[Config, Any], tmp_path: Path, wrong: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        evaluate(world[1], world[0], tmp_path, pixels=Attacked(**QUICK, **wrong), resamples=0)


def test_clean_images_are_not_touched(world: tuple[Config, Any]) -> None:
    cfg, model = world
    pixels = Attacked(**QUICK)
    batch = loaded(cfg, pixels, 2)
    assert pixels.perturbed(model, batch, CLEAN, 0) == (batch, {})
