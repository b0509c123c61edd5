"""All tables and figures that a study has the rows for, written into a folder."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from rtx.errors import BadValue
from rtx.files import write_atomic
from rtx.reports.figures.style import FORMATS, save, settings
from rtx.reports.runs.naming import SourceName
from rtx.reports.studies import attacked, figures, salman, utrera, yamada
from rtx.reports.studies.order import references_of, transfers_of
from rtx.reports.studies.rows import Study
from rtx.reports.tables.table import Table, latex, markdown
from rtx.results.over_seeds import spread

SCORES = "scores.csv"
LAYOUTS = (
    "salman_table1", "best_eps", "source_accuracy", "width", "utrera_table7", "differences", "blocks", "epochs",
    "selection", "degree", "utrera_table1b", "attacked",
)  # fmt: skip
ON_TEST = "Weight decays of some probes were chosen on the test set."


def tables_of(
    study: Study, reference: str | None = None, accuracy: Callable[[SourceName], float | None] = lambda source: None
) -> list[Table]:
    """The tables that there are rows for.

    Args:
        study: the rows.
        reference: name of the source that others are compared with; the standard one of their architecture when None.
        accuracy: ImageNet top-1 of a source as published, a fraction; None where it is not known.

    Raises:
        UnknownName: no source has the reference's name.
    """
    against = references_of(study, reference)
    found: Iterable[Table | None] = (
        salman.table_1(study),
        salman.best_eps(study),
        salman.source_and_target(study, accuracy),
        salman.width(study),
        *utrera.table_7(study),
        utrera.differences(study, against),
        utrera.blocks(study),
        utrera.blocks(study, best=True),
        utrera.epochs_table(study, against),
        utrera.selection(study),
        yamada.degree(study),
        attacked.table_1b(study),
        attacked.after_transfer(study),
    )
    return [table for table in found if table is not None]


def build(study: Study, out: Path, tables: Sequence[Table], reference: str | None = None) -> list[str]:
    """Write tables (Markdown, LaTeX), figures (PDF, SVG, PNG) and the scores over seeds (CSV); names of the files.

    Raises:
        BadValue: the folder is a file.
        OutputError: a file cannot be written.
    """
    if out.is_file():
        raise BadValue(f"{str(out)!r} is a file; choose another --out")
    names = []
    for table in tables:
        for kind, write in (("md", markdown), ("tex", latex)):
            write_atomic(out / f"{table.name}.{kind}", write(table))
            names.append(f"{table.name}.{kind}")
    write_atomic(out / SCORES, scores_csv(study))
    names.append(SCORES)
    against = references_of(study, reference)
    pairs = [*figures.by_size(study, against), *figures.by_epoch(study, against)]
    with ProcessPoolExecutor(max(1, min(os.cpu_count() or 1, 4, len(pairs)))) as pool:
        list(pool.map(partial(_draw, out=out), pairs))
    names += [f"{pair.name}.{kind}" for pair in pairs for kind in FORMATS]
    with settings():
        drawn = {f"by_eps_{t.replace(':', '')}": figures.draw_eps(study, t) for t in transfers_of(study.scores)}
        for name, figure in {**drawn, "by_learning_rate": figures.draw_degree(study)}.items():
            if figure is not None:
                save(figure, out / name)
                names += [f"{name}.{kind}" for kind in FORMATS]
    return names


@settings()
def _draw(pair: figures.Pair, out: Path) -> None:
    save(figures.draw_pair(pair), out / pair.name)


def scores_csv(study: Study) -> str:
    """One line for each setting: mean, extremes, deviation and 95 % intervals over seeds, as fractions."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    setting = ("source", "transfer", "target", "images", "view", "training", "metric")
    over_seeds = (
        "seeds",
        "mean",
        "lowest",
        "highest",
        "deviation",
        "t_low",
        "t_high",
        "bootstrap_low",
        "bootstrap_high",
    )
    writer.writerow([*setting, *over_seeds])
    for s, scores in study.scores.items():
        found = spread(scores)
        words = (
            s.source.text,
            s.transfer,
            s.target,
            "all" if s.images is None else s.images,
            s.view,
            s.training,
            s.metric,
        )
        numbers = (
            found.mean,
            found.lowest,
            found.highest,
            found.deviation,
            *(found.t or ("", "")),
            *(found.bootstrap or ("", "")),
        )
        writer.writerow([*words, found.n, *numbers])
    return text.getvalue()
