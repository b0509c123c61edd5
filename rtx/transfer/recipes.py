"""Training recipes of the papers for classification targets, one row each, with schedules and seeds as functions.

Sources: Salman et al. (2020, Appendix A) with microsoft/robust-models-transfer; Utrera et al. (2021, Appendix A.3,
Tables 3 and 4) with utrerf/robust_transfer_learning; Yamada & Otani (2022, Appendix A).
"""

from __future__ import annotations

from dataclasses import dataclass

from rtx.errors import BadValue, unknown_name

LR_DROPS = ("paper", "code")


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained on a target: SGD whose learning rate falls to a tenth in steps.

    Attributes:
        name: as `--recipe` takes it.
        lr: the learning rate that it starts with.
        lr_grid: those among which the paper chose for each target.
        batch_size: images a step.
        preprocessing: key of `rtx.transfer.preprocessing`.
        epochs: None where the size of the training set decides, see `schedule_of`.
        test_every: epochs between tests; None as for `epochs`.
        momentum, weight_decay: of SGD.
    """

    name: str
    lr: float
    lr_grid: tuple[float, ...]
    batch_size: int
    preprocessing: str
    epochs: int | None
    test_every: int | None
    momentum: float = 0.9
    weight_decay: float = 5e-4


RECIPES = {
    row.name: row
    for row in (
        # The tuned table of the code: fixed features .01, whole networks .001 or .01.
        Recipe("salman", 0.01, (0.01, 0.001), 64, "salman", 150, 5),
        # The command line of the code takes a learning rate and does not use it.
        Recipe("utrera", 0.1, (0.1,), 128, "utrera", None, None),
        # The paper gives no number of epochs for CIFAR-10; it follows Salman et al.
        Recipe("yamada", 0.01, (0.01,), 64, "salman", 150, 5),
        # For sources: Utrera et al., A.10, with the epochs and the weight decay of Salman et al.
        Recipe("source", 0.1, (0.1,), 128, "salman", 90, 10, weight_decay=1e-4),
    )
}


@dataclass(frozen=True)
class Schedule:
    """Of one training: epochs, after which of them the learning rate drops, how often to test, and how many seeds."""

    epochs: int
    drops: tuple[int, ...]
    test_every: int
    seeds: int = 1


@dataclass(frozen=True)
class _Size:
    most: float
    epochs: int
    test_every: int
    seeds: int


# Table 4 of Utrera et al.; where the text says 10 seeds for all larger subsets, the table says 10, 5 and 1.
_UTRERA = (_Size(1600, 100, 20, 20), _Size(6400, 150, 10, 10), _Size(25_600, 150, 10, 5))
_UTRERA_ALL = _Size(float("inf"), 150, 10, 1)
UTRERA_SIZES = tuple(100 * 2**i for i in range(9))


def find_recipe(name: str) -> Recipe:
    """The row of a recipe.

    Raises:
        UnknownName: there is none.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, place="rtx/transfer/recipes.py", choices=RECIPES)
    return RECIPES[name]


def schedule_of(recipe: Recipe, images: int | None, *, epochs: int | None = None, lr_drops: str = "paper") -> Schedule:
    """The schedule for a training set.

    Args:
        recipe: the row.
        images: size of the subset; None for the whole training set.
        epochs: another number than the recipe's.
        lr_drops: "paper", after one and two thirds of the epochs; or "code", after every third of them rounded down,
            which for 100 epochs is a third drop before the last one.

    Raises:
        BadValue: no epochs.
        UnknownName: no such rule for the drops.

    Example:
        >>> schedule_of(RECIPES["utrera"], 400)
        Schedule(epochs=100, drops=(33, 66), test_every=20, seeds=20)
        >>> schedule_of(RECIPES["utrera"], 400, lr_drops="code").drops
        (33, 66, 99)
    """
    if lr_drops not in LR_DROPS:
        raise unknown_name("rule for learning rate drops", lr_drops, place="rtx/transfer/recipes.py", choices=LR_DROPS)
    size = _UTRERA_ALL if images is None else next((row for row in _UTRERA if images <= row.most), _UTRERA_ALL)
    n = epochs if epochs is not None else recipe.epochs or size.epochs
    if n < 1:
        raise BadValue(f"--epochs {n}: must be 1 or more")
    step = n // 3
    drops = tuple(range(step, n, step)) if step else ()
    drops = drops[:2] if lr_drops == "paper" else drops
    return Schedule(n, drops, min(recipe.test_every or size.test_every, n), 1 if recipe.epochs else size.seeds)


def utrera_seeds(k: int) -> tuple[int, ...]:
    """The k seeds of Utrera et al. (Equation 6).

    Example:
        >>> utrera_seeds(20)[-1]
        21900000
    """
    return tuple(20_000_000 + 100_000 * i for i in range(k))
