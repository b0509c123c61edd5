"""Which class of a model is which class of the data, where the two were named by different people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from rtx.errors import BadValue, some, unknown_name

_SHOWN = 12
NO_CLASS = ("__background__", "N/A")
"""What torchvision and transformers call places in their lists of COCO's 91 numbers that no object has."""


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """The names in their order, each only once: a second "N/A" becomes "N/A (2)".

    Example:
        >>> distinct(["N/A", "dog", "N/A"])
        ('N/A', 'dog', 'N/A (2)')
    """
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = count = seen.get(name, 0) + 1
        found.append(name if count == 1 else f"{name} ({count})")
    return tuple(found)


def spelled(name: str) -> str:
    """A name without case, blanks and punctuation.

    Example:
        >>> spelled("Dining table") == spelled("diningtable") == spelled("dining_table")
        True
    """
    return "".join(letter for letter in name.casefold() if letter.isalnum()) or name


def match_names(model: Sequence[str], data: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Model's class -> the data's class: as given, else of the same name, else spelled alike.

    Raises:
        UnknownName: `given` holds a class that model or data do not have.
        BadValue: no class of the model is one of the data's, or two are spelled like one.
    """
    for place, names, asked in (("model", model, given), ("data", data, given.values())):
        for name in asked:
            if name not in names:
                raise unknown_name("class", name, place=f"the {place}'s classes (class map)", choices=names)
    own = set(data)
    matched = {name: given.get(name, name) for name in model if name in given or name in own - set(given.values())}
    rest: dict[str, str] = {spelled(name): name for name in data if name not in matched.values()}
    for name in model:
        if name not in matched and (found := rest.get(spelled(name))) is not None:
            if other := next((first for first, second in matched.items() if second == found), None):
                raise BadValue(
                    f"classes {other!r} and {name!r} of the model are both spelled like {found!r} of the data; say "
                    f"which is meant: --class-map {name!r}={found!r}"
                )
            matched[name] = found
    if not matched:
        raise BadValue(
            f"no class of the model ({some(_objects(model), _SHOWN)}) is one of the data's ({some(data, _SHOWN)}); "
            "say which is which: --class-map MODEL=DATA ..., or the model's own names: --model-classes NAME ..."
        )
    return {name: matched[name] for name in model if name in matched}


def mapping_text(model: Sequence[str], data: Sequence[str], matched: Mapping[str, str]) -> str:
    """The mapping in a few lines: how many match, which have another name, and what is left on either side."""
    renamed = [f"{ours} -> {theirs}" for ours, theirs in matched.items() if ours != theirs]
    only_model = [name for name in _objects(model) if name not in matched]
    only_data = [name for name in data if name not in matched.values()]
    lines = [f"classes: {len(set(matched.values()))} of the data's {len(data)} are matched by name"]
    lines += [f"  other names   {some(renamed, _SHOWN)}"] if renamed else []
    lines += [f"  model only    {some(only_model, _SHOWN)}: such predictions are left out"] if only_model else []
    if only_data:
        words = [name + near(name, only_model) for name in only_data]
        lines.append(
            f"  data only     {some(words, _SHOWN)}: never predicted, they score 0; --class-map MODEL=DATA says which "
            "they are, --classes which ones count"
        )
    return "\n".join(lines)


def near(name: str, choices: Sequence[str]) -> str:
    """The nearest name in brackets, or nothing."""
    by_spelling = {spelled(choice): choice for choice in choices}
    found = get_close_matches(spelled(name), by_spelling, 1, cutoff=0.6)
    return f" (near: {by_spelling[found[0]]})" if found else ""


def _objects(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith(NO_CLASS)]
