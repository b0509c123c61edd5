"""What the results say of a claim.

    difference    first minus second, paired by seed (Utrera et al., 2021), for each value of `by`; averaged over these
                  seed by seed
    shrinks       the same difference at the smaller number of training images minus that at the larger one
    images        first minus second of evaluated runs, over resamples of the same test images; averaged over pairs
    best_differs  the best of some sources on each target, with those that are not told apart from it; the claim is
                  right where two targets have no source in common, and wrong where one source alone is the best on all
    tracks        the correlation over sources of their own accuracy with that on the target, seed by seed; the claim is
                  right where the interval of its mean over the targets lies above zero (Salman et al., 2020, Table 2)

Intervals over seeds hold the draw of the training subset and of the initialisation, those over images the draw of the
test set; neither holds both.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rtx.errors import BadValue
from rtx.evidence.claim import AGREES, CANNOT_TELL, DISAGREES, OVER_IMAGES, Claim, Estimate, Finding, verdict_of
from rtx.evidence.rows import Result, accuracy_of, by_seed, chosen
from rtx.reports.runs.intervals import MEMBERS, Floats, Resamples, interval
from rtx.reports.runs.runs import Run
from rtx.results.over_seeds import Scores, spread
from rtx.results.studies import best, correlation, r_squared
from rtx.types import CLEAN

Grouped = Mapping[tuple[str, ...], Scores]


def measured(claim: Claim, results: Sequence[Result], runs: Mapping[str, Run]) -> Finding:
    """The finding; one that says what is missing where there are no results.

    Args:
        claim: what is asked.
        results: of trainings and probes.
        runs: evaluated runs by name.

    Raises:
        BadValue: settings that do not tell results apart, or runs that were not evaluated on the same images.
    """
    return _KINDS[claim.kind](claim, results, runs)


def _difference(claim: Claim, results: Sequence[Result], runs: Mapping[str, Run]) -> Finding:
    groups, used = _paired(claim, results)
    return _over_seeds(claim, groups, used)


def _shrinks(claim: Claim, results: Sequence[Result], runs: Mapping[str, Run]) -> Finding:
    assert claim.sizes is not None
    small, large = (_paired(claim, chosen(results, {"images": size})) for size in claim.sizes)
    groups = {
        key: {seed: small[0][key][seed] - large[0][key][seed] for seed in small[0][key].keys() & large[0][key].keys()}
        for key in small[0]
        if key in large[0]
    }
    return _over_seeds(claim, {key: scores for key, scores in groups.items() if scores}, [*small[1], *large[1]])


def _paired(claim: Claim, results: Sequence[Result]) -> tuple[dict[tuple[str, ...], dict[int, float]], list[Result]]:
    """Difference by group and seed, and what it is made of."""
    place = f"claim {claim.name!r}"
    sides = [chosen(results, wanted) for wanted in (claim.first, claim.second)]
    first, second = (by_seed(side, claim.by, claim.quantity, place) for side in sides)
    groups = {
        key: {seed: first[key][seed] - second[key][seed] for seed in first[key].keys() & second[key].keys()}
        for key in first
        if key in second
    }
    return {key: scores for key, scores in groups.items() if scores}, [*sides[0], *sides[1]]


def _over_seeds(claim: Claim, groups: Grouped, used: Sequence[Result]) -> Finding:
    if not groups:
        return Finding(claim, (), CANNOT_TELL, "no results yet")
    each = tuple(_estimate(", ".join(key), scores) for key, scores in sorted(groups.items()))
    shared = set.intersection(*(set(scores) for scores in groups.values()))
    if len(groups) > 1 and shared:
        mean = {seed: float(np.mean([scores[seed] for scores in groups.values()])) for seed in shared}
        each = (_estimate("mean", mean), *each)
    return Finding(
        claim, each, verdict_of(each[0], claim.expect), models=len(used), seconds=sum(one.seconds for one in used)
    )


def _estimate(name: str, scores: Scores) -> Estimate:
    found = spread(scores, resamples=0)
    return Estimate(name, found.mean, found.t, found.n)


def _by_option(
    claim: Claim, results: Sequence[Result]
) -> tuple[dict[tuple[str, ...], dict[str, Scores]], list[Result]]:
    """Group -> option -> scores, of the groups that have all options; and what they are made of."""
    place, used = f"claim {claim.name!r}", []
    scores: dict[tuple[str, ...], dict[str, Scores]] = {}
    for option, pattern in claim.options.items():
        side = chosen(results, {**claim.first, "source": pattern})
        used += side
        for key, of_seeds in by_seed(side, claim.by, claim.quantity, place).items():
            scores.setdefault(key, {})[option] = of_seeds
    return {key: each for key, each in sorted(scores.items()) if len(each) == len(claim.options)}, used


def _tracks(claim: Claim, results: Sequence[Result], runs: Mapping[str, Run]) -> Finding:
    whole, used = _by_option(claim, results)
    own: dict[str, float] = {}
    for option, pattern in claim.options.items():
        known = {accuracy_of(file) for file in {r.settings["source"] for r in chosen(used, {"source": pattern})}}
        accuracy = known.pop() if len(known) == 1 else None
        if accuracy is None:
            words = f"own accuracy of the source {option!r} is not known; its file has it"
            return Finding(claim, (), CANNOT_TELL, words, models=len(used))
        own[option] = accuracy
    seeds = set.intersection(*(set(scores) for each in whole.values() for scores in each.values())) if whole else set()
    if not seeds:
        return Finding(claim, (), CANNOT_TELL, "no results yet")
    x, options = list(own.values()), list(own)
    r = {  # group -> seed -> correlation
        ", ".join(key): {seed: correlation(x, [each[option][seed] for option in options]) for seed in seeds}
        for key, each in whole.items()
    }
    mean = _estimate("mean", {seed: float(np.mean([of_seeds[seed] for of_seeds in r.values()])) for seed in seeds})
    within = "" if mean.ends is None else f" [{mean.ends[0]:+.2f}, {mean.ends[1]:+.2f}]"
    means = {
        ", ".join(key): [float(np.mean([each[option][seed] for seed in seeds])) for option in options]
        for key, each in whole.items()
    }
    squares = (f"{name}: {r_squared(x, y):.2f}" for name, y in means.items())
    return Finding(
        claim,
        (),
        verdict_of(mean, claim.expect),
        f"mean correlation {mean.value:+.2f}{within} over {len(x)} sources, {mean.n} seeds; R2 {'; '.join(squares)}",
        models=len(used),
        seconds=sum(one.seconds for one in used),
    )


def _best_differs(claim: Claim, results: Sequence[Result], runs: Mapping[str, Run]) -> Finding:
    whole, used = _by_option(claim, results)
    if len(whole) < 2:
        return Finding(claim, (), CANNOT_TELL, "results of fewer than two targets")
    may_be_best = {}
    words = []
    for key, each in whole.items():
        found = best(each)
        may_be_best[key] = {found.key, *found.ties, *found.untested}
        ties = f" (or {', '.join([*found.ties, *found.untested])})" if len(may_be_best[key]) > 1 else ""
        words.append(f"{', '.join(key)}: {found.key}{ties}")
    apart = any(not one & other for one in may_be_best.values() for other in may_be_best.values())
    same = all(len(one) == 1 for one in may_be_best.values()) and not apart
    return Finding(
        claim,
        (),
        AGREES if apart else DISAGREES if same else CANNOT_TELL,
        "best " + "; ".join(words),
        models=len(used),
        seconds=sum(one.seconds for one in used),
    )


def _images(claim: Claim, results: Sequence[Result], runs: Mapping[str, Run]) -> Finding:
    pairs = pairs_of(claim, runs)
    if not pairs:
        return Finding(claim, (), CANNOT_TELL, "no evaluated runs yet")
    quantity, each = _quantity(claim.quantity), []
    draws: list[Floats | None] = []
    images: dict[Any, int] = {}  # of each test set
    for name, one, two in pairs:
        a, b = one.intervals.resamples, two.intervals.resamples
        values = [(_point(run, claim.quantity), run) for run in (one, two)]
        if any(value is None for value, _ in values):
            lacking = next(run.name for value, run in values if value is None)
            return Finding(claim, (), CANNOT_TELL, f"{lacking} lacks cells of its grid")
        difference = values[0][0] - values[1][0]  # type: ignore[operator]
        if a is None or b is None or a.draws != b.draws:
            raise BadValue(f"claim {claim.name!r}: {one.name} and {two.name} were not evaluated on the same images")
        first, second = quantity(a), quantity(b)
        drawn = None if first is None or second is None else first - second
        draws.append(drawn)
        each.append(Estimate(name, difference, interval(drawn), one.n_images or 0, OVER_IMAGES))
        images[a.draws] = one.n_images or 0
    if len(each) > 1:
        # Pairs of different test sets are independent, those of one set share its images: resample by resample.
        known = [drawn for drawn in draws if drawn is not None]
        whole = len(known) == len(draws) and len({len(drawn) for drawn in known}) == 1
        together = np.asarray(np.mean(known, axis=0)) if whole else None
        mean = float(np.mean([estimate.value for estimate in each]))
        each.insert(0, Estimate("mean", mean, interval(together), sum(images.values()), OVER_IMAGES))
    used = {name for names in names_of_pairs(claim, runs) for name in names[1:]}
    seconds = sum(r.seconds for r in results if used & {r.settings["run"], f"{r.settings['run']}/seed{r.seed}"})
    return Finding(claim, tuple(each), verdict_of(each[0], claim.expect), models=len(used), seconds=seconds)


def pairs_of(claim: Claim, runs: Mapping[str, Run]) -> list[tuple[str, Run, Run]]:
    """Pairs of evaluated runs, see `names_of_pairs`."""
    return [(inside, runs[one], runs[two]) for inside, one, two in names_of_pairs(claim, runs)]


def names_of_pairs(claim: Claim, runs: Mapping[str, Run]) -> list[tuple[str, str, str]]:
    """What the `*` of the first pattern stands for, which is put in that of the second, and the names of both runs."""
    first, second = str(claim.first["run"]), str(claim.second["run"])
    before, star, behind = first.partition("*")
    found = []
    for name in sorted(fnmatch.filter(runs, first)):
        inside = name[len(before) : len(name) - len(behind)] if star else ""
        other = second.replace("*", inside)
        if other in runs:
            found.append((inside.strip("_/"), name, other))
    return found


def _quantity(name: str) -> Callable[[Resamples], Floats | None]:
    what, _, family = name.partition(":")
    members: Any = {"corruptions": MEMBERS[family]} if family else {}
    return {
        "P": lambda resamples: resamples.of(CLEAN),
        "mPC": lambda resamples: resamples.mean(**members),
        "drop": lambda resamples: resamples.drop(**members),
    }[what]


def _point(run: Run, name: str) -> float | None:
    """The quantity of a run itself."""
    what, _, family = name.partition(":")
    clean = run.grid().get(CLEAN)
    if what == "P" or clean is None:
        return clean
    cells = [
        v for c, v in run.grid().items() if c.corruption in (MEMBERS[family] if family else sum(MEMBERS.values(), ()))
    ]
    wanted = 5 * (len(MEMBERS[family]) if family else sum(map(len, MEMBERS.values())))
    if len(cells) != wanted:
        return None
    mean = float(np.mean(cells))
    return mean if what == "mPC" else 1 - mean / clean if clean else None


_KINDS: Mapping[str, Callable[[Claim, Sequence[Result], Mapping[str, Run]], Finding]] = {
    "difference": _difference,
    "shrinks": _shrinks,
    "images": _images,
    "best_differs": _best_differs,
    "tracks": _tracks,
}
