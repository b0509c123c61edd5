"""`python:FILE.py:NAME`: a function, or an adapter, of your own file.

NAME is one of

- a function `predict(images)` beside `CLASSES = [...]`, which returns what `Detector`, `Segmenter` or `Classifier` ask
  for; which of them is meant follows from the data;
- an adapter: `model = rtx.Detector(...)`;
- a function that returns an adapter; it is called with those of `weights` and `device` that it takes.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from rtx.errors import BadValue, unknown_name
from rtx.evaluation.models.adapter import Adapter
from rtx.evaluation.models.library import Asked, refusing, wrong_task
from rtx.files import file_sha256


def open_preset(asked: Asked) -> Adapter:
    """See `rtx.evaluation.models.presets.open_model`."""
    file, colon, name = asked.what.rpartition(":")
    path = Path(file).expanduser().absolute()
    if not colon or not path.is_file():
        raise BadValue(f"--model {asked.spec}: give python:FILE.py:NAME; there is no file {str(path)!r}")
    module = _module(asked, path)
    if not hasattr(module, name):
        choices = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise unknown_name("name", name, place=str(path), choices=choices)
    found = getattr(module, name)
    version = f"sha256 {file_sha256(path)[:12]}"
    if not isinstance(found, Adapter) and callable(found):
        found = _made(asked, found, path, version, getattr(module, "CLASSES", ()))
    if not isinstance(found, Adapter):
        raise BadValue(f"--model {asked.spec}: {name} is a {type(found).__name__}; {_FORMS}")
    if type(found) is not asked.kind:
        raise wrong_task(asked, f"is a {type(found).__name__}")
    found.version = found.version or version
    found.class_map = dict(asked.class_map) if asked.class_map or found.class_map is None else found.class_map
    there = replace(asked, what=f"{path}:{name}", device="cpu")  # another process has another working directory
    found.again = lambda state: (reopened, (there, state))
    return found


_FORMS = "give a function of the images beside CLASSES = [...], an rtx.Detector, or a function that returns one"


def reopened(asked: Asked, state: dict[str, Any]) -> Adapter:
    """The adapter in another process, with the weights that it had in the first: code of a file goes by the file."""
    adapter = open_preset(asked)
    adapter.load_state_dict(state, strict=True)
    return adapter


def _made(asked: Asked, function: Any, path: Path, version: str, classes: Any) -> Adapter:
    """The adapter that a function returns, or that is made around it."""
    given = {"weights": asked.weights, "device": asked.device}
    taken = list(inspect.signature(function).parameters.values())
    needed = [p.name for p in taken if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if set(needed) <= set(given):
        made: Adapter = function(**{p.name: given[p.name] for p in taken if p.name in given})
        return made
    names = asked.classes or tuple(classes)
    if len(needed) != 1 or not names:
        raise BadValue(f"--model {asked.spec}: takes {', '.join(needed)}; {_FORMS}")
    return asked.kind(function, names, name=f"{path.name}:{function.__name__}", version=version)


def _module(asked: Asked, path: Path) -> Any:
    """The file, run."""
    spec = importlib.util.spec_from_file_location(f"rtx_model_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BadValue(f"--model {asked.spec}: {path.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent))  # so that it finds what lies beside it
    with refusing(asked, "the file cannot be run"):
        spec.loader.exec_module(module)
    return module
