"""The code that a config brings along: modules of `custom_imports` that belong to no framework."""

from __future__ import annotations

import hashlib
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_FRAMEWORKS = frozenset(
    "rtx mmcv mmengine mmdet mmseg mmpretrain mmpose mmdet3d mmrotate mmyolo mmocr mmaction mmagic mmdeploy mmrazor "
    "mmselfsup torch torchvision timm transformers".split()
)


def own_code(cfg: Any) -> dict[str, str]:
    """Module -> sha256 of its source file, of a package of all its source files.

    Frameworks are left out: their versions are on the card. So is what such a module imports itself.

    Args:
        cfg: the expanded config.
    """
    names = (cfg.get("custom_imports") or {}).get("imports") or ()
    found = {}
    for name in sorted({names} if isinstance(names, str) else set(names)):
        file = None if name.partition(".")[0] in _FRAMEWORKS else _source(name)
        if file is not None:
            inside = file.parent.rglob("*.py") if file.name == "__init__.py" else [file]
            digest = hashlib.sha256()
            for path in sorted(inside):
                digest.update(f"{path.relative_to(file.parent).as_posix()}|".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
            found[name] = digest.hexdigest()
    return found


def _source(name: str) -> Path | None:
    try:
        place = getattr(sys.modules.get(name), "__file__", None) or getattr(find_spec(name), "origin", None)
    except (ImportError, ValueError):
        return None
    return Path(place) if place and place.endswith(".py") and Path(place).is_file() else None
