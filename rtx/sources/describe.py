"""Describe a weights file, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rtx.errors import WeightsError, printable, some
from rtx.files import file_sha256
from rtx.sources.catalog.archs import ARCHS, reference_shapes
from rtx.sources.catalog.rows import CATALOG
from rtx.sources.catalog.timm_models import PREFIX, from_published
from rtx.sources.keys.guess import guess_arch
from rtx.sources.keys.layouts import recognise
from rtx.sources.load import fit
from rtx.sources.reading.read import read_content


def describe(path: Path) -> dict[str, Any]:
    """Everything rtx can tell about a file without running code of it.

    Returns:
        JSON-ready facts; `problems` is empty when the file can be used as a source as it is.

    Raises:
        WeightsError: the file is no checkpoint, or holds no state dict.
    """
    content = read_content(path)
    found = recognise(content.value, str(path))
    sources = [source for source in CATALOG.values() if source.filename == path.name]
    card = _card(content.value)
    arch = guess_arch(found.state) or (sources[0].arch if sources else None) or card.get("arch")
    facts: dict[str, Any] = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "sha256": file_sha256(path),
        "container": content.kind.text,
        "foreign": list(content.foreign),
        "entries": [str(key) for key in content.value] if found.container else [],
        "weights_under": found.container or "(top level)",
        "layout": found.layout.name,
        "layout_text": found.layout.text,
        "prefix": found.layout.prefix,
        "copies": list(found.copies),
        "normaliser": None if found.normaliser is None else {"mean": found.normaliser[0], "std": found.normaliser[1]},
        "tensors": len(found.state),
        "parameters": sum(v.numel() for k, v in found.state.items() if not k.endswith(("_mean", "_var", "_tracked"))),
        "architecture": arch,
        "sources": [source.name for source in sources],
        "card": card,
        "dropped": list(found.dropped),
        "filled": [],
        "problems": [],
    }
    if arch is None or not (arch in ARCHS or arch.startswith("timm:")):
        facts["problems"].append(f"{arch or 'no architecture rtx knows'}: rtx has no backbone for it")
        return facts
    try:
        if arch.startswith(PREFIX):
            found = replace(found, state=from_published(found.state, arch.removeprefix(PREFIX), str(path)))
        _, dropped, filled = fit(found, arch, reference_shapes(arch), (), str(path))
        facts["dropped"] = [*dropped, *found.dropped]
        facts["filled"] = list(filled)
    except WeightsError as error:
        facts["problems"].append(str(error))
    return facts


def as_text(facts: dict[str, Any]) -> str:
    """The facts as aligned lines."""
    norm = facts["normaliser"]
    rows = [
        ("file", f"{facts['file']} ({facts['bytes']:,} bytes)"),
        ("sha256", facts["sha256"]),
        ("container", facts["container"]),
        ("left unread", some(facts["foreign"], 8) or "nothing"),
        ("weights under", f"{facts['weights_under']} (entries: {some(facts['entries'], 8) or '-'})"),
        ("layout", f"{facts['layout']}: {facts['layout_text']}"),
        ("prefix", facts["prefix"] or "none"),
        ("copies", f"{', '.join(facts['copies'])} (identical)" if facts["copies"] else "none"),
        ("normaliser", "none stored" if norm is None else f"mean {_row(norm['mean'])}, std {_row(norm['std'])}"),
        ("architecture", facts["architecture"] or "unknown"),
        ("weights", f"{facts['tensors']} tensors, {facts['parameters']:,} parameters"),
        ("dropped", some(facts["dropped"], 8) or "nothing"),
        ("filled in", some(facts["filled"], 8) or "nothing"),
        ("source", ", ".join(facts["sources"]) or "no catalogued file has this name"),
        *((name, text) for name, text in facts["card"].items() if name not in ("arch", "use")),
        ("usable", "yes" if not facts["problems"] else "no: " + "; ".join(facts["problems"])),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {printable(text)}" for name, text in rows)


def _card(value: Any) -> dict[str, str]:
    """What `rtx train_source` has written about its training; empty where nothing."""
    meta = value.get("meta") if isinstance(value, Mapping) else None
    card = meta.get("rtx_source") if isinstance(meta, Mapping) else None
    if not isinstance(card, Mapping):
        return {}
    return {str(name)[:40]: str(text)[:400] for name, text in list(card.items())[:20]}


def _row(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4g}" for value in values)
