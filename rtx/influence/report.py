"""A folder for each head, and one comparison of all of them."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtx.errors import RunConflict
from rtx.files import json_ready, read_json, write_atomic, write_whole
from rtx.influence.head import Inverse, influences
from rtx.influence.measures import Matches, matches, most_helpful, paired
from rtx.influence.subject import Subject
from rtx.reports.figures.influence import Tile, gallery, heat, label_match
from rtx.reports.figures.style import save, settings
from rtx.reports.published.utrera import INFLUENCE

log = logging.getLogger(__name__)

SIGNS = {"rtx": 1, "paper": -1, "code": 1}
CONVENTIONS = {"rtx": Inverse("decay"), "paper": Inverse("pinv", 1e-20), "code": Inverse("pinv", 0.05)}
"""Inverse and, in `SIGNS`, sign of g' H^+ g: Utrera et al. print a minus and a cut of 1e-20, their code has neither."""
FAR = 0.01
"""Gradient of the loss, as a share of that of a head of zeros, above which a head is said not to be at its optimum."""
_NEIGHBOURS = 4
_GALLERY_CLASSES = 10
INFLUENCE_JSON, MATRIX, COMPARISON = "influence.json", "influence.npz", "comparison.json"


@dataclass(frozen=True)
class InfluenceOptions:
    """What is asked of every head.

    Attributes:
        convention: a key of `CONVENTIONS`.
        inverse: instead of the convention's.
        curvature: see `rtx.influence.head.output_curvature`.
        memory: bytes that may be taken.
        seed: of the test images in the gallery.
        solver: see `rtx.influence.head.influences`.
    """

    convention: str = "rtx"
    inverse: Inverse | None = None
    curvature: str = "hessian"
    memory: int = 8 * 2**30
    seed: int = 0
    solver: str = "dense"


@dataclass(frozen=True, eq=False)
class Shown:
    """What a comparison needs of a head."""

    name: str
    labels: NDArray[np.int64]
    matches: Matches


def analyse(subject: Subject, options: InfluenceOptions, out: Path) -> Shown:
    """Compute influences, write `influence.json`, `influence.npz` and the figures into a folder of `out`.

    Raises:
        BadValue, UnknownName: see `rtx.influence.head.influences`.
        RunConflict: the folder holds the influence of another head, or by other options.
        OutputError: the folder cannot be written.
    """
    head, folder = subject.head, out / re.sub(r"[^\w.-]+", "-", subject.name)
    inverse = options.inverse or CONVENTIONS[options.convention]
    sign = SIGNS[options.convention]
    card = json_ready(
        {
            "name": subject.name,
            **subject.card,
            "convention": options.convention,
            "sign": sign,
            "inverse": str(inverse),
            "curvature": options.curvature,
            "train_images": len(head.train),
            "test_images": len(head.test),
            "seed": options.seed,
        }
    )
    _refuse_another(folder, card)
    found = influences(head, inverse, options.curvature, memory=options.memory, solver=options.solver)
    match = matches(found.values, head.test_labels, head.train_labels)
    card |= {
        "unknowns": found.unknowns,
        "eigenvalues_kept": found.kept,
        "condition": found.condition,
        "solver": found.solver,
        "gradient_norm": head.gradient_norm(),
        "gradient_share": head.gradient_share(),
        "top1_match": asdict(match.top1),
        "three_of_five_match": asdict(match.three_of_five) if match.three_of_five else None,
        "match_by_rank": match.by_rank.tolist(),
        "chance": match.chance,
        "published": INFLUENCE,
    }
    if card["gradient_share"] > FAR:
        log.warning(
            "%s: its head is not at an optimum (the gradient of its loss is %.3g, %.0f %% of that of a head of zeros): "
            "influence is that of the quadratic around where training stopped; a source has a head at its optimum "
            "(--source NAME --target NAME)",
            *(subject.name, card["gradient_norm"], 100 * card["gradient_share"]),
        )
    arrays = io.BytesIO()
    np.savez_compressed(
        arrays, influence=(sign * found.values).astype(np.float32), train_labels=head.train_labels,
        test_labels=head.test_labels, classes=np.array(subject.classes),
    )  # fmt: skip
    write_whole(folder / MATRIX, arrays.getvalue())
    write_atomic(folder / INFLUENCE_JSON, json.dumps(json_ready(card), indent=1) + "\n")
    with settings():
        map_ = heat(found.values, head.test_labels, head.train_labels, subject.classes, subject.name, subject.unit)
        save(map_, folder / "heat", ("pdf", "png"))
        save(gallery(_rows(subject, found.values, options.seed), subject.name), folder / "gallery", ("pdf", "png"))
    return Shown(subject.name, head.test_labels, match)


def _refuse_another(folder: Path, card: Mapping[str, Any]) -> None:
    path = folder / INFLUENCE_JSON
    if not path.is_file():
        return
    there = read_json(path)
    if other := [key for key, value in card.items() if there.get(key) != value]:
        key = other[0]
        raise RunConflict(
            f"{path}: is of another head or by other options ({key} {there.get(key)!r}, now {card[key]!r}); give "
            "another --out, or remove that folder"
        )


def compare(shown: Sequence[Shown], out: Path) -> list[dict[str, Any]]:
    """Draw the label match of all heads, and write and return their rates with differences to the first one.

    Differences are paired by test image, so they are there only for heads with the same ones.
    """
    with settings():
        curves = [(one.name, one.matches.by_rank) for one in shown]
        save(label_match(curves, shown[0].matches.chance), out / "label_match")
    rows = []
    for one in shown:
        same = one is not shown[0] and np.array_equal(one.labels, shown[0].labels)
        row: dict[str, Any] = {"name": one.name}
        for key in ("top1", "three_of_five"):
            value, first = getattr(one.matches, key), getattr(shown[0].matches, key)
            row[key] = asdict(value) if value else None
            hits = one.matches.hits[key], shown[0].matches.hits[key]
            row[f"{key}_minus_first"] = asdict(paired(*hits)) if same and value and first else None
        rows.append(row)
    write_atomic(out / COMPARISON, json.dumps({"published": INFLUENCE, "heads": rows}, indent=1) + "\n")
    return rows


def _rows(subject: Subject, values: NDArray[np.float64], seed: int) -> list[tuple[Tile, list[Tile], list[Tile]]]:
    """One test image a class, drawn by seed, of the first ten classes, with its neighbours."""
    head, rng = subject.head, np.random.default_rng(seed)
    count = min(_NEIGHBOURS, len(head.train) // 2)
    rows = []
    for label in np.unique(head.test_labels)[:_GALLERY_CLASSES].tolist():
        test = int(rng.choice(np.flatnonzero(head.test_labels == label)))
        sides = (most_helpful(sign * values[test : test + 1], count)[0].tolist() for sign in (1, -1))
        helpful, harmful = ([_tile(subject, "train", n, label) for n in side] for side in sides)
        rows.append((_tile(subject, "test", test, label), helpful, harmful))
    return rows


def _tile(subject: Subject, split: str, row: int, label: int) -> Tile:
    labels = subject.head.train_labels if split == "train" else subject.head.test_labels
    return Tile(subject.pixels(split, row), subject.classes[labels[row]], int(labels[row]) == label)
