"""Whether the images and label maps that an evaluation reads are still those that its protocol card names."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rtx.errors import DataError, some
from rtx.evaluation.identity import images_sha256
from rtx.evaluation.sweep.batches import path_in

log = logging.getLogger(__name__)

Stamp = tuple[int, int, int, int]
"""Size, times of the last change of content and of anything (which no copying sets back), and number of a file."""


class Inputs:
    """Files as they were before they were hashed.

    Args:
        dataset: the built test set.
        indices: the images that are evaluated.
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        infos = (dataset.get_data_info(index) for index in indices)
        self._stamps = {path: stamp for path in _paths(infos) if (stamp := _stamp(path)) is not None}

    def changed(self) -> list[str]:
        """The files that are not what they were."""
        return [path for path, stamp in self._stamps.items() if _stamp(path) != stamp]

    def check(self, dataset: Any, indices: Sequence[int], scorer: Any, card: Mapping[str, Any], cell: str) -> None:
        """See that what was read is what was hashed: before a cell is written, which took its images from these files.

        Where a file looks changed all are hashed again, since a copy of the same content is no other data.

        Args:
            dataset: see above, as `indices`.
            indices: the images that are evaluated.
            scorer: of the metric; it says what the ground truth is.
            card: the protocol card.
            cell: key of the condition.

        Raises:
            DataError: it is not.
        """
        changed = self.changed()
        if not changed:
            return
        gone = [path for path in changed if not os.path.isfile(path)]
        infos = (dataset.get_data_info(index) for index in indices)
        now = (
            {} if gone else {"images_sha256": images_sha256(dataset, indices), "data_sha256": scorer.data_sha256(infos)}
        )
        if now and all(card.get(name) == value for name, value in now.items()):
            log.info("%d files were touched, their content is the same", len(changed))
            self._stamps |= {path: stamp for path in changed if (stamp := _stamp(path)) is not None}
            return
        raise DataError(
            f"{len(changed)} of {len(self._stamps)} images and label maps were {'removed' if gone else 'replaced'} "
            f"while {cell} was evaluated ({some(gone or changed)}), so it is not written; every cell that is there is "
            f"of the files as they were at the start (images {str(card.get('images_sha256'))[:12]}). Put those back "
            "and run the same command again, or evaluate the new ones into another --out"
        )


def _paths(infos: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for number, info in enumerate(infos):
        yield path_in(info, number)
        if info.get("seg_map_path"):
            yield str(info["seg_map_path"])


def _stamp(path: str | Path) -> Stamp | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino
