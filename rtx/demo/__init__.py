"""The demo: rendered scenes, a source trained on them, two transfers, their evaluation and a report."""
