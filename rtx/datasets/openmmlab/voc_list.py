"""A VOC data set whose split files are read as `rtx.datasets.voc` reads them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmdet.datasets import XMLDataset
from mmengine.registry import DATASETS

from rtx.datasets.voc import read_stems


@DATASETS.register_module()
class ListedXMLDataset(XMLDataset):
    """`XMLDataset` for lists with blank lines, flags behind the names or a byte order mark.

    mmdet takes every line of a list as a name.
    """

    ann_file: str

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry for each name of the list."""
        given = self.ann_file
        with TemporaryDirectory() as folder:
            plain = Path(folder, "list.txt")
            plain.write_text("".join(f"{stem}\n" for stem in read_stems(Path(given))), encoding="utf-8")
            self.ann_file = str(plain)
            try:
                rows: list[dict[str, Any]] = super().load_data_list()
            finally:
                self.ann_file = given
        return rows
