"""Pretrained source models: the catalogue, a reader that runs no code from a file, layouts, strict loading.

Nothing here imports an OpenMMLab library, and the catalogue imports no torch, so listing it is instant.
"""
