"""Augmentations that are part of a training recipe."""
