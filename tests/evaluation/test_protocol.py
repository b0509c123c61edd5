"""The options of an evaluation: one definition for command line, hook and card, with the same guards everywhere."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

import pytest

pytest.importorskip("mmengine")

from rtx.cli import corrupt_eval, imagenet_c
from rtx.cli.options import add_protocol_arguments, protocol_of
from rtx.errors import BadValue, RtxError, UnknownName
from rtx.evaluation.protocol import Protocol
from rtx.results.protocol import CONTEXT, FIELDS


def parsed(*words: str, **defaults: Any) -> Protocol:
    parser = argparse.ArgumentParser()
    add_protocol_arguments(parser, **defaults)
    return protocol_of(parser.parse_args(words))


@pytest.mark.parametrize("option", fields(Protocol), ids=lambda option: option.name)
def test_every_option_has_its_help_and_a_card_entry_that_has_a_tag(option: Any) -> None:
    assert option.metadata["help"]
    entry = option.metadata["card"]
    assert entry is None or FIELDS[entry].tag != CONTEXT


def test_no_word_is_the_protocol_without_options() -> None:
    assert parsed() == Protocol()
    assert parsed(batch_size=32) == Protocol(batch_size=32)


def test_every_option_has_a_flag() -> None:
    words = "--corruptions fog snow --severities 1 3 --limit 7 --seed 3 --batch-size 4 --workers 0 --engine rtx --amp"
    more = "--cache 2 --view lowpass:keep32 --channel-order bgr_legacy --corruption-at network_input --channels-last"
    found = parsed(*words.split(), *more.split(), "--adapt-norm", "8:2", "--keep-predictions", "--resamples", "0")
    same = {option.name for option in fields(Protocol) if getattr(found, option.name) == option.default}
    assert same == {"engine"}, "its only sure value is the default"
    assert [condition.key for condition in found.conditions()] == ["clean", "snow_1", "snow_3", "fog_1", "fog_3"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(limit=0), BadValue, "--limit 0: must be 1 or more"),
        (dict(resamples=-1), BadValue, "--resamples -1: must be 0"),
        (dict(resamples=100_001), BadValue, "to 100000"),
        (dict(corruptions=["fogg"]), UnknownName, "did you mean 'fog'"),
        (dict(severities=[6]), BadValue, "severity 6"),
        (dict(engine="rxt"), UnknownName, "engine 'rxt'.*did you mean 'rtx'"),
        (dict(channel_order="bgr"), UnknownName, "channel order 'bgr'"),
        (dict(view="downscale"), BadValue, "view 'downscale': must be one of none, downscale:N"),
        (dict(corruption_at="here"), UnknownName, "corruption at 'here'"),
        (dict(severity=3), BadValue, "no option severity; known: adapt_norm, amp"),
    ],
    ids=str,
)
def test_what_no_evaluation_can_do_is_refused_before_anything_is_loaded(
    options: dict[str, Any], error: type[RtxError], message: str
) -> None:
    with pytest.raises(error, match=message):
        Protocol().with_options(options)


@pytest.mark.parametrize("command", [corrupt_eval, imagenet_c])
def test_commands_take_their_options_from_it(command: Any) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    helps = {action.dest: action.help for action in parser._actions}
    shared = [option for option in fields(Protocol) if option.name in helps]
    assert len(shared) >= 9 and all(helps[option.name] == option.metadata["help"] for option in shared)
