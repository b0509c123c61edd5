"""Sentences of a report: numbers, verdicts, banners, remedies."""
