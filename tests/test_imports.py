"""The direction of imports between folders, that no modules import each other in a ring, and one name for one class."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OPENMMLAB = ("mmcv", "mmdet", "mmengine", "mmpretrain", "mmseg")

# From below to above; a room may import those of lower rows. One line for a new room.
ORDER = (
    ("types", "errors", "rng", "files", "compiled", "environment", "diagnosis"),
    ("corruptions", "sources", "engines", "adversarial"),
    ("metrics",),
    ("results",),
    ("datasets",),
    ("augment", "backbones"),
    ("transfer",),
    ("probe",),
    ("evaluation", "reports"),
    ("config", "bridges"),
    ("training", "training_source", "interpolation", "experiments", "influence", "evidence", "drift", "visualise"),
    ("demo",),
    ("cli",),
    ("tools",),
)
LEVELS = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
# Folders that never import OpenMMLab; those of the second row work without PyTorch too.
PURE = ("corruptions", "datasets", "engines", "metrics", "reports", "results", "sources", *ORDER[0])
LIGHT = ("corruptions", "engines", "metrics", "reports", "results", *ORDER[0])
USES_OPENMMLAB = "rtx.datasets.openmmlab"

FILES = sorted(ROOT.glob("rtx/**/*.py")) + sorted(ROOT.glob("tools/*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """The folder, or file, right under `rtx`; `rtx` and `tools` themselves."""
    parts = module.split(".")
    return parts[1] if parts[0] == "rtx" and len(parts) > 1 else parts[0]


def level(module: str) -> int:
    return LEVELS[room(module)] if room(module) != "rtx" else -1


def is_pure(module: str) -> bool:
    return room(module) in ("rtx", *PURE) and not module.startswith(USES_OPENMMLAB)


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
        if root in OPENMMLAB and is_pure(module):
            found.append(f"{module}:{line}: a pure room imports {name}")
        if root == "torch" and my_room in ("metrics", "results"):
            found.append(f"{module}:{line}: {my_room} imports {name}")
        if root == "detectron2" and my_room != "bridges":
            found.append(f"{module}:{line}: detectron2 belongs in rtx/bridges alone")
        if root == "ray" and my_room != "engines":
            found.append(f"{module}:{line}: ray belongs in rtx/engines alone")
        if root == "tests":
            found.append(f"{module}:{line}: imports a test")
        if root == "tools":
            found.append(f"{module}:{line}: nothing imports a tool")
        if root != "rtx":
            continue
        theirs = level(name)
        if theirs > mine and module != "rtx":  # the door imports its names when they are asked for
            found.append(f"{module}:{line}: imports {name}, which lies above it")
        if theirs == mine > 0 and room(name) != my_room:
            found.append(f"{module}:{line}: imports {name}, a room beside it")
        if name.startswith(USES_OPENMMLAB) and is_pure(module):
            found.append(f"{module}:{line}: a pure room imports {name}")
        if my_room == "tools" and room(name) != "cli":
            found.append(f"{module}:{line}: a tool calls a command and nothing else")
    if is_pure(module) or my_room == "cli":
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


def arrows() -> dict[str, set[str]]:
    """Module -> the modules of rtx that it imports when it is imported itself."""
    found: dict[str, set[str]] = {}
    for path in sorted(ROOT.glob("rtx/**/*.py")):
        module = module_of(path)
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        body = [n for n in ast.parse(path.read_text("utf-8")).body if isinstance(n, ast.Import | ast.ImportFrom)]
        found[module] = {name for node in body for name, _ in imports(node, package) if name.split(".")[0] == "rtx"}
    return found


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring; empty where there is none."""
    done: set[str] = set()

    def walk(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        for other in sorted(arrows.get(module, ())):
            if found := walk(other, [*way, module]):
                return found
        done.add(module)
        return []

    return next((found for module in arrows if (found := walk(module, []))), [])


def test_no_circle() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert circle(arrows()) == []


def test_no_name_stands_for_two_classes() -> None:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in FILES)
    names = Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []


def test_every_room_has_its_place() -> None:
    rooms = {room(module_of(path)) for path in ROOT.glob("rtx/**/*.py")} - {"rtx"}
    assert rooms <= set(LEVELS)


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("rtx.corruptions.kernels.fog", "import mmcv", "pure room imports mmcv"),
        (
            "rtx.corruptions.names",
            "def f():\n    from mmengine.config import Config",
            ":2: a pure room imports mmengine",
        ),
        ("rtx.corruptions.names", "from rtx.sources import load", "a room beside it"),
        ("rtx.metrics.robustness", "from rtx.evaluation.evaluate import x", "lies above"),
        ("rtx.metrics.coco", "def f():\n    import torch", "metrics imports torch"),
        ("rtx.errors", "import rtx.types, rtx.corruptions", "lies above"),
        ("rtx.datasets.coco", "from rtx import cli", "lies above"),
        ("rtx.datasets.coco", "from rtx.datasets.openmmlab.nodes import x", "a pure room imports"),
        ("rtx.reports.build", "from rtx.evaluation.evaluate import x", "a room beside it"),
        ("rtx.config", "from rtx.cli.train import run", "lies above"),
        ("rtx.datasets.openmmlab.coco", "from ...cli import main", "lies above"),
        ("rtx.sources.catalog.archs", "import torchvision.models", "torchvision at module level"),
        ("rtx.evaluation.evaluate", "import detectron2.layers", "bridges alone"),
        ("rtx.evaluation.evaluate", "def f():\n    import ray", "engines alone"),
        ("tools.train", "from rtx.config import load", "a tool calls a command"),
    ],
)
def test_the_check_sees(module: str, source: str, fault: str) -> None:
    assert any(fault in found for found in faults(module, source, module.rpartition(".")[0]))


def test_what_is_allowed_is_allowed() -> None:
    source = "import numpy\nfrom rtx.errors import BadValue\nfrom rtx.corruptions import BENCHMARK"
    assert faults("rtx.metrics.robustness", source, "rtx.metrics") == []
    assert faults("rtx.sources.load", "def f():\n    import torchvision", "rtx.sources") == []


def loaded_after(code: str) -> set[str]:
    code = f"import sys; {code}; print(*sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_importing_rtx_loads_nothing_else() -> None:
    assert loaded_after("import rtx, rtx.errors, rtx.types").isdisjoint({*OPENMMLAB, "torch", "torchvision", "numpy"})


def test_the_doctor_needs_nothing_that_it_examines() -> None:
    loaded = loaded_after("import rtx.cli.main, rtx.cli.doctor")
    assert loaded.isdisjoint({*OPENMMLAB, "torch", "torchvision", "numpy", "cv2", "rich"})


def test_pure_rooms_load_no_openmmlab() -> None:
    pure = [m for m in map(module_of, FILES) if is_pure(m)]
    light = [m for m in pure if room(m) in LIGHT]
    assert loaded_after("import " + ", ".join(pure)).isdisjoint({*OPENMMLAB, "torchvision"})
    assert loaded_after("import " + ", ".join(light)).isdisjoint({"torch"})
