"""Scores from arrays, pure NumPy: COCO and VOC AP, mIoU, accuracy, P, mPC, rPC and mCE."""
