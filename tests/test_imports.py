"""The direction of imports: base <- pure rooms <- OpenMMLab rooms <- config <- cli <- tools.

A new room gets its level here, in the commit that makes it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OPENMMLAB = ("mmcv", "mmdet", "mmengine", "mmpretrain", "mmseg")

BASE, PURE, MM, CONFIG, CLI, TOOLS = range(6)
LEVELS = {
    "rtx": BASE,
    "rtx.diagnosis": BASE,
    "rtx.environment": BASE,
    "rtx.errors": BASE,
    "rtx.rng": BASE,
    "rtx.types": BASE,
    "rtx.adversarial": PURE,
    "rtx.bias": PURE,
    "rtx.corruptions": PURE,
    "rtx.evaluation": PURE,
    "rtx.featurevis": PURE,
    "rtx.influence": PURE,
    "rtx.reports": PURE,
    "rtx.shape": PURE,
    "rtx.sources": PURE,
    "rtx.backbones": MM,
    "rtx.bridges": MM,
    "rtx.studies": MM,
    "rtx.targets": MM,
    "rtx.transfer": MM,
    "rtx.config": CONFIG,
    "rtx.experiments": CONFIG,
    "rtx.cli": CLI,
}
# The half of evaluation that builds and runs models; the rest works on numbers and arrays.
MM_EVALUATION = {
    f"rtx.evaluation.{name}"
    for name in (
        *("adapted", "adapters", "batches", "card", "completion", "data_key", "forward", "imagenet_c", "loop"),
        *("model", "scorers", "settings", "share", "source_classifier", "sweep"),
    )
}
# Sideways between pure rooms: names and families of corruptions have one home, and reports read scores.
SIDEWAYS = {
    ("rtx.evaluation", "rtx.corruptions"),
    ("rtx.reports", "rtx.corruptions"),
    ("rtx.reports", "rtx.evaluation"),
}

FILES = sorted(ROOT.glob("rtx/**/*.py")) + sorted(ROOT.glob("tools/*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def level(module: str) -> int:
    if module.startswith("tools"):
        return TOOLS
    return MM if module in MM_EVALUATION else LEVELS[room(module)]


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def imports(tree: ast.AST, package: str) -> Iterator[tuple[str, int]]:
    """Every module that is imported, wherever in the file, as (full name, line)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            for alias in node.names:
                # `from rtx import config` imports a module, `from rtx.errors import BadValue` a name in one.
                inner = f"{base}.{alias.name}"
                yield (inner if base.split(".")[0] == "rtx" and is_module(inner) else base), node.lineno


def faults(module: str, source: str, package: str) -> list[str]:
    """What one file's imports break, each with its line."""
    tree = ast.parse(source)
    mine, my_room = level(module), room(module)
    found = []
    for name, line in imports(tree, package):
        root = name.split(".")[0]
        if root in OPENMMLAB and mine in (BASE, PURE):
            found.append(f"{module}:{line}: a pure room imports {name}")
        if root == "detectron2" and my_room != "rtx.bridges":
            found.append(f"{module}:{line}: detectron2 belongs in rtx/bridges alone")
        if root == "tests":
            found.append(f"{module}:{line}: imports a test")
        if root == "tools":
            found.append(f"{module}:{line}: nothing imports a tool")
        if root != "rtx":
            continue
        theirs = level(name)
        if theirs > mine:
            found.append(f"{module}:{line}: imports {name}, which lies above it")
        if mine == theirs == PURE and room(name) != my_room and (my_room, room(name)) not in SIDEWAYS:
            found.append(f"{module}:{line}: imports {name}, a pure room beside it")
        if mine == TOOLS and room(name) != "rtx.cli":
            found.append(f"{module}:{line}: a tool calls a command and nothing else")
    if mine in (BASE, PURE, CLI):
        for node in tree.body:
            for name, line in imports(node, package) if isinstance(node, ast.Import | ast.ImportFrom) else ():
                if name.split(".")[0] == "torchvision":
                    found.append(f"{module}:{line}: torchvision at module level; a broken one must not break this")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    module = module_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    assert faults(module, path.read_text("utf-8"), package) == []


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("rtx.corruptions.fog", "import mmcv", "pure room imports mmcv"),
        ("rtx.corruptions.fog", "def f():\n    from mmengine.config import Config", ":2: a pure room imports mmengine"),
        ("rtx.corruptions.fog", "from rtx.sources import load", "a pure room beside it"),
        ("rtx.evaluation.metrics", "from rtx.evaluation.loop import x", "lies above"),
        ("rtx.errors", "import rtx.types, rtx.corruptions", "lies above"),
        ("rtx.targets.data", "from rtx import cli", "lies above"),
        ("rtx.config", "from rtx.cli.train import train", "lies above"),
        ("rtx.targets.data", "from ..cli import main", "lies above"),
        ("rtx.sources.archs", "import torchvision.models", "torchvision at module level"),
        ("rtx.evaluation.loop", "import detectron2.layers", "bridges alone"),
        ("tools.train", "from rtx.config import load", "a tool calls a command"),
    ],
)
def test_the_check_sees(module: str, source: str, fault: str) -> None:
    assert any(fault in found for found in faults(module, source, module.rpartition(".")[0]))


def test_what_is_allowed_is_allowed() -> None:
    source = "import torch\nfrom rtx.errors import BadValue\nfrom rtx.corruptions import BENCHMARK"
    assert faults("rtx.evaluation.metrics", source, "rtx.evaluation") == []
    assert faults("rtx.sources.load", "def f():\n    import torchvision", "rtx.sources") == []


def loaded_after(code: str) -> set[str]:
    code = f"import sys; {code}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_importing_rtx_loads_nothing_else() -> None:
    assert loaded_after("import rtx, rtx.errors, rtx.types").isdisjoint({*OPENMMLAB, "torch", "torchvision", "numpy"})


def test_the_doctor_needs_nothing_that_it_examines() -> None:
    loaded = loaded_after("import rtx.cli.main, rtx.cli.doctor")
    assert loaded.isdisjoint({*OPENMMLAB, "torch", "torchvision", "numpy", "cv2", "rich"})


def test_pure_rooms_load_no_openmmlab() -> None:
    pure = [m for m in map(module_of, FILES) if level(m) <= PURE]
    # What works on numbers and pixels does without PyTorch too; sources are made of it.
    light = [m for m in pure if room(m) in ("rtx.corruptions", "rtx.evaluation") or level(m) == BASE]
    assert loaded_after("import " + ", ".join(pure)).isdisjoint({*OPENMMLAB, "torchvision"})
    assert loaded_after("import " + ", ".join(light)).isdisjoint({"torch"})
