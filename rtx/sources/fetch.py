"""Download a source's file: resumed, from mirrors in turn, checked, and its hash recorded where none is published."""

from __future__ import annotations

import contextlib
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rtx.errors import WeightsError
from rtx.files import file_sha256, read_json, write_atomic
from rtx.sources.catalog.record import Source
from rtx.sources.load import RECORD, check_published, check_recorded, how_to_install, in_package, weights_folders
from rtx.sources.reading.sniff import READABLE, sniff

log = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
_TIMEOUT = 30
_PIECE = 1 << 18


def fetch(source: Source, folder: Path | None = None, *, progress: Progress | None = None, attempts: int = 3) -> Path:
    """Download the file of a source if it is missing, and check it against what was published.

    Args:
        source: the catalogue's record.
        folder: where the file goes; the first of `rtx.sources.load.weights_folders` when None.
        progress: called with bytes so far and in all (None where the server does not say).
        attempts: connections per address; each resumes where the last one broke off.

    Returns:
        The file. One that is already there, or in the package that holds it, is checked and kept.

    Raises:
        WeightsError: no address worked, or what came is not the published file. The message has the exact path at
            which to put a file downloaded elsewhere.
    """
    packaged = in_package(source)
    if packaged is not None:
        check_published(source, packaged, file_sha256(packaged))
        return packaged
    folder = folder or weights_folders()[0]
    path = folder / source.filename
    if source.package and not path.exists():
        raise WeightsError(f"source {source.name!r} comes in a package that is not installed: {how_to_install(source)}")
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _download(source, path, progress, attempts)
    digest = file_sha256(path)
    check_published(source, path, digest)
    check_recorded(path, digest)
    record(path, digest)
    return path


def _download(source: Source, path: Path, progress: Progress | None, attempts: int) -> None:
    part = path.with_name(path.name + ".part")
    failures = []
    for url in source.urls:
        for attempt in range(attempts):
            try:
                _pull(url, part, progress)
                _check(source, part)
            except _NotTheFile as error:
                _discard(part)
                failures.append(f"{url}: {error}")
                break
            except (urllib.error.URLError, OSError, ValueError) as error:
                log.info("%s: attempt %d failed: %s", url, attempt + 1, error)
                failures.append(f"{url}: {getattr(error, 'reason', None) or error}")
                if isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404, 410):
                    break
            else:
                part.replace(path)
                _discard(part)
                return
    first = source.urls[0] if source.urls else "the publisher's page"
    raise WeightsError(
        f"source {source.name!r} could not be fetched ({'; '.join(dict.fromkeys(failures)) or 'it has no address'}). "
        f"On a machine with a connection download {first} and put the file at {path.absolute()}"
    )


class _NotTheFile(Exception):
    """The downloaded content is not the file; another attempt would give the same."""


def _pull(url: str, part: Path, progress: Progress | None) -> None:
    """Continue or start a download into `part`; beside it lies where it came from, so that two are never mixed."""
    state = part.with_name(part.name + ".json")
    before: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        before = read_json(state)
    done = part.stat().st_size if part.exists() and before.get("url") == url and before.get("tag") else 0
    request = urllib.request.Request(url, headers={"User-Agent": "rtx"})
    if done:
        request.add_header("Range", f"bytes={done}-")
        request.add_header("If-Range", before["tag"])
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done and error.headers.get("Content-Range", "").endswith(f"/{done}"):
            return  # nothing was missing
        raise
    with response:
        resumed = response.status == 206 and done > 0
        done = done if resumed else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length and length.isdigit() else None
        # A weak tag does not promise equal bytes.
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        state.write_text(json.dumps({"url": url, "tag": "" if tag.startswith("W/") else tag}))
        with part.open("ab" if resumed else "wb") as file:
            while piece := response.read(_PIECE):
                file.write(piece)
                done += len(piece)
                if progress is not None:
                    progress(done, total)
    if total is not None and done < total:
        raise OSError(f"connection closed after {done:,} of {total:,} bytes")


def _check(source: Source, part: Path) -> None:
    try:
        kind = sniff(part)
    except WeightsError as error:
        raise _NotTheFile(str(error)) from error
    if kind.name not in READABLE:
        raise _NotTheFile(f"what came is {kind.text}; {kind.remedy}")
    size = part.stat().st_size
    if source.size is not None and size != source.size and "size" not in source.unverified:
        raise _NotTheFile(f"what came has {size:,} bytes, published are {source.size:,}")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name(part.name + ".json").unlink(missing_ok=True)


def record(path: Path, digest: str) -> None:
    """Remember the hash of a file beside it, so that a later change is noticed."""
    store = path.parent / RECORD
    known: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        known = read_json(store)
    if known.get(path.name) != digest:
        known[path.name] = digest
        write_atomic(store, json.dumps(known, indent=1, sort_keys=True) + "\n")
        log.info("%s: sha256 %s recorded in %s", path.name, digest, store)
