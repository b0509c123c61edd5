"""Readers of data layouts on disk: COCO, VOC, ADE20K, class folders; exports of corrupted copies."""
