"""Where units of work run: one after the other in this process, or in the workers of a Ray cluster."""

from __future__ import annotations

from rtx.engines.engine import ENGINES, Engine
from rtx.engines.pool import Begun, OnUnit, Outcome, Pool, Retried, Setup, Take, opened

__all__ = ["ENGINES", "Begun", "Engine", "OnUnit", "Outcome", "Pool", "Retried", "Setup", "Take", "opened"]
