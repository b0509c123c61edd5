"""What every corruption engine promises: pixels that depend on the image, the condition and the generator only."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from rtx.corruptions import BENCHMARK, CORRUPTIONS, ENGINES, GROUPS, HELD_OUT, corrupt, expand
from rtx.errors import BadValue, UnknownName
from rtx.rng import image_rng
from rtx.types import CLEAN, Condition

pytest.importorskip("imagecorruptions", reason="the reference engine needs imagecorruptions-imaug")
Image = NDArray[np.uint8]
every_engine = pytest.mark.parametrize("engine", ["imagecorruptions", "rtx"])
every_corruption = pytest.mark.parametrize("name", CORRUPTIONS)
RANDOM = tuple(
    name
    for name in CORRUPTIONS
    if name
    not in {
        "defocus_blur",
        "zoom_blur",
        "brightness",
        "contrast",
        "pixelate",
        "jpeg_compression",
        "gaussian_blur",
        "saturate",
    }
)


def run(image: Image, name: str, engine: str, *, severity: int = 3, image_id: str = "a", seed: int = 0) -> Image:
    condition = Condition(name, severity)
    return corrupt(image, condition, image_rng(seed, image_id, condition), engine=engine)


@every_engine
@every_corruption
def test_same_generator_same_pixels_whatever_the_global_state(photo: Image, name: str, engine: str) -> None:
    np.random.seed(1)
    first = run(photo, name, engine)
    np.random.seed(2)
    np.random.random(17)
    second = run(photo, name, engine)
    assert first.dtype == np.uint8 and first.shape == photo.shape
    np.testing.assert_array_equal(first, second)


@every_engine
@every_corruption
def test_global_random_state_and_input_are_left_alone(photo: Image, name: str, engine: str) -> None:
    np.random.seed(5)
    before = np.random.get_state()
    kept = photo.copy()
    photo.setflags(write=False)
    run(photo, name, engine)
    after = np.random.get_state()
    assert before[2:] == after[2:]
    np.testing.assert_array_equal(before[1], after[1])
    np.testing.assert_array_equal(kept, photo)


@every_engine
@pytest.mark.parametrize("name", RANDOM)
def test_another_image_seed_or_severity_draws_anew(photo: Image, name: str, engine: str) -> None:
    first = run(photo, name, engine)
    assert (first != run(photo, name, engine, image_id="b")).any()
    assert (first != run(photo, name, engine, seed=1)).any()


@every_engine
@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - set(RANDOM)))
def test_corruptions_without_a_random_field_ignore_the_generator(photo: Image, name: str, engine: str) -> None:
    np.testing.assert_array_equal(run(photo, name, engine), run(photo, name, engine, image_id="b", seed=9))


@every_engine
def test_threads_do_not_share_randomness(photo: Image, engine: str) -> None:
    """All 19 at once, each in two threads; the reference's slow ones once."""
    names = [*CORRUPTIONS] * 2 if engine != "imagecorruptions" else ["gaussian_noise", "glass_blur", "fog", "snow"] * 2
    alone = [run(photo, name, engine, severity=2) for name in names]
    together: dict[int, Image] = {}
    start = threading.Barrier(len(names))

    def work(index: int) -> None:
        start.wait()
        together[index] = run(photo, names[index], engine, severity=2)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(names))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, expected in enumerate(alone):
        np.testing.assert_array_equal(together[index], expected, err_msg=names[index])


def reads_of_this_thread() -> int:
    """System calls that read, of any library, Python's or not."""
    try:
        with open("/proc/thread-self/io") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("syscr"))
    except OSError:
        pytest.skip("this system does not count the reads of a thread")


@every_corruption
def test_no_file_is_read_per_call(photo: Image, name: str) -> None:
    run(photo, name, "rtx")
    nothing = -reads_of_this_thread() + reads_of_this_thread()
    before = reads_of_this_thread()
    # Other draws: every texture of frost.
    for i in range(12):
        run(photo, name, "rtx", severity=1 + i % 5, image_id=str(i))
    assert reads_of_this_thread() - before == nothing


@every_engine
@every_corruption
def test_layout_in_memory_does_not_matter(photo: Image, name: str, engine: str) -> None:
    views = {
        "fortran": np.asfortranarray(photo),
        "strided": np.repeat(photo, 2, axis=1)[:, ::2],
        "flipped": np.ascontiguousarray(photo[::-1])[::-1],
    }
    expected = run(photo, name, engine)
    for layout, view in views.items():
        assert not view.flags.c_contiguous
        np.testing.assert_array_equal(run(view, name, engine), expected, err_msg=layout)


@every_engine
def test_clean_is_a_copy(photo: Image, engine: str) -> None:
    out = corrupt(photo, CLEAN, np.random.default_rng(0), engine=engine)
    np.testing.assert_array_equal(out, photo)
    assert not np.shares_memory(out, photo)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (np.zeros((40, 40, 3), np.float32), "float32"),
        (np.zeros((40, 40, 3), np.int16), "int16"),
        (np.zeros((40, 40), np.uint8), r"\(40, 40\)"),
        (np.zeros((40, 40, 1), np.uint8), r"\(40, 40, 1\)"),
        (np.zeros((40, 40, 4), np.uint8), r"\(40, 40, 4\)"),
        (np.zeros((31, 40, 3), np.uint8), "40x31"),
        (np.zeros((40, 31, 3), np.uint8), "31x40"),
        (np.zeros((0, 0, 3), np.uint8), "0x0"),
        ([[1, 2, 3]], "list"),
    ],
    ids=["float", "int16", "grey", "one-channel", "alpha", "low", "narrow", "empty", "list"],
)
@every_engine
def test_bad_images_are_named(bad: Image, said: str, engine: str) -> None:
    with pytest.raises(BadValue, match=said) as caught:
        corrupt(bad, Condition("fog", 3), np.random.default_rng(0), engine=engine, name="cat.jpg")
    assert "cat.jpg" in str(caught.value)


def test_unknown_names_and_severities(photo: Image) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UnknownName, match="did you mean 'fog'"):
        corrupt(photo, Condition("fogg", 3), rng)
    with pytest.raises(UnknownName, match="corruption engine 'gpu'"):
        corrupt(photo, Condition("fog", 3), rng, engine="gpu")
    with pytest.raises(UnknownName, match="did you mean 'zoom_blur'"):
        expand(["zoomblur"])
    for severity in (0, 6, -1, True):
        with pytest.raises(BadValue, match="severity"):
            Condition("fog", severity)


@every_corruption
def test_every_engine_name_makes_its_own_pixels(photo: Image, name: str) -> None:
    outs = {engine: run(photo, name, engine, severity=4) for engine in ENGINES}
    for engine, out in outs.items():
        assert out.shape == photo.shape and out.dtype == np.uint8, engine
    assert (outs["rtx"] != outs["rtx-cifar10c"]).any()


def test_groups_are_sets_in_canonical_order() -> None:
    assert len(BENCHMARK) == 15 and len(HELD_OUT) == 4 and len(CORRUPTIONS) == 19
    assert expand(["saturate", "noise", "fog", "fog"]) == (*GROUPS["noise"], "fog", "saturate")
    assert expand(["all"]) == tuple(CORRUPTIONS)
    assert expand(["benchmark"]) == BENCHMARK
