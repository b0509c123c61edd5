"""Small training sets out of a large one: which images a seed chooses.

Utrera et al. (2021, Appendix A.3) draw without replacement and keep at least one image of each label; their code draws
without looking at labels. Both rules are nested: with the same seed, the smaller subset is a prefix of the larger one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtx.errors import BadValue, unknown_name

RULES = ("stratified", "utrera_code")


def choose(labels: NDArray[np.integer], n: int, seed: int, rule: str = "stratified") -> NDArray[np.int64]:
    """Choose `n` of the images; labels, n, seed and rule decide, and nothing else.

    `stratified`: one image of each class, drawn uniformly within it, then the rest uniformly without replacement, as
    the paper has it. `utrera_code`: `np.random.RandomState(seed).choice(len(labels), n, replace=False)`, bit by bit.

    Args:
        labels: (images,) the class of each; a class counts if it is among them.
        n: how many images.
        seed: a whole number from 0 to 2**32 - 1.
        rule: one of `RULES`.

    Returns:
        int64 (n,) positions in `labels`, distinct, in the order drawn: the first m are what `n=m` gives.

    Raises:
        UnknownName: no such rule.
        BadValue: n is more than there are images or, where the rule is `stratified`, less than there are classes; or
            no such seed.

    Example:
        >>> chosen = choose(np.array([0] * 90 + [1] * 10), 5, seed=3)
        >>> len(chosen), bool((chosen[:3] == choose(np.array([0] * 90 + [1] * 10), 3, seed=3)).all())
        (5, True)
    """
    if rule not in RULES:
        raise unknown_name("subset rule", rule, place="rtx/datasets/label_subset.py", choices=RULES)
    if not 0 <= seed < 2**32:
        raise BadValue(f"subset seed {seed}: must be a whole number from 0 to 2**32 - 1")
    if not 1 <= n <= len(labels):
        raise BadValue(f"{n} images of a training set of {len(labels)}: give a number from 1 to {len(labels)}")
    if rule == "utrera_code":
        drawn: NDArray[np.int64] = np.random.RandomState(seed).choice(len(labels), n, replace=False).astype(np.int64)
        return drawn
    n_classes = len(np.unique(labels))
    if n < n_classes:
        raise BadValue(
            f"{n} images for {n_classes} classes: every class needs one; give {n_classes} or more, or the rule "
            "utrera_code, which does not look at labels"
        )
    # Raw numbers of a counter-based generator: NumPy specifies these to the bit, its shuffles it may change.
    raw = np.random.Philox(key=seed).random_raw(2 * len(labels)).reshape(2, -1)
    order = np.argsort(raw[0], kind="stable")
    firsts = order[np.sort(np.unique(labels[order], return_index=True)[1])]
    # From numbers of their own: in one permutation, what is left of small classes would come late.
    rest = np.argsort(raw[1], kind="stable")
    chosen: NDArray[np.int64] = np.concatenate([firsts, rest[~np.isin(rest, firsts)]])[:n].astype(np.int64)
    return chosen
