"""Parse the value of `--source`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rtx.sources.catalog.archs import ARCHS
from rtx.sources.catalog.record import Source
from rtx.sources.catalog.rows import CATALOG, SHORT_NAMES, find

_SUFFIXES = (".pth", ".pt", ".ckpt", ".tar", ".safetensors", ".pkl", ".bin", ".model")


@dataclass(frozen=True)
class SourceSpec:
    """A parsed `--source`.

    Attributes:
        source: the catalogue's record, for a name.
        path: the file, for a file.
        arch: the architecture, as far as the text says it: always for a name, for others only as `ARCH:FILE` and
            `ARCH:random`.
    """

    source: Source | None
    path: Path | None
    arch: str | None

    @property
    def random(self) -> bool:
        """Whether no weights are meant."""
        return self.source is None and self.path is None


def parse_spec(text: str) -> SourceSpec:
    """Read NAME, FILE, ARCH:FILE, "random" or ARCH:random.

    A name of the catalogue wins over a file of the same name; write ./NAME for the file.

    Raises:
        UnknownName: none of these; the nearest names are shown.

    Example:
        >>> parse_spec("resnet18:runs/mine.pth").arch
        'resnet18'
    """
    if text == "random":
        return SourceSpec(None, None, None)
    if text in CATALOG or text in SHORT_NAMES:
        source = find(text)
        return SourceSpec(source, None, source.arch)
    arch, colon, rest = text.partition(":")
    if rest == "random" and arch in ARCHS:
        return SourceSpec(None, None, arch)
    if colon and rest and arch in ARCHS:
        return SourceSpec(None, Path(rest).expanduser(), arch)
    path = Path(text).expanduser()
    if path.is_file() or "/" in text or "\\" in text or text.lower().endswith(_SUFFIXES):
        return SourceSpec(None, path, None)
    source = find(text)  # raises with the nearest names
    return SourceSpec(source, None, source.arch)
