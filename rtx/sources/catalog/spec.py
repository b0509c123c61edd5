"""Parse the value of `--source`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rtx.sources.catalog.archs import ARCHS, Arch, find_arch
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
        random: whether no weights are meant.
    """

    source: Source | None
    path: Path | None
    arch: str | None
    random: bool = False


def statistics_of(parsed: SourceSpec, arch: str | None) -> Source | Arch:
    """What holds the pixel statistics of a source: its record, or its architecture's row.

    Args:
        parsed: the source.
        arch: the architecture, for a source that does not say it.
    """
    return parsed.source or find_arch(parsed.arch or arch or "resnet50")


def parse_spec(text: str) -> SourceSpec:
    """Read NAME, FILE, ARCH:FILE, timm:NAME, timm:NAME@FILE, "random", ARCH:random or timm:NAME@random.

    A name of the catalogue wins over a file of the same name; write ./NAME for the file.

    Raises:
        UnknownName: none of these; the nearest names are shown.
        MissingDependency: timm is asked for and not installed.

    Example:
        >>> parse_spec("resnet18:runs/mine.pth").arch
        'resnet18'
    """
    if text == "random":
        return SourceSpec(None, None, None, random=True)
    if text.startswith("timm:"):
        from rtx.sources.catalog.timm_models import timm_source

        name, at, rest = text.removeprefix("timm:").partition("@")
        source, random = timm_source(name), rest == "random"
        return SourceSpec(source, Path(rest).expanduser() if at and not random else None, source.arch, random)
    if text in CATALOG or text in SHORT_NAMES:
        source = find(text)
        return SourceSpec(source, None, source.arch)
    arch, colon, rest = text.partition(":")
    if rest == "random" and arch in ARCHS:
        return SourceSpec(None, None, arch, random=True)
    if colon and rest and arch in ARCHS:
        return SourceSpec(None, Path(rest).expanduser(), arch)
    path = Path(text).expanduser()
    if path.is_file() or "/" in text or "\\" in text or text.lower().endswith(_SUFFIXES):
        return SourceSpec(None, path, None)
    source = find(text)  # raises with the nearest names
    return SourceSpec(source, None, source.arch)
