"""`--cfg-options` lead somewhere, or it is said where they do not."""

from __future__ import annotations

import argparse
import logging
from typing import Any

import pytest
from mmengine.config import Config

from rtx.cli.options import add_launcher_arguments, merge_options
from rtx.errors import BadValue


def config() -> Config:
    return Config(
        dict(
            model=dict(type="Net", backbone=dict(type="ResNet", depth=50)),
            train_dataloader=dict(batch_size=2, dataset=dict(data_prefix=dict(img="train/"))),
            train_cfg=dict(max_epochs=3),
            param_scheduler=[dict(type="LinearLR", end=5)],
            val_dataloader=None,
        )
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("val_dataloader.num_workers", 0, "val_dataloader is None in the config"),
        ("param_scheduler.7.end", 3, "param_scheduler is a list of 1, '7' is no place"),
        ("param_scheduler.end", 3, "'end' is no place"),
        ("model", 3, "model is a section; name a setting in it, such as model.type"),
        ("model.backbone", "resnet18", "model.backbone is a section"),
        ("train_cfg.max_epochs.more", 1, "train_cfg.max_epochs is 3"),
        ("param_scheduler", 0.1, "param_scheduler is a section"),
    ],
)
def test_an_option_that_leads_nowhere_is_refused(name: str, value: Any, said: str) -> None:
    with pytest.raises(BadValue) as error:
        merge_options(config(), {name: value})
    assert f"--cfg-options {name}" in str(error.value) and said in str(error.value)


@pytest.mark.parametrize(
    ("name", "near"), [("train_dataloder.batch_size", "train_dataloader"), ("train_cfg.max_epoch", "max_epochs")]
)
def test_a_misspelt_key_is_told_with_the_nearest_name(name: str, near: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        merge_options(config(), {name: 1})
    assert f"did you mean '{near}'?" in caplog.text


def test_what_fits_is_applied_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    cfg = config()
    options = {"param_scheduler.0.end": 9, "model.backbone.depth": 18}
    with caplog.at_level(logging.WARNING):
        merge_options(cfg, {**options, "train_dataloader.dataset.data_prefix": "all/", "model.neck": dict(type="FPN")})
    assert not caplog.text and cfg.param_scheduler[0].end == 9 and cfg.model.backbone.depth == 18
    assert cfg.train_dataloader.dataset.data_prefix == "all/"


@pytest.mark.parametrize("word", ["train_cfg.max_epochs", "=3", "a..b=1", "a=[1,2"])
def test_words_that_are_no_settings_are_refused(word: str) -> None:
    parser = argparse.ArgumentParser()
    add_launcher_arguments(parser)
    with pytest.raises(BadValue, match="--cfg-options"):
        parser.parse_args(["--cfg-options", word])
