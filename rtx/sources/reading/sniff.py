"""Recognise a file by its first bytes and its archive directory, without unpacking or executing it."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from rtx.errors import WeightsError

# torch.save before 1.6 starts with this number pickled in protocol 2 (or, from dill, another protocol).
_LEGACY_MAGIC = bytes.fromhex("8a0a6cfc9c46f920 6aa85019".replace(" ", ""))
EXPANSION_LIMIT, SLACK = 4, 1 << 20
"""How many times its own size a file may unpack to, and how many bytes more; torch.save never compresses."""


@dataclass(frozen=True)
class Kind:
    """The recognised format of a file.

    Attributes:
        name: "torch_zip", "torch_legacy", "pickle" or "safetensors" can be read; every other name cannot.
        text: the same for people, e.g. "an HTML page".
        remedy: what to do when it cannot be read.
    """

    name: str
    text: str
    remedy: str = ""


READABLE = ("torch_zip", "torch_legacy", "pickle", "safetensors")
_AGAIN = "download the weights file itself and check its size"


def sniff(path: Path) -> Kind:
    """Recognise the format of `path`.

    Raises:
        WeightsError: the file cannot be opened, or its zip directory is a trap.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot be opened ({error.strerror or error}); check path and permissions"
        ) from error
    if size == 0:
        return Kind("empty", "an empty file", _AGAIN)
    if head.startswith(b"PK"):
        return _sniff_zip(path, size)
    return _sniff_plain(head, size)


def _sniff_plain(head: bytes, size: int) -> Kind:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<!--")) or b"<html" in text:
        return Kind("html", "a web page (HTML)", "a download page was saved instead of the file; " + _AGAIN)
    if text.startswith(b"version https://git-lfs"):
        return Kind("lfs", "a Git LFS pointer", "fetch the file it points to with `git lfs pull`")
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd")):
        return Kind("compressed", "a compressed archive", "unpack it and give the checkpoint inside")
    if head[257:262] == b"ustar" or head.startswith((b"sys_info\0", b"storages\0", b"pickle\0", b"tensors\0")):
        return Kind(
            "tar", "a tar archive", "unpack it; a .tar file of torch 0.1 must be saved again with a newer torch"
        )
    if head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")):
        return Kind("image", "an image", "give a weights file")
    if head.startswith(b"\x89HDF"):
        return Kind("hdf5", "an HDF5 file (Keras or older TensorFlow)", "rtx reads PyTorch and safetensors files")
    if head.startswith((b"\x7fELF", b"MZ", b"#!")):
        return Kind("program", "a program or script", "give a weights file; nothing of it was run")
    if len(head) > 8 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= size - 8:
        return Kind("safetensors", "a safetensors file")
    if head[:1] == b"\x80":
        if head[2:14] == _LEGACY_MAGIC or _LEGACY_MAGIC in head[:32]:
            return Kind("torch_legacy", "a torch file from before version 1.6")
        return Kind("pickle", "a plain pickle")
    if head[:1] in (b"{", b"["):
        return Kind("json", "JSON text", _AGAIN)
    if not any(byte < 9 or 13 < byte < 32 for byte in head):
        return Kind("text", "plain text", _AGAIN)
    return Kind("unknown", "none of the formats rtx knows (PyTorch zip or legacy, safetensors)", _AGAIN)


def _sniff_zip(path: Path, size: int) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError, IndexError) as error:
        return Kind("broken_zip", f"a damaged or truncated zip archive ({error})", _AGAIN)
    total = sum(entry.file_size for entry in entries)
    if total > EXPANSION_LIMIT * size + SLACK:
        raise WeightsError(
            f"{path}: unpacks from {size:,} to {total:,} bytes, which no torch.save file does; "
            "this looks like a zip bomb and was not unpacked"
        )
    names = [entry.filename for entry in entries]
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        return Kind("torchscript", "a TorchScript program", "save its state_dict() with torch.save instead")
    if any(entry.flag_bits & 1 for entry in entries):
        return Kind("encrypted_zip", "an encrypted zip archive", "unpack it and give the checkpoint inside")
    if len(set(names)) != len(names):
        raise WeightsError(f"{path}: a zip archive that lists one name twice, which no torch.save file does")
    pickles = [name for name in names if name.endswith("data.pkl") and name.count("/") <= 1]
    if len(pickles) == 1:
        return Kind("torch_zip", "a torch file")
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return Kind(
        "zip",
        f"a zip archive without a checkpoint at its root (holds {shown or 'nothing'})",
        "unpack it and give the checkpoint inside",
    )
