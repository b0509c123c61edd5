"""Reading `configs/experiments/*.py`: one file an experiment, plain Python that defines `experiment` and `runs`."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from rtx.errors import BadValue, RtxError, unknown_name
from rtx.experiments.grid import Grid, GridRun
from rtx.experiments.record import Experiment, PlannedRun

CONFIGS = Path("configs")
_TUPLES = ("seeds", "doubts", "published")


def configs_folder() -> Path:
    """The folder of the leaves: `configs` where one works, else that of the source tree which rtx runs from.

    Raises:
        BadValue: neither holds experiments.
    """
    beside = Path(__file__).resolve().parents[2] / CONFIGS
    for place in (CONFIGS, beside):
        if (place / "experiments").is_dir():
            return place
    raise BadValue(
        f"no folder {str(CONFIGS / 'experiments')!r} here ({Path.cwd()}) nor in {beside.parent}; run in the root of "
        "the rtx source tree"
    )


def folder() -> Path:
    """Where the experiments lie."""
    return configs_folder() / "experiments"


def read_all() -> tuple[Experiment, ...]:
    """Every experiment of a paper in the folder, by name."""
    found = (read_file(path) for path in sorted(folder().glob("*.py")))
    return tuple(one for one in found if isinstance(one, Experiment))


def read(name: str) -> Experiment:
    """One experiment of a paper, by its name or by the path of a file of one's own.

    Raises:
        UnknownName: there is none of that name.
        BadValue: the file has another form.
    """
    found = read_any(name)
    if isinstance(found, Grid):
        raise BadValue(f"experiment {name!r} is a grid of small trainings; see `rtx experiments run NAME --plan`")
    return found


def read_any(name: str) -> Experiment | Grid:
    """An experiment of a paper or a grid.

    Raises:
        UnknownName, BadValue: see `read`.
    """
    if name.endswith(".py"):
        return read_file(Path(name))
    place = folder()
    path = place / f"{name}.py"
    if not path.is_file():
        raise unknown_name("experiment", name, place=str(place), choices=sorted(p.stem for p in place.glob("*.py")))
    return read_file(path)


def read_file(path: Path) -> Experiment | Grid:
    """Run one file and take `experiment` and `runs` from it; with a `kind` in `experiment` it is a grid.

    Args:
        path: trusted as any config is: it is code of its writer, which is executed.

    Raises:
        BadValue: no such file, an error in it, or entries that are no runs.
    """
    if not path.is_file():
        raise BadValue(f"experiment file {str(path)!r} does not exist")
    try:
        found = runpy.run_path(str(path))
    except Exception as error:  # code of its writer: anything can come out of it
        raise BadValue(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
    about, rows = found.get("experiment"), found.get("runs")
    if not isinstance(about, Mapping) or not isinstance(rows, list):
        raise BadValue(f"{path}: must define `experiment`, a dict, and `runs`, a list of dicts")
    try:
        run_kind, whole = (GridRun, Grid) if "kind" in about else (PlannedRun, Experiment)
        runs = tuple(_make(run_kind, row, "runs") for row in rows)
        experiment: Experiment | Grid = _make(whole, {**about, "name": path.stem, "runs": runs}, "experiment")
    except RtxError as error:
        raise type(error)(f"{path}: {error}") from error
    return experiment


def _make(kind: type[Any], values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise BadValue(f"{where}: {values!r} is no dict")
    known = {f.name: f for f in fields(kind)}
    wrong = sorted(set(values) - set(known))
    if wrong:
        raise unknown_name("key", wrong[0], place=f"what `{where}` may have", choices=known)
    needed = {name for name, f in known.items() if f.default is MISSING and f.default_factory is MISSING}
    absent = sorted(needed - set(values))
    if absent:
        raise BadValue(f"{where}: {dict(values)!r} lacks {', '.join(absent)}")
    return kind(**{key: tuple(value) if key in _TUPLES else value for key, value in values.items()})
