"""The manifest of an exported corrupted set: a line for the settings, then one for each finished file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rtx.corruptions.smoothing import elastic_slides
from rtx.datasets.image_files import image_sizes
from rtx.errors import DataError, RunConflict
from rtx.files import write_whole
from rtx.types import Condition

MANIFEST = "manifest.jsonl"
Finished = dict[str, tuple[int, str]]
"""File -> its bytes, and the sha256 of the image that it was made from."""


def read_manifest(
    out: Path, settings: Mapping[str, Any], *, by_waves: Callable[[Path], bool] | None = None
) -> Finished:
    """The finished files; writes the first line of a new manifest.

    Args:
        out: the folder of the export.
        settings: JSON values, everything that the pixels depend on.
        by_waves: given where images are so large that elastic transform smooths them by sliding waves; whether the
            image of a file is.

    Raises:
        RunConflict: it was made with other settings, or holds elastic transform of large images by an rtx that smoothed
            them another way; or it is damaged.
    """
    from rtx import __version__

    path = out / MANIFEST
    head = {"rtx": __version__, **settings}
    # As on protocol cards: absent where no image is that large. It is compared apart, as images may come and go.
    smoothing = {} if by_waves is None else {"elastic_smoothing": "sliding_waves"}
    first_line = json.dumps({"settings": head | smoothing})
    if not path.exists():
        write_whole(path, (first_line + "\n").encode(), sync=False)
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    finished: Finished = {}
    whole, stated = [], {}
    for number, line in enumerate(lines):
        try:
            record = json.loads(line)
        except ValueError:
            # The process ended while it wrote the last line; its file is written again.
            if number + 1 < len(lines):
                raise RunConflict(f"{path}: line {number + 1} is damaged; export into a new folder") from None
            continue
        whole.append(line)
        if number == 0:
            stated = record.get("settings", {})
            # A moved data folder may continue; other pixels or other files may not.
            if {k: v for k, v in stated.items() if k != "elastic_smoothing"} != head:
                differing = [k for k in head if stated.get(k) != head[k]]
                there, now = stated.get(differing[0]), head[differing[0]]
                raise RunConflict(
                    f"{out}: holds an export with other settings ({', '.join(differing)}: {there!r} there, "
                    f"{now!r} now); use a new folder"
                )
        else:
            finished[record["file"]] = record["bytes"], record["source_sha256"]
    if whole and by_waves is not None and stated.get("elastic_smoothing") != smoothing["elastic_smoothing"]:
        _check_no_other_smoothing(out, finished, by_waves)
        whole[0] = first_line
    if whole != lines or (lines and not path.read_bytes().endswith(b"\n")):
        write_whole(path, ("\n".join(whole) + "\n").encode(), sync=False)
    return finished


def _check_no_other_smoothing(out: Path, finished: Finished, by_waves: Callable[[Path], bool]) -> None:
    """Where no smoothing is stated, large images were smoothed as small ones are: by sums of all weights."""
    for file in finished:
        if file.startswith("elastic_transform_") and (out / file).is_file() and by_waves(out / file):
            raise RunConflict(
                f"{out / file}: written by an rtx that smoothed elastic transform on images of this size another way, "
                "and a few values in a million differ; delete the folders elastic_transform_1 to 5 in there, which are "
                "written again then, or use a new folder"
            )


def is_smoothed_by_waves(engine: str, image: Path) -> bool:
    """Whether elastic transform smooths the image of a file by sliding waves, see `rtx.corruptions.smoothing`."""
    try:
        height, width = image_sizes(image)[0]
    except DataError:
        return False  # said when the image is read to be corrupted
    return elastic_slides(engine, [(width, height)])


def source_of_finished(out: Path, image: Path, condition: Condition, finished: Finished) -> str | None:
    """Hash of the image that a whole file was made from; None where there is no whole file."""
    name = f"{condition.key}/{image.as_posix()}"
    size, source = finished.get(name, (-1, ""))
    return source if (out / name).is_file() and (out / name).stat().st_size == size else None
