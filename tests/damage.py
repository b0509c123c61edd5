"""Random damage to files in memory: a field, a type, a file, a list, a name, an encoding.

Every choice is drawn from a `random.Random`, which Hypothesis can control and shrink. Nothing here knows what the files
mean; whoever damages them says what a reader should find.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

Tree = dict[str, bytes | None]
"""Path below the root -> content; None is a folder where a file belongs."""
Damage = Callable[[bytes, Random], bytes]

NUMBERS = (0, 1, -1, 2, 3, 0.5, -0.0, 7.25, 1e9, 1e308, -1e308, 2**31, 2**53 + 1, 2**64, 10**400)
NOT_NUMBERS = (float("nan"), float("inf"), float("-inf"))
TEXTS = ("", " ", "0", "1", "2.5", "-3", "nan", "x", "\ufeffx", "a\0b", "é", "x" * 300, "../x", "/x", "true")
SHAPES: tuple[Any, ...] = ([], {}, [1], [[]], {"a": 1}, [None], [1, 2, 3, 4], {"size": [1, 1], "counts": []})


def odd_value(rng: Random) -> Any:
    """A value that hardly any field expects."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice((None, True, False))
    if kind == 5:
        nested: Any = 1
        for _ in range(rng.choice((1, 3, 60))):
            nested = [nested]
        return nested
    return copy.deepcopy(rng.choice((NUMBERS, NOT_NUMBERS, TEXTS, SHAPES)[kind - 1]))


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below a JSON value."""
    keys: Sequence[Any] = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    found = []
    for key in keys:
        found += [(node, key), *places(node[key])]
    return found


def damage_json(content: bytes, rng: Random) -> bytes:
    """One value of a JSON file is removed, replaced, doubled, renamed, moved or wrapped."""
    root = [json.loads(content)]
    inside = places(root[0])
    node, key = rng.choice(inside) if inside and rng.random() < 0.97 else (root, 0)
    action = rng.choice(("remove", "odd", "odd", "odd", "twin", "twin", "swap", "rename", "wrap", "as text"))
    if action == "remove" and node is not root:
        del node[key]
    elif action == "twin" and isinstance(node, list):
        node.insert(key, copy.deepcopy(rng.choice(node)))
    elif action in ("swap", "twin") and inside:
        other, its = rng.choice(inside)
        node[key] = copy.deepcopy(other[its])
    elif action == "rename" and isinstance(node, dict):
        node[rng.choice((*map(str, node), *TEXTS))] = node.pop(key)
    elif action == "wrap":
        node[key] = rng.choice(([node[key]], {"a": node[key]}))
    elif action == "as text":
        node[key] = node[key] if isinstance(node[key], (dict, list)) else str(node[key])
    else:
        node[key] = odd_value(rng)
    return json.dumps(root[0], ensure_ascii=False).encode("utf-8", "surrogatepass")


def damage_xml(content: bytes, rng: Random) -> bytes:
    """One element is removed, doubled, renamed or given another text."""
    top = ElementTree.fromstring(content)
    parent = rng.choice([node for node in top.iter() if len(node)])
    child = rng.choice(list(parent))
    action = rng.choice(("remove", "double", "rename", "text", "text", "text", "empty"))
    if action == "remove":
        parent.remove(child)
    elif action == "double":
        parent.insert(0, copy.deepcopy(child))
    elif action == "rename":
        child.tag = rng.choice(("x", *(node.tag for node in top.iter())))
    elif action == "empty":
        child.clear()
    else:
        value = rng.choice((*NUMBERS[:-1], *NOT_NUMBERS, *(t for t in TEXTS if "\0" not in t)))
        child.text = str(value)
    return ElementTree.tostring(top, encoding="utf-8")


def damage_lines(content: bytes, rng: Random) -> bytes:
    """One line, or one word of it, is removed, doubled, changed or moved."""
    lines = content.decode().split("\n")
    n = rng.randrange(len(lines))
    action = rng.choice(("remove", "double", "blank", "odd", "word", "word", "append", "crlf", "join"))
    if action == "remove":
        del lines[n]
    elif action == "double":
        lines.insert(rng.randrange(len(lines)), lines[n])
    elif action == "blank":
        lines.insert(n, rng.choice(("", "  ", "\t")))
    elif action == "odd":
        lines[n] = str(odd_value(rng))[:400] if rng.random() < 0.9 else "x" * 200_000
    elif action == "append":
        lines[n] += rng.choice((" 1", " -1", " 0", ",x", " ", ",", '"', " x y"))
    elif action == "join":
        lines[n : n + 2] = [" ".join(lines[n : n + 2])]
    elif action == "crlf":
        return "\r\n".join(lines).encode()
    else:
        mark = "," if "," in lines[n] else " "
        words = lines[n].split(mark)
        words[rng.randrange(len(words))] = str(rng.choice((*NUMBERS[:-1], *NOT_NUMBERS, *TEXTS, *words)))
        lines[n] = mark.join(words)
    return "\n".join(lines).encode()


def damage_map(content: bytes, rng: Random) -> bytes:
    """A label map with other numbers, another size, depth, mode or format."""
    pixels = np.array(Image.open(io.BytesIO(content)))
    action = rng.choice(("number", "number", "size", "mode", "wide", "one", "format"))
    if action == "number":
        pixels[rng.randrange(len(pixels))] = rng.choice((0, 1, 2, 3, 4, 5, 9, 100, 254, 255))
    elif action == "size":
        pixels = rng.choice((pixels[1:], pixels[:, :1], pixels.T, np.pad(pixels, 1)))
    elif action == "wide":
        pixels = pixels.astype(np.uint16) * rng.choice((1, 256, 257))
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if action == "mode":
        image = image.convert(rng.choice(("RGB", "RGBA", "LA", "P", "F", "CMYK", "1")))
    elif action == "one":
        image = Image.fromarray(np.zeros((1, 1), np.uint8))
    stream = io.BytesIO()
    if action == "format":
        image.save(stream, rng.choice(("BMP", "TIFF", "GIF", "JPEG")))
    else:
        image.save(stream, "TIFF" if image.mode in ("F", "CMYK") else "PNG")
    return stream.getvalue()


def damage_arrays(content: bytes, rng: Random) -> bytes:
    """One array of an `.npz` is removed, cut, reshaped, renamed, or holds other numbers or another type."""
    with np.load(io.BytesIO(content)) as there:
        arrays = dict(there)
    name = rng.choice(sorted(arrays))
    old = arrays[name]
    action = rng.choice(("remove", "cut", "longer", "shape", "type", "number", "number", "rename", "head", "empty"))
    if action == "remove":
        del arrays[name]
    elif action == "cut":
        arrays[name] = old[:-1] if old.ndim else old
    elif action == "longer":
        arrays[name] = np.concatenate([old, old[:1]]) if old.ndim and len(old) else np.zeros(3, old.dtype)
    elif action == "shape":
        arrays[name] = rng.choice((old[None], old.reshape(-1), np.zeros((), np.int64)))
    elif action == "type":
        kinds = [np.float64, np.int8, np.uint64, np.str_, np.complex64, bool]
        with np.errstate(all="ignore"):
            try:
                arrays[name] = old.astype(rng.choice(kinds))
            except ValueError:
                arrays[name] = np.zeros(old.shape)
    elif action == "rename":
        arrays[rng.choice(("x", *sorted(arrays)))] = arrays.pop(name)
    elif action == "empty":
        arrays[name] = old[:0] if old.ndim else old
    elif action == "head" and "head" in arrays:
        arrays["head"] = np.frombuffer(damage_json(arrays["head"].tobytes(), rng), np.uint8)
    elif old.size and old.dtype.kind in "iufb":
        flat = old.reshape(-1).astype(np.float64 if old.dtype.kind == "f" else np.int64)
        odd = (0, 1, -1, 2, 255, 2**31, 2**62) if old.dtype.kind != "f" else (0, -1, 2, 1e300, *NOT_NUMBERS)
        flat[rng.randrange(flat.size)] = rng.choice(odd)
        arrays[name] = flat.reshape(old.shape)
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def damage_bytes(content: bytes, rng: Random) -> bytes:
    """Any file: cut, empty, with a byte-order mark, in another encoding, nested without end, or not what it says."""
    n = rng.randrange(len(content) + 1)
    return rng.choice(
        (
            content[:n],
            b"",
            b"\xef\xbb\xbf" + content,
            content.decode("latin-1").encode("utf-16"),
            content[:n] + bytes([rng.randrange(256)]) + content[n + 1 :],
            content[:n] + b"\0" + content[n:],
            content + content,
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"\xff\xfe\x00" * 5,
            b"null",
            b"[]",
            b"{}",
            b"1" * 5000,
            b"PK\x05\x06" + bytes(18),
            b"\x89PNG\r\n\x1a\n" + bytes(40),
        )
    )


BY_ENDING: dict[str, Damage] = {
    ".json": damage_json,
    ".xml": damage_xml,
    ".txt": damage_lines,
    ".csv": damage_lines,
    ".png": damage_map,
    ".npz": damage_arrays,
}


def damage_file(tree: Tree, name: str, rng: Random) -> None:
    """A file is gone, has another name or place, is there twice, is a folder, or holds what another one holds."""
    path = Path(name)
    action = rng.choice(("gone", "name", "case", "place", "twice", "folder", "other", "ending"))
    content = tree[name]
    others = sorted(tree)
    if action != "other":
        del tree[name]
    if action == "name":
        tree[str(path.with_name(rng.choice(("x", " x", "x.y", "é", "a b", "clean", "fog_9")) + path.suffix))] = content
    elif action == "case":
        tree[str(path.with_name(path.name.upper()))] = content
    elif action == "place":
        tree[str(path.parent / "inner" / path.name)] = content
    elif action == "twice":
        tree |= {name: content, str(path.with_name(f"{path.stem} copy{path.suffix}")): content}
    elif action == "folder":
        tree[name] = None
    elif action == "ending":
        tree[str(path.with_suffix(rng.choice(("", ".txt", ".json", ".png", ".npz", ".zip", ".PNG"))))] = content
    elif action == "other":
        tree[name] = tree[rng.choice(others)]


def damaged(tree: Tree, rng: Random, names: Sequence[str]) -> Tree:
    """The tree with one to three faults in the files of these names."""
    found = dict(tree)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        there = [name for name in names if found.get(name) is not None]
        if not there:
            break
        name = rng.choice(there)
        content = found[name]
        assert content is not None
        kind = rng.random()
        if kind < 0.12:
            damage_file(found, name, rng)
            continue
        act = damage_bytes if kind < 0.25 else BY_ENDING.get(Path(name).suffix, damage_bytes)
        try:
            found[name] = act(content, rng)
        except Exception:  # it is damaged beyond what this kind of damage can read
            found[name] = damage_bytes(content, rng)
    return found


def write_tree(root: Path, tree: Tree) -> None:
    """Put the files below a folder; where two want one place, the first has it."""
    for name, content in tree.items():
        path = root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(content)
        except OSError:
            continue


def read_tree(root: Path) -> Tree:
    """The files below a folder."""
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}
