"""Which images a preview evaluates: a seeded subset in which every class keeps its share.

In the spirit of iterative stratification (Sechidis et al., 2011, "On the stratification of multi-label data"): images
go to the subset or to the rest one by one, rare classes first. Unlike there, all classes of an image have a say.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

RULE = "stratified/1"
"""Named in the protocol card; another rule, or another version of this one, makes other numbers."""


def stratified(names: Sequence[str], classes: Sequence[Collection[int]], limit: int, seed: int) -> list[int]:
    """Choose `limit` images.

    Every class, and images without any, get their share of the subset, rounded. Where the subset has room for it (two
    images for each class), every class that is there at all is in it. Only names, classes, limit and seed decide: the
    order of the images does not.

    Args:
        names: of the images.
        classes: what each image holds; nothing known is nothing held, and then this is a plain draw.
        limit: how many images are wanted.
        seed: decides between images that are alike.

    Returns:
        Positions in `names`, ascending.

    Example:
        >>> chosen = stratified("abcdefgh", [[0], [0], [0], [0], [0], [0], [1], [1]], 4, 0)
        >>> [sum(n in chosen for n in part) for part in (range(6), range(6, 8))]
        [3, 1]
    """
    if limit >= len(names):
        return list(range(len(names)))
    digests = [hashlib.sha256(f"{seed}|{name}".encode()).hexdigest() for name in names]
    order = sorted(range(len(names)), key=lambda n: (digests[n], names[n]))
    kinds = sorted({int(kind) for row in classes for kind in row})
    column = {kind: n for n, kind in enumerate(kinds)}
    holds = np.zeros((len(names), len(kinds) + 1), bool)
    for place, n in enumerate(order):
        for kind in classes[n]:
            holds[place, column[int(kind)]] = True
    holds[:, -1] = ~holds.any(axis=1)
    return sorted(order[place] for place in np.flatnonzero(_deal(holds, limit)).tolist())


def _deal(holds: NDArray[np.bool_], limit: int) -> NDArray[np.bool_]:
    """Deal images one by one to the subset or to the rest, so that each class stays as near to its share as it can.

    Args:
        holds: (images, classes + 1) which image holds what, the last column for nothing; images in seeded order.
        limit: size of the subset.
    """
    n_images, n_classes = len(holds), holds.shape[1] - 1
    share, count = limit / n_images, holds.sum(axis=0)
    weight = 1 / np.sqrt(np.maximum(count * share, 0.01))
    off, off_all = np.zeros(len(count)), 0.0  # images in the subset beyond the share of those dealt so far
    inside, dealt, room = np.zeros(n_images, bool), np.zeros(n_images, bool), limit

    def put(image: int, take: bool) -> None:
        nonlocal off_all, room
        inside[image], dealt[image] = take, True
        off[holds[image]] += take - share
        off_all += take - share
        room -= take

    if limit >= 2 * n_classes:
        for kind in np.argsort(count[:n_classes], kind="stable").tolist():
            if not (inside & holds[:, kind]).any():
                put(int(np.argmax(holds[:, kind])), True)
    # A common class can be put right later, so images with rare ones are dealt first.
    rarest = np.where(holds, count, n_images + 1).min(axis=1)
    for image in np.argsort(rarest, kind="stable").tolist():
        if dealt[image]:
            continue
        mine = holds[image]
        terms = [0.2 * (2 * off_all + 1 - 2 * share), *(weight[mine] * (2 * off[mine] + 1 - 2 * share)).tolist()]
        worse = math.fsum(terms)  # exact, so that no machine decides a tie otherwise
        put(image, room > 0 and (worse <= 0 or room == int((~dealt).sum())))
    return inside
