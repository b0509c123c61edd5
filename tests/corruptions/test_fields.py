"""The random fields have the distribution they should: moments, marginals, and no correlation in space.

Every check is a statistic that is standard normal, or chi-squared, if the field is right, and fails beyond a bound that
a right field passes with probability 1 - 1e-6 (`FALSE_ALARM`). There are some 500 checks, so that a change of seeds
alone would fail one run in 2000; with the seeds written here, nothing is left to chance.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from rtx.corruptions import corrupt
from rtx.corruptions.arithmetic.bits import fill_words, new_key, normals, uniforms
from rtx.corruptions.kernels import KERNELS, noise
from rtx.rng import image_rng
from rtx.types import Condition
from tests.corruptions.conftest import made_photo

FALSE_ALARM = 1e-6
Z = float(stats.norm.isf(FALSE_ALARM / 2))
SHAPE = (480, 640, 3)
# Along a row, a column, a diagonal, a channel; and half a block and a block of the generator, where its pairs lie.
LAGS = (1, 2, 3, 4, 6, 640 * 3, 640 * 3 + 3, 512, 1024)


def rng_of(seed: int = 0) -> np.random.Generator:
    return image_rng(seed, "field", Condition("fog", 3))


def expect_mean(values: NDArray, mean: float, deviation: float, what: str) -> None:
    """The mean of independent values of known expectation and standard deviation."""
    z = (float(np.mean(values, dtype=np.float64)) - mean) / (deviation / np.sqrt(values.size))
    assert abs(z) < Z, f"{what}: {z:.1f} standard errors off"


def expect_counts(found: NDArray, expected: NDArray, what: str) -> None:
    """Counts of disjoint cells against their expectations, cells of less than 10 put together."""
    order = np.argsort(expected)[::-1]
    expected, found = np.asarray(expected, float)[order], np.asarray(found, float)[order]
    large = int((expected >= 10).sum())
    if large < len(expected):
        expected = np.append(expected[:large], expected[large:].sum())
        found = np.append(found[:large], found[large:].sum())
    used = expected > 0
    chi2 = float(((found[used] - expected[used]) ** 2 / expected[used]).sum())
    assert stats.chi2.sf(chi2, used.sum() - 1) > FALSE_ALARM, f"{what}: chi2 {chi2:.0f} on {used.sum() - 1}"


def expect_uncorrelated(values: NDArray, what: str, lags: tuple[int, ...] = LAGS) -> None:
    v = values.ravel().astype(np.float64)
    v = (v - v.mean()) / v.std()
    for lag in lags:
        z = float(np.mean(v[lag:] * v[:-lag])) * np.sqrt(v.size - lag)
        assert abs(z) < Z, f"{what}: correlated at lag {lag}, {z:.1f} standard errors"


@pytest.mark.parametrize("seed", range(4))
def test_normal_numbers(seed: int) -> None:
    z = normals(rng_of(seed), SHAPE)
    assert z.dtype == np.float32 and z.shape == SHAPE
    wide = z.astype(np.float64)
    for power, (mean, variance) in enumerate([(0, 1), (1, 2), (0, 15), (3, 96), (0, 945), (15, 10170)], start=1):
        expect_mean(wide**power, mean, np.sqrt(variance), f"moment {power}")
    assert stats.kstest(z.ravel(), "norm").pvalue > FALSE_ALARM
    edges = np.concatenate([[-np.inf], np.linspace(-4.5, 4.5, 91), [np.inf]])
    expect_counts(np.histogram(z, edges)[0], np.diff(stats.norm.cdf(edges)) * z.size, "histogram, tails included")
    expect_uncorrelated(z, "normal")
    # Box-Muller makes pairs from one radius: the squares must not know of each other either.
    expect_uncorrelated(wide**2, "squares")
    expect_uncorrelated(np.abs(wide) > 2, "exceedances")


@pytest.mark.parametrize("seed", range(4))
def test_uniform_numbers_and_their_bits(seed: int) -> None:
    u = uniforms(rng_of(seed), SHAPE)
    assert u.min() >= 0 and u.max() < 1
    expect_mean(u, 0.5, 12**-0.5, "mean")
    expect_mean(u.astype(np.float64) ** 2, 1 / 3, np.sqrt(1 / 5 - 1 / 9), "second moment")
    expect_counts(np.histogram(u, 1024, (0, 1))[0], np.full(1024, u.size / 1024), "histogram")
    expect_uncorrelated(u, "uniform")
    words = np.empty(2**20, np.uint32)
    fill_words(np.uint64(seed), 0, words)
    for bit in range(32):
        ones = (words >> np.uint32(bit)) & np.uint32(1)
        expect_mean(ones, 0.5, 0.5, f"bit {bit}")
        expect_uncorrelated(ones, f"bit {bit}", (1, 2, 3, 64))
    pairs = np.bincount((words[:-1] >> 28) * 16 + (words[1:] >> 28), minlength=256)
    expect_counts(pairs, np.full(256, (words.size - 1) / 256), "pairs of neighbours")


def test_fields_of_different_images_and_conditions_are_unrelated() -> None:
    conditions = [Condition("gaussian_noise", 1), Condition("gaussian_noise", 2), Condition("speckle_noise", 1)]
    fields = [normals(image_rng(0, image, c), SHAPE).ravel() for image in ("a", "b") for c in conditions]
    fields.append(normals(image_rng(1, "a", conditions[0]), SHAPE).ravel())
    for i, one in enumerate(fields):
        for other in fields[:i]:
            expect_mean(one.astype(np.float64) * other, 0, 1, "product")


def counts_of(image: NDArray, photons: float, rng: np.random.Generator) -> NDArray:
    """The counts that `shot_noise` looks up; its pixels alone tell no count beyond white."""
    key, kernel = new_key(rng), KERNELS["shot_noise"]
    thresholds, guide = noise._poisson_tables(photons)
    counts = np.empty(image.shape, np.int16)
    every = np.arange(thresholds.shape[1], dtype=np.int16)
    noise._count(image.ravel(), key, thresholds, guide, every, counts.ravel())
    np.testing.assert_array_equal(kernel.apply(image, photons, counts), kernel.apply(image, photons, key))
    return counts


@pytest.mark.parametrize("severity", range(1, 6))
def test_shot_noise_counts_photons(severity: int) -> None:
    kernel = KERNELS["shot_noise"]
    assert kernel.cifar10c is not None
    for table in (kernel.levels, kernel.cifar10c):
        photons = table[severity - 1]
        for value in (0, 1, 30, 127, 254, 255):
            image = np.full((200, 300, 3), value, np.uint8)
            counts = counts_of(image, photons, rng_of(value))
            mean = value / 255 * photons
            if value == 0:
                assert (counts == 0).all()
                continue
            expect_mean(counts, mean, np.sqrt(mean), f"mean at {value}")
            found = np.bincount(counts.ravel())
            expected = stats.poisson.pmf(np.arange(len(found) + 1), mean) * counts.size
            expected[-1] = counts.size - expected[:-1].sum()
            expect_counts(np.append(found, 0), np.maximum(expected, 0), f"counts at {value}")
            expect_uncorrelated(counts, f"counts at {value}", (1, 2, 3, 900, 512, 1024))


@pytest.mark.parametrize("severity", range(1, 6))
def test_impulses_strike_the_right_share_evenly(severity: int) -> None:
    kernel = KERNELS["impulse_noise"]
    amount = kernel.levels[severity - 1]
    key = kernel.draw(np.zeros(SHAPE, np.uint8), amount, rng_of(severity))
    struck = kernel.apply(np.full(SHAPE, 128, np.uint8), amount, key)
    field = np.where(struck == 128, 0, np.maximum(struck, 1))
    assert set(np.unique(field)) == {0, 1, 255}
    expect_mean(field > 0, amount, np.sqrt(amount * (1 - amount)), "share")
    expect_mean(field[field > 0] == 255, 0.5, 0.5, "salt")
    expect_uncorrelated(field > 0, "hits")
    expect_uncorrelated(field[field > 0] == 255, "salt", (1, 2, 3))


@pytest.mark.parametrize("severity", range(1, 6))
def test_glass_offsets_are_even_over_the_window(severity: int) -> None:
    kernel = KERNELS["glass_blur"]
    level = kernel.levels[severity - 1]
    reach = level[1]
    offsets = kernel.draw(np.zeros(SHAPE, np.uint8), level, rng_of(severity))
    assert offsets.shape == (level[2], 480 - 2 * reach, 640 - 2 * reach, 2)
    low, high = int(offsets.min()), int(offsets.max())
    assert (low, high) == (-reach, reach - 1)
    side = high - low + 1
    cells = np.bincount(((offsets[..., 0] - low) * side + offsets[..., 1] - low).ravel(), minlength=side**2)
    expect_counts(cells, np.full(side**2, cells.sum() / side**2), "offset pairs")
    for axis in (0, 1):
        expect_uncorrelated(offsets[..., axis], "offsets", (1, 2, 640 - 2 * reach, 512, 1024))


def test_angles_textures_and_crops() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    n = 3000
    rngs = [image_rng(0, str(i), Condition("frost", 1)) for i in range(n)]
    motion = [KERNELS["motion_blur"].draw(image, KERNELS["motion_blur"].levels[0], rng) for rng in rngs]
    assert stats.kstest(motion, stats.uniform(-45, 90).cdf).pvalue > FALSE_ALARM
    small = np.zeros((32, 32, 3), np.uint8)
    snow = [KERNELS["snow"].draw(small, KERNELS["snow"].levels[0], rng).angle for rng in rngs]
    assert stats.kstest(snow, stats.uniform(-135, 90).cdf).pvalue > FALSE_ALARM
    frost = [KERNELS["frost"].draw(image, KERNELS["frost"].levels[0], rng) for rng in rngs]
    expect_counts(np.bincount([f.texture for f in frost], minlength=6), np.full(6, n / 6), "textures")
    # frost1 is 900 x 600 and scaled by 1.1: 180 rows and 350 columns of freedom.
    first = [f for f in frost if f.texture == 0]
    assert stats.kstest([(f.top + 0.5) / 180 for f in first], "uniform").pvalue > FALSE_ALARM
    assert stats.kstest([(f.left + 0.5) / 350 for f in first], "uniform").pvalue > FALSE_ALARM


def test_elastic_displacements_are_even_on_both_axes() -> None:
    kernel = KERNELS["elastic_transform"]
    moves = kernel.draw(np.zeros(SHAPE, np.uint8), kernel.levels[0], rng_of()).moves
    assert moves.min() >= -1 and moves.max() < 1
    for axis in (0, 1):
        expect_mean(moves[:, axis], 0, 3**-0.5, "mean")
        expect_counts(np.histogram(moves[:, axis], 256, (-1, 1))[0], np.full(256, moves[:, axis].size / 256), "even")
    expect_uncorrelated(moves, "moves", (1, 2, 640, 1280, 512, 1024))


def statistics(image: NDArray[np.uint8]) -> list[float]:
    """What a random field of the wrong size, shape or grain would change."""
    f = image.astype(np.float64)
    return [
        f.mean(),
        f.std(),
        np.abs(np.diff(f, axis=0)).mean(),
        np.abs(np.diff(f, axis=1)).mean(),
        np.abs(f[8:] - f[:-8]).mean(),
        np.abs(f[:, 8:] - f[:, :-8]).mean(),
        f[..., 0].mean() - f[..., 2].mean(),
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "snow", "frost", "fog"),
        *("elastic_transform", "speckle_noise", "spatter"),
    ],
)
def test_pixels_of_both_engines_have_the_same_statistics(name: str) -> None:
    """Mean, spread and grain over many draws: two independent samples of each statistic, compared by Welch's test."""
    pytest.importorskip("imagecorruptions")
    image = made_photo(64, 96)
    n = 40
    for severity in (3,):
        condition = Condition(name, severity)
        ours, theirs = (
            np.array(
                [
                    statistics(corrupt(image, condition, image_rng(i, engine, condition), engine=engine))
                    for i in range(n)
                ]
            )
            for engine in ("rtx", "imagecorruptions")
        )
        for k in range(ours.shape[1]):
            if ours[:, k].std() + theirs[:, k].std() < 1e-9:
                continue
            p = stats.ttest_ind(ours[:, k], theirs[:, k], equal_var=False).pvalue
            assert p > FALSE_ALARM, (
                f"{name} {severity}: statistic {k}: {ours[:, k].mean()} against {theirs[:, k].mean()}"
            )
