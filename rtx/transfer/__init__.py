"""How much of a source trains on the target, and the proof that the rest did not."""

from __future__ import annotations

from rtx.transfer.guard import FrozenGuardHook

__all__ = ["FrozenGuardHook"]
