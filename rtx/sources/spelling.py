"""One spelling for a source, however it was given, so that tables and result files take it for one."""

from __future__ import annotations

from rtx.sources.catalog.archs import ARCHS
from rtx.sources.catalog.spec import parse_spec, written_out
from rtx.sources.keys.guess import guess_arch
from rtx.sources.keys.layouts import recognise
from rtx.sources.load import locate
from rtx.sources.reading.read import read_checkpoint


def full_spec(spec: str) -> str:
    """A source as `ARCH:FILE`, where a file alone was given whose architecture its keys tell; else as it is.

    A short name of the catalogue is written out. A file of an architecture that nobody can tell stays alone: it has to
    fit the architecture of a config.

    Args:
        spec: as `--source` takes it.

    Raises:
        UnknownName: no such source.
        WeightsError: the file is missing or cannot be read.

    Example:
        >>> full_spec("r50_eps3"), full_spec("resnet18:random")
        ('resnet50_l2_eps3', 'resnet18:random')
    """
    parsed = parse_spec(spec)
    if parsed.path is None or parsed.arch is not None:
        return written_out(spec)
    arch = guess_arch(recognise(read_checkpoint(locate(spec)), spec).state)
    return f"{arch}:{spec}" if arch in ARCHS else spec
