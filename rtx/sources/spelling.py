"""One spelling for a source, however it was given, so that tables and result files take it for one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from rtx.errors import RtxError
from rtx.sources.catalog.archs import ARCHS
from rtx.sources.catalog.spec import parse_spec, written_out
from rtx.sources.catalog.timm_models import PREFIX
from rtx.sources.keys.guess import guess_arch
from rtx.sources.keys.layouts import recognise
from rtx.sources.load import locate
from rtx.sources.reading.read import read_checkpoint


def full_spec(spec: str) -> str:
    """A source as `ARCH:FILE`, where a file alone was given whose card or keys tell its architecture; else as it is.

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
    if (stated := with_stated_arch(spec)) != spec:
        return stated
    arch = guess_arch(recognise(read_checkpoint(locate(spec)), spec).state)
    return f"{arch}:{spec}" if arch in ARCHS else spec


def with_stated_arch(spec: str) -> str:
    """A source as `ARCH:FILE` or `timm:NAME@FILE`, where a file of `rtx train_source` alone was given; else as it is.

    What is wrong with a file is said by those who load it.
    """
    with suppress(RtxError):
        parsed = parse_spec(spec)
        if parsed.path is None or parsed.arch is not None:
            return spec
        content = read_checkpoint(locate(spec))
        meta = content.get("meta") if isinstance(content, Mapping) else None
        card = meta.get("rtx_source") if isinstance(meta, Mapping) else None
        arch = card.get("arch") if isinstance(card, Mapping) else None
        if isinstance(arch, str) and (arch in ARCHS or arch.startswith(PREFIX)):
            return f"{arch}{'@' if arch.startswith(PREFIX) else ':'}{spec}"
    return spec
