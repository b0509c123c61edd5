"""Scores for predictions that lie on disk."""
