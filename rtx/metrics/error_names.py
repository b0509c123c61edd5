"""What the types of a detector's errors are called; `rtx.metrics.errors` defines and finds them."""

from __future__ import annotations

TYPES = ("classification", "localisation", "both", "duplicate", "background", "missed")
SPECIAL = ("false_positive", "false_negative")
WORDS = {
    "classification": "wrong classes",
    "localisation": "wrong places",
    "both": "wrong classes in wrong places",
    "duplicate": "duplicates",
    "background": "detections of background",
    "missed": "missed objects",
}
