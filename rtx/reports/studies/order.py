"""Names and order of sources, targets and sizes in the tables of a study."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rtx.datasets.classification import TARGETS
from rtx.errors import unknown_name
from rtx.reports.runs.naming import SourceName
from rtx.reports.studies.rows import OWN_HEAD, Setting, Study

_TARGETS = {
    "aircraft": "Aircraft",
    "birdsnap": "Birdsnap",
    "caltech101": "Caltech-101",
    "caltech256": "Caltech-256",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "cars": "Cars",
    "dtd": "DTD",
    "flowers": "Flowers",
    "food": "Food",
    "pets": "Pets",
    "sun397": "SUN397",
    "svhn": "SVHN",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "imagenet": "ImageNet",
    "stylized_imagenet": "Stylized-ImageNet",
}


def target_name(target: str) -> str:
    """How a target is written."""
    return _TARGETS.get(target, target)


def targets_of(settings: Iterable[Setting]) -> list[str]:
    """The targets, in the order of the catalogue."""
    there = {setting.target for setting in settings}
    return [name for name in TARGETS if name in there]


def is_standard(source: SourceName) -> bool:
    """Whether a source was trained without an adversary."""
    return source.eps == 0


def is_random(source: SourceName) -> bool:
    """Whether nothing was trained."""
    return source.text.rpartition(":")[2] == "random"


def source_rank(source: SourceName) -> tuple[object, ...]:
    """Standard sources first, then robust ones by norm and eps, then others, and random weights last."""
    kind = 3 if is_random(source) else 0 if is_standard(source) else 1 if source.norm else 2
    return kind, source.arch, source.norm or "", source.eps or 0.0, source.text


def sources_of(settings: Iterable[Setting]) -> list[SourceName]:
    """The sources in that order."""
    return sorted({setting.source for setting in settings}, key=source_rank)


def sizes_of(settings: Iterable[Setting]) -> list[int | None]:
    """Sizes of training sets, all images last."""
    return sorted({setting.images for setting in settings}, key=lambda n: (n is None, n or 0))


def size_name(images: int | None) -> str:
    """How a size is written.

    Example:
        >>> size_name(12800), size_name(None)
        ('12,800', 'all')
    """
    return "all" if images is None else f"{images:,}"


def transfer_rank(transfer: str) -> tuple[int, int]:
    """What was not trained first, then fixed features, more and more blocks, and the whole network."""
    kind, _, blocks = transfer.partition(":")
    if kind == OWN_HEAD:
        return -1, 0
    return (1, int(blocks)) if blocks else (0 if kind == "fixed" else 2, 0)


def transfers_of(settings: Iterable[Setting]) -> list[str]:
    """Transfer modes in that order."""
    return sorted({setting.transfer for setting in settings}, key=transfer_rank)


def references_of(study: Study, name: str | None) -> Callable[[SourceName], SourceName | None]:
    """What a source is compared with: the source of that name; else the standard one of its architecture, or the first.

    Raises:
        UnknownName: no source has the name.
    """
    sources = sources_of(study.scores)
    by_text = {source.text: source for source in sources}
    if name is not None and name not in by_text:
        raise unknown_name("source", name, place="the tables that were given", choices=by_text)
    standard = [source for source in sources if is_standard(source)]

    def reference(source: SourceName) -> SourceName | None:
        if name is not None:
            return by_text[name]
        alike = [one for one in standard if one.arch == source.arch]
        return next(iter(alike or standard), None)

    return reference
