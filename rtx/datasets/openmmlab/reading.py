"""What OpenMMLab reads while rtx runs goes through readers that run no code of a file.

mmengine reads weights wherever a config names some: load_from, resume, init_cfg of any part, pretrained. What torch's
own reader refuses, it unpickles. Its readers of YAML and of pickles run code as well.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
import yaml  # type: ignore[import-untyped,unused-ignore]
from mmengine.fileio import register_handler
from mmengine.fileio.handlers import PickleHandler, YamlHandler
from mmengine.runner.checkpoint import CheckpointLoader, get_torch_safe_globals

from rtx.environment import safe_torch
from rtx.errors import DataError, WeightsError
from rtx.sources.reading.read import read_content
from rtx.sources.reading.unpickle import ODD_KEY

log = logging.getLogger(__name__)


@cache
def read_safely() -> None:
    """From now on, in this process, OpenMMLab's readers of weights, pickles and YAML run no code of a file."""
    safe_torch()
    for prefix, fetch in list(CheckpointLoader._schemes.items()):
        if prefix:
            CheckpointLoader.register_scheme(prefix, _fetching(fetch), force=True)
    CheckpointLoader.register_scheme("", read_weights, force=True)
    register_handler(["yaml", "yml"])(PlainYaml)
    register_handler(["pickle", "pkl"])(PlainPickle)


def read_weights(filename: str | Path, map_location: object = None) -> Any:
    """A checkpoint for mmengine, on the CPU: as torch reads it where that runs no code, else as rtx does.

    Raises:
        WeightsError: there is no such file, it is no checkpoint, or a trap.
    """
    path = Path(filename).expanduser()
    if "://" in str(filename):
        raise WeightsError(f"weights {str(filename)!r}: an address of no kind that is known; give a file")
    try:
        return read_training_state(path)
    except WeightsError as error:
        value = read_content(path).value  # what is no checkpoint at all ends here
        log.info("%s: its weights are read, its training state is not (%s)", path, error)
        return value


def read_training_state(path: Path) -> Any:
    """All of a checkpoint that mmengine wrote, with its training state.

    rtx's reader goes first: torch's would hang on dictionary keys that take forever to hash, and allocate whatever a
    file claims.

    Raises:
        WeightsError: it is no checkpoint, or names objects that are neither tensors nor mmengine's training state.
    """
    found = read_content(path)
    if found.kind.name == "safetensors":
        return found.value
    try:
        odd = [name for name in found.foreign if name.startswith(ODD_KEY)]
        if odd:
            raise WeightsError(f"{odd[0]}, which training never writes")
        with torch.serialization.safe_globals(get_torch_safe_globals()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"checkpoint {str(path)!r} cannot be read without running code from it ({type(error).__name__}: {reason})"
        ) from error


def _fetching(fetch: Callable[..., Any]) -> Callable[..., Any]:
    def fetched(filename: str, map_location: object = None, **options: Any) -> Any:
        try:
            return fetch(filename, map_location=map_location, **options)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise WeightsError(
                f"weights {filename!r}, which the config names (init_cfg or pretrained), cannot be fetched or read "
                f"({type(error).__name__}: {reason[:200]}); download them and name the file, or give --source"
            ) from error

    return fetched


class PlainYaml(YamlHandler):  # type: ignore[misc]
    """YAML without the tags that build objects."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        """The content of a YAML file."""
        return yaml.safe_load(file)


class PlainPickle(PickleHandler):  # type: ignore[misc]
    """Pickles of arrays, tensors and plain containers: what ranks of a job exchange, and what a data set may name."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        """The content of a pickle.

        Raises:
            DataError: it asks for something else.
        """
        return _Plain(file).load()


class _Plain(pickle.Unpickler):
    allowed: ClassVar[dict[str, tuple[str, ...]]] = {
        **dict.fromkeys(("builtins", "__builtin__"), ("set", "frozenset", "complex", "slice")),  # Python 2's name too
        "collections": ("OrderedDict",),
        "_codecs": ("encode",),
        "numpy": ("dtype", "ndarray"),
        **{f"numpy.{core}.multiarray": ("_reconstruct", "scalar") for core in ("core", "_core")},
        **{f"numpy.{core}.numeric": ("_frombuffer",) for core in ("core", "_core")},
        "torch": ("Size", "device"),
        "torch._utils": ("_rebuild_tensor_v2", "_rebuild_parameter"),
        "torch.storage": ("_load_from_bytes",),  # reads with torch.load, which `safe_torch` makes safe
    }

    def find_class(self, module: str, name: str) -> Any:
        if name not in self.allowed.get(module, ()):
            raise DataError(
                f"a pickle asks for {module}.{name}, which could run code; nothing was run (proposal_file, ann_file or "
                "another file of the config: give JSON, or arrays and plain containers)"
            )
        return super().find_class(module, name)
