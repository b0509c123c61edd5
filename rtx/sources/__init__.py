"""Pretrained source weights: the list of them, a reader that runs no code from a file, layouts, strict loading.

Nothing here imports an OpenMMLab library, and the list imports no torch, so that showing it is instant.
"""

from __future__ import annotations

from rtx.sources.catalog.record import Source
from rtx.sources.catalog.rows import add_source

__all__ = ["Source", "add_source"]
