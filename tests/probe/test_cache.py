"""A cache gives the features of its own weights, data and pixels, whole, or an error."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rtx.errors import DataError
from rtx.probe.cache import Cached, Features, opened

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def cached(tmp_path: Path) -> Cached:
    return Cached(tmp_path / "features", "net:random set train", {"weights": "aa", "pixels": [{"scale": 256}]}, (4, 3))


def pieces() -> Iterator[Features]:
    yield ROWS[:3]
    yield ROWS[3:]


def never() -> Iterator[Features]:
    raise AssertionError("the features are there")
    yield ROWS


def test_made_once_and_mapped(cached: Cached) -> None:
    first, there = opened(cached, pieces)
    assert not there and np.array_equal(first, ROWS)
    again, there = opened(cached, never)
    assert there and isinstance(again, np.memmap) and not again.flags.writeable and np.array_equal(again, ROWS)
    assert cached.path.name.startswith("net-random-set-train_")
    kept = {path.suffix for path in cached.folder.iterdir()}
    assert kept <= {".npy", ".json", ".lock"}


def test_other_weights_have_another_file(cached: Cached) -> None:
    opened(cached, pieces)
    other = replace(cached, card={**cached.card, "weights": "ab"})
    assert other.path != cached.path and not opened(other, pieces)[1]


def test_a_cache_of_other_weights_is_refused(cached: Cached) -> None:
    opened(cached, pieces)
    other = replace(cached, card={**cached.card, "weights": "ab"})
    for suffix in (".npy", ".json"):
        cached.path.with_suffix(suffix).rename(other.path.with_suffix(suffix))
    with pytest.raises(DataError, match="features of other weights"):
        opened(other, never)


def test_features_of_another_device_or_library_are_used_with_a_word(
    cached: Cached, caplog: pytest.LogCaptureFixture
) -> None:
    opened(replace(cached, maker="cuda with PyTorch 2.8"), pieces)
    opened(replace(cached, maker="cuda with PyTorch 2.8"), never)
    assert "was made on" not in caplog.text
    found, there = opened(replace(cached, maker="cpu with PyTorch 2.9"), never)
    assert there and np.array_equal(found, ROWS)
    assert "was made on cuda with PyTorch 2.8, this is cpu with PyTorch 2.9" in caplog.text


@pytest.mark.parametrize("damage", ["cut", "empty", "header", "card", "text"])
def test_a_damaged_cache_is_refused(cached: Cached, damage: str) -> None:
    opened(cached, pieces)
    path, card = cached.path, cached.path.with_suffix(".json")
    whole = path.read_bytes()
    if damage == "card":
        card.unlink()
    elif damage == "text":
        card.write_text(json.dumps({"weights": "aa"}))
    elif damage == "header":
        np.save(path, ROWS[:3])
    else:
        path.write_bytes(whole[:-1] if damage == "cut" else b"")
    with pytest.raises(DataError, match=r"remove .* and run again"):
        opened(cached, never)


def test_an_interrupted_pass_leaves_nothing(cached: Cached) -> None:
    def stopped() -> Iterator[Features]:
        yield ROWS[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(cached, stopped)
    assert not cached.path.exists() and not list(cached.folder.glob("*.part"))
    assert np.array_equal(opened(cached, pieces)[0], ROWS)


def test_features_that_are_not_finite_are_named(cached: Cached) -> None:
    def odd() -> Iterator[Features]:
        yield ROWS[:3]
        yield np.full((1, 3), np.nan, np.float32)

    with pytest.raises(DataError, match="image 3 are not finite"):
        opened(cached, odd)
    assert not cached.path.exists()


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("no flock")])
def test_a_file_system_without_locks_is_named_and_used(
    cached: Cached, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(lock: object) -> None:
        raise error

    monkeypatch.setattr("rtx.probe.cache.FileLock.acquire", refuse)
    with caplog.at_level("WARNING"):
        features, there = opened(cached, pieces)
    assert not there and np.array_equal(features, ROWS) and "no locks on this file system" in caplog.text
