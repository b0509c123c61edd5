"""How metrics, corruptions and numbers are written for people."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from rtx.results.intervals import Ends

_METRICS = {
    "bbox_mAP": "box AP",
    "segm_mAP": "mask AP",
    "mIoU": "mIoU",
    "accuracy_top1": "top-1 accuracy",
    "accuracy_top5": "top-5 accuracy",
    "mean_class_accuracy": "mean class accuracy",
    "aAcc": "pixel accuracy",
    "mAcc": "class accuracy",
    "AP50": "AP50",
    "AP50_07": "AP50 (VOC, 11 points)",
    "AP50_area": "AP50 (VOC, area)",
    "AP_d2": "AP (VOC, detectron2)",
    "AP_coco": "AP (COCO rules)",
}
_CORRUPTIONS = {
    "gaussian_noise": "Gaussian noise",
    "jpeg_compression": "JPEG",
    "elastic_transform": "elastic",
    "gaussian_blur": "Gaussian blur",
}
_SHORT = {
    "gaussian_noise": "Gauss",
    "shot_noise": "shot",
    "impulse_noise": "impulse",
    "defocus_blur": "defocus",
    "glass_blur": "glass",
    "motion_blur": "motion",
    "zoom_blur": "zoom",
    "brightness": "bright",
    "elastic_transform": "elastic",
    "pixelate": "pixel",
    "jpeg_compression": "JPEG",
}
_DATASETS = {
    "coco_val2017": "COCO val2017",
    "voc2007_test": "VOC 2007 test",
    "cityscapes_val": "Cityscapes val",
    "ade20k_val": "ADE20K val",
}
DASH = "–"  # noqa: RUF001 - an en dash is what tables print for nothing
MINUS = "−"  # noqa: RUF001


def metric_name(name: str) -> str:
    """A metric in words.

    Example:
        >>> metric_name("bbox_mAP"), metric_name("segm_mAP_50"), metric_name("bbox_mAP/person")
        ('box AP', 'mask AP50', 'box AP of person')
    """
    head, slash, part = name.partition("/")
    if slash:
        return f"{metric_name(head)} of {part}"
    if head in _METRICS:
        return _METRICS[head]
    for kind, word in (("bbox_mAP_", "box AP"), ("segm_mAP_", "mask AP")):
        if head.startswith(kind):
            return word + head[len(kind) :]
    return head


def corruption_name(name: str, *, short: bool = False) -> str:
    """A corruption in words."""
    plain = name.replace("_", " ")
    return _SHORT.get(name, plain) if short else _CORRUPTIONS.get(name, plain)


def dataset_name(name: str) -> str:
    """A test set in words."""
    return _DATASETS.get(name, name)


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction in percent, a dash where there is none.

    Example:
        >>> percent(0.18204), percent(None)
        ('18.2', '–')
    """
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{100 * value:.{digits}f}"
    return text.replace("-", MINUS) if float(text) else f"{0:.{digits}f}"


def signed(value: float | None, digits: int = 1) -> str:
    """A difference of fractions in points, with its sign.

    Example:
        >>> signed(0.021), signed(-0.0004)
        ('+2.1', '0.0')
    """
    text = percent(value, digits)
    return f"+{text}" if value is not None and math.isfinite(value) and value > 0 and float(text) else text


def interval_text(interval: Ends | None, digits: int = 1, *, sign: bool = False) -> str:
    """An interval in percent, or the plain statement that there is none.

    Example:
        >>> interval_text((0.1, 0.234)), interval_text(None)
        ('[10.0, 23.4]', '(no interval)')
    """
    if interval is None:
        return "(no interval)"
    write = signed if sign else percent
    return f"[{write(interval[0], digits)}, {write(interval[1], digits)}]"


def unbroken(text: str) -> str:
    r"""A sentence in which no line ends between a number and its unit.

    Example:
        >>> unbroken("49.5 % of it")
        '49.5\xa0% of it'
    """
    return re.sub(r"(?<=\d) (?=%|mPC\b|images\b|points\b)", "\u00a0", text)


def in_two_lines(name: str, most: int) -> str:
    r"""A name broken after a space, a dash or the like near its middle, if it is longer than a line.

    Example:
        >>> in_two_lines("fasterrcnn…l2_eps0.5_fixed", 17)
        'fasterrcnn…l2_\neps0.5_fixed'
    """
    ends = [found.end() for found in re.finditer(r"[ _…-]+", name)]
    if len(name) <= most or not ends:
        return name
    place = min(ends, key=lambda end: abs(2 * end - len(name)))
    return f"{name[:place].rstrip(' ')}\n{name[place:]}"


def shorten(text: str, most: int = 32) -> str:
    """A name that fits a figure, its middle left out: both ends tell names apart. Words stay whole where they can.

    Example:
        >>> shorten("Faster R-CNN R50 stylised only", 24)
        'Faster … stylised only'
        >>> shorten("faster_rcnn_dconv_c3-c5_x101_32x4d", 16)
        'faster…32x4d'
        >>> shorten("nothing-but-one-long-word", 13)
        'nothin…g-word'
    """
    if len(text) <= most:
        return text
    spaces = list(re.finditer(r"[ _…]+", text))
    cuts = [(text[: one.start()], text[two.end() :]) for n, one in enumerate(spaces) for two in spaces[n:]]
    gap = " … " if " " in text else "…"
    fitting = [(head, tail) for head, tail in cuts if head and tail and len(head) + len(tail) + len(gap) <= most]
    if fitting:
        return gap.join(max(fitting, key=lambda cut: (min(map(len, cut)), sum(map(len, cut)))))
    half = (most - 1) // 2
    return f"{text[: most - 1 - half]}…{text[-half:]}"


def shortened(names: Sequence[str], most: int = 26) -> list[str]:
    """Names that fit a figure and stay apart where they were; of file names, what all of them say goes first.

    Example:
        >>> shortened(["mask_r18_fruits_eps0.5_full", "mask_r18_fruits_eps3_full"], 16)
        ['mask…eps0.5…', 'mask…eps3…']
        >>> shortened(["a long name with R50 in the midst", "a long name with R101 in the midst"], 16)
        ['…ith R50 in the…', '…ith R101 in th…']
    """
    if max(map(len, names), default=0) <= most:
        return list(names)
    files = not any(" " in name for name in names)
    short = {n: shorten(t, most) for n, t in zip(names, _without_shared(names) if files else names, strict=True)}
    for text in sorted({t for t in short.values() if list(short.values()).count(t) > 1}):
        alike = [name for name in short if short[name] == text]
        first = _shared(alike)
        last = _shared([name[first:][::-1] for name in alike])
        for name in alike:
            start, stop = first, len(name) - last
            while stop - start < most - 2:  # what tells them apart, and as much around it as fits, more of it before
                before = start > 0 and (stop - first >= 2 * (first - start) or stop == len(name))
                start, stop = (start - 1, stop) if before else (start, stop + 1)
            short[name] = f"…{name[start:stop]}…"
    if len(set(short.values())) < len(short):  # apart in more than fits
        short = {name: f"{shorten(name, most - 4)} #{number}" for number, name in enumerate(short, 1)}
    return [short[name] for name in names]


def _without_shared(names: Sequence[str]) -> list[str]:
    """Names without the words that are in all of them, but for the first one."""
    words = [re.findall(r"[^ _]+", name) for name in names]
    common = set.intersection(*map(set, words)) if len(set(names)) > 1 else set()
    if not common:
        return list(names)
    pattern = r"(?<=[ _])(?:" + "|".join(map(re.escape, sorted(common))) + r")(?:[ _]+|$)"
    return [re.sub(r"[ _]*…+[ _]*", "…", re.sub(pattern, "…", name)) for name in names]


def _shared(names: Sequence[str]) -> int:
    """How many first letters all have in common."""
    return next(
        (n for n, letters in enumerate(zip(*names, strict=False)) if len(set(letters)) > 1), min(map(len, names))
    )
