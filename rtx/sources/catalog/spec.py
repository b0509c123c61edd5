"""Parse the value of `--source`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rtx.errors import unknown_name
from rtx.sources.catalog.archs import ARCHS, OWN, find_arch
from rtx.sources.catalog.record import PixelStatistics, Source
from rtx.sources.catalog.rows import CATALOG, SHORT_NAMES, find

SUFFIXES = (".pth", ".pt", ".ckpt", ".tar", ".safetensors", ".pkl", ".bin", ".model")


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


def written_out(text: str) -> str:
    """A short name of the catalogue in full; all else as it is.

    Example:
        >>> written_out("r18_eps3"), written_out("mine.pth")
        ('resnet18_l2_eps3', 'mine.pth')
    """
    return SHORT_NAMES.get(text, text)


def statistics_of(parsed: SourceSpec, arch: str | None) -> PixelStatistics | None:
    """The pixel statistics that a source's record states, or else its architecture; None where neither does.

    Args:
        parsed: the source.
        arch: the architecture, for a source that does not say it.
    """
    name = parsed.arch or arch
    return parsed.source or (find_arch(name).pixels if name else None)


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
    if colon and rest and re.fullmatch(r"\w{2,}", arch) and not path.is_file():
        near = f"timm:{arch.removeprefix('timm_')}"
        raise unknown_name(
            "architecture", arch, place="rtx/sources/catalog/archs.py", choices=ARCHS,
            remedy=f"known: {', '.join(ARCHS)}; a network of timm is timm:NAME@FILE, e.g. {near}@{rest}; {OWN}",
        )  # fmt: skip
    if path.is_file() or "/" in text or "\\" in text or text.lower().endswith(SUFFIXES):
        return SourceSpec(None, path, None)
    source = find(text)  # raises with the nearest names
    return SourceSpec(source, None, source.arch)
