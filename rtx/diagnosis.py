"""Judge what `rtx.environment` found: one row a package or a fact of the machine, with one line that fixes a bad one.

Every check is a function of the facts alone, so a test can state each clash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from rtx.environment import OPENCV, PACKAGES, Environment

Status = Literal["ok", "note", "bad"]

MM_EXTRA = 'pip install --no-build-isolation "rtx-robustness[mm]", or `make install` in the project folder'
DOES_NOT_WORK = "does not work"


@dataclass(frozen=True)
class Row:
    """One row of the table; `bad` has a remedy, `note` is something to know."""

    name: str
    found: str
    status: Status = "ok"
    remedy: str = ""


def _package(env: Environment, name: str) -> Row:
    """The row that every package has: present, alone in its folder, in range, working."""
    package, version = PACKAGES[name], env.packages.get(name)
    rivals = [rival for rival in package.rivals if rival in env.packages]
    again = f"{_install(env, name)} --force-reinstall --no-deps"
    if rivals:
        # Uninstalling one removes files of the other, so the wanted one is put back in any case.
        found = " and ".join(f"{n} {env.packages[n]}" for n in (*rivals, *([name] if version else [])))
        found += " share one folder: one overwrote the other" if version else f": rtx needs {name} in its place"
        again = _compile_ops(env) if name == "onedl-mmcv" else again
        return Row(name, found, "bad", f"pip uninstall -y {' '.join(rivals)} && {again}")
    if version is None:
        absent = MM_EXTRA if name.startswith("onedl-") and not package.core else _install(env, name)
        return Row(name, f"absent; needed for {package.needed_for}", "bad" if package.core else "note", absent)
    if fault := env.faults.get(package.module or name):
        return Row(name, f"{version} {DOES_NOT_WORK}: {fault}", "bad", again)
    wanted = env.wanted.get(name, "")
    if wanted and not _in_range(version, wanted):
        return Row(name, f"{version}, rtx asks for {wanted}", "bad", _install(env, name))
    return Row(name, version)


def python(env: Environment) -> Row:
    """The interpreter is one that onedl-mmcv and torch are tested with."""
    found = ".".join(map(str, env.python))
    if (3, 10) <= env.python[:2] <= (3, 12):
        return Row("Python", found)
    return Row("Python", f"{found}, need 3.10 to 3.12", "bad", "PYTHON=python3.12 make install")


def setuptools(env: Environment) -> Row:
    """The setuptools that mmcv is compiled with still has pkg_resources."""
    version = env.packages.get("setuptools", "")
    if version and int(version.split(".")[0]) >= 82:
        return Row("setuptools", f"{version} has no pkg_resources any more", "bad", 'pip install "setuptools>=80,<82"')
    return Row("setuptools", version or "absent, only needed to install")


def numpy(env: Environment) -> Row:
    """NumPy imports, and torch was built against this generation of its binary interface."""
    row = _package(env, "numpy")
    fault = env.faults.get("torch-numpy", "")
    if row.status == "ok" and fault and not env.faults.get("torch"):
        return Row("numpy", f"{row.found}, but torch cannot use it: {fault}", "bad", _install(env, "torch", "numpy"))
    return row


def torchvision(env: Environment) -> Row:
    """Torchvision's compiled operators load, which they do only beside the torch they were built for."""
    row = _package(env, "torchvision")
    version = env.packages.get("torch", "")
    if row.status == "bad" and version.startswith("2."):
        # torch 2.n goes with torchvision 0.(n + 15).
        match = f"torchvision==0.{int(version.split('.')[1]) + 15}.*"
        return Row(row.name, row.found, "bad", f'pip install --force-reinstall --no-deps "{match}"')
    return row


def mmcv(env: Environment) -> Row:
    """There is one mmcv, with compiled operators that fit the torch beside it."""
    row = _package(env, "onedl-mmcv")
    if row.status == "bad" or "onedl-mmcv" not in env.packages:
        return row
    fault = env.faults.get("mmcv._ext") or env.faults.get("mmcv.ops")
    if fault:
        return Row("onedl-mmcv", f"{row.found}, compiled operators do not work: {fault}", "bad", _compile_ops(env))
    fault = env.faults.get("mmcv-cuda")
    if fault:
        found = f"{row.found}, operators work on the CPU but not on the GPU: {fault}"
        return Row("onedl-mmcv", found, "bad", f"FORCE_CUDA=1 {_compile_ops(env)}")
    return row


def opencv(env: Environment) -> Row:
    """OpenCV works; where it is installed under several names, their shared files are of one version."""
    there = {name: env.packages[name] for name in OPENCV if name in env.packages}
    found = ", ".join(f"{name} {version}" for name, version in there.items())
    headless = there.get("opencv-python-headless") or max(there.values(), default="")
    pin = f"opencv-python-headless=={headless}" if headless else "opencv-python-headless"
    if not there:
        return Row("opencv", "absent; needed for everything that reads images", "bad", f"pip install {pin}")
    if len(set(there.values())) > 1:
        same = " ".join(f"{name}=={headless}" for name in there)
        return Row(
            "opencv", f"{found}: one overwrote the other", "bad", f"pip install --force-reinstall --no-deps {same}"
        )
    if env.faults.get("cv2"):
        found = f"{found}: {env.faults['cv2']}"
        return Row("opencv", found, "bad", f"pip install --force-reinstall --no-deps {pin}")
    return Row("opencv", found)


def cuda(env: Environment) -> Row:
    """If there is a GPU, this torch can use it."""
    if env.cuda is None:
        return Row("CUDA", "not asked, since torch does not work", "note")
    build = f"torch built for CUDA {env.cuda.build}" if env.cuda.build else "torch built for the CPU only"
    if not env.cuda.devices:
        if not env.driver:
            return Row("CUDA", f"{build}; no GPU in this machine, the CPU is used", "note")
        if not env.cuda.build:
            return Row("CUDA", f"{build}, yet there is a GPU", "bad", _install(env, "torch", "torchvision"))
        remedy = "check CUDA_VISIBLE_DEVICES and that the driver (nvidia-smi) is at least as new as this CUDA version"
        return Row("CUDA", f"{build}; there is a GPU, but torch does not see it", "bad", remedy)
    found = f"{build}; " + ", ".join(
        f"{device} (sm_{capability.replace('.', '')})"
        for device, capability in zip(env.cuda.devices, env.cuda.capabilities, strict=True)
    )
    old = [c for c in env.cuda.capabilities if not _runs_on(c, env.cuda.archs)]
    if old:
        found += f"; compiled for {' '.join(env.cuda.archs)} alone"
        return Row("CUDA", found, "bad", "install a torch that was built for this GPU, then compile onedl-mmcv again")
    if env.faults.get("torch-cuda"):
        return Row("CUDA", f"{found}: {env.faults['torch-cuda']}", "bad", "nvidia-smi: is the GPU busy or in error?")
    return Row("CUDA", found)


def disk(env: Environment) -> Row:
    """There is room for checkpoints."""
    found = f"{env.free_gb:.0f} GB free here"
    if env.free_gb < 2:
        return Row(
            "disk", found, "bad", "free some space or give --work-dir on another disk: a checkpoint takes 0.35 GB"
        )
    return Row("disk", found)


def shared_memory(env: Environment) -> Row:
    """Data loader workers have the memory to pass images through."""
    if env.shm_gb is None:
        return Row("/dev/shm", "absent: set num_workers=0 in the data loaders", "note")
    if env.shm_gb < 1:
        found = f"{env.shm_gb:.2f} GB: data loader workers may die with a bus error"
        return Row("/dev/shm", found, "note", "docker run --shm-size=8g (or --ipc=host), or num_workers=0")
    return Row("/dev/shm", f"{env.shm_gb:.0f} GB")


Check = Callable[[Environment], Row]
_SPECIAL: dict[str, Check] = {"numpy": numpy, "torchvision": torchvision, "onedl-mmcv": mmcv}
CHECKS: tuple[Check, ...] = (
    python,
    setuptools,
    *(_SPECIAL.get(name, partial(_package, name=name)) for name in PACKAGES),
    opencv,
    cuda,
    disk,
    shared_memory,
)


def diagnose(env: Environment) -> list[Row]:
    """Judge an environment, one row a check; a fault that another row explains refers to that row."""
    rows = [check(env) for check in CHECKS]
    bad = {row.name for row in rows if row.status == "bad"}
    explained = []
    for row in rows:
        causes = [name for name in PACKAGES[row.name].needs if name in bad] if row.name in PACKAGES else []
        if causes and row.status == "bad" and DOES_NOT_WORK in row.found:
            row = replace(row, remedy=f"fix {' and '.join(causes)} first, then run `rtx doctor` again")
        explained.append(row)
    return explained


def _compile_ops(env: Environment) -> str:
    return (
        "MMCV_WITH_OPS=1 "
        + _install(env, "onedl-mmcv")
        + " --no-binary onedl-mmcv --no-build-isolation --no-cache-dir --no-deps --force-reinstall"
    )


def _install(env: Environment, *names: str) -> str:
    return "pip install " + " ".join(f'"{name}{env.wanted.get(name, "")}"' for name in names)


def _in_range(version: str, wanted: str) -> bool:
    try:
        from packaging.specifiers import SpecifierSet
    except ImportError:
        return True  # mmengine needs packaging, so its own row is bad
    return SpecifierSet(wanted).contains(version, prereleases=True)


def _runs_on(capability: str, archs: tuple[str, ...]) -> bool:
    """Whether code compiled for `archs` runs on a device: same major and no newer minor, or PTX to compile from."""
    major, minor = map(int, capability.split("."))
    for arch in archs:
        kind, _, digits = arch.partition("_")
        number = int("".join(c for c in digits if c.isdigit()))
        if kind == "sm" and number // 10 == major and number % 10 <= minor:
            return True
        if kind == "compute" and number <= 10 * major + minor:
            return True
    return False
