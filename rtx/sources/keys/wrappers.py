"""Words that training code puts in front of a network's keys, taken off before a layout is recognised."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from rtx.errors import WeightsMismatch
from rtx.sources.keys.guess import guess_arch

_COMPILED, PARALLEL = "_orig_mod", "module."


def unwrapped(keys: Iterable[str], where: str) -> dict[str, str]:
    """Key -> the same without what torch.compile and a second DataParallel put into it.

    Args:
        keys: of a state dict.
        where: file name for error messages.

    Raises:
        WeightsMismatch: two keys become one.

    Example:
        >>> unwrapped(["module._orig_mod.conv1.weight", "module.layer1._orig_mod.0.bias"], "a.pth").values()
        dict_values(['module.conv1.weight', 'module.layer1.0.bias'])
    """
    found = {key: ".".join(part for part in key.split(".") if part != _COMPILED) for key in keys}
    while found and all(key.startswith(2 * PARALLEL) for key in found.values()):
        found = {key: name.removeprefix(PARALLEL) for key, name in found.items()}
    if len(set(found.values())) < len(found):
        seen: dict[str, str] = {}
        one, two = next((seen[name], key) for key, name in found.items() if seen.setdefault(name, key) != key)
        raise WeightsMismatch(
            f"{where}: holds {one!r} and {two!r}, of which torch.compile makes one; leave one of them"
        )
    return found


def wrapper_of(keys: Iterable[str]) -> str:
    """What `unwrapped` takes from the front of the first key."""
    first = next(iter(keys), "")
    parts = first.split(".")
    n = next((n for n, part in enumerate(parts) if f"{part}." not in (f"{_COMPILED}.", PARALLEL)), len(parts))
    front = ".".join(parts[:n]) + "." if n else ""
    return front if _COMPILED in parts[:n] or front.count(PARALLEL) > 1 else ""


def network_in(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The network that is an attribute of another module (`net`, `encoder`), and the prefix that this took off."""
    inner, prefix = state, ""
    for _ in range(3):
        if guess_arch(inner) is not None:
            return inner, prefix
        name = next(iter(inner), "").partition(".")[0]
        if not all(key.startswith(f"{name}.") for key in inner):
            break
        inner, prefix = {key.removeprefix(f"{name}."): value for key, value in inner.items()}, f"{prefix}{name}."
    return state, ""
