"""The packages and devices of this machine, each examined so that a broken one cannot crash the report.

Versions come from the packages' metadata, without importing anything. Whether a package works is tried in a process of
its own, which may crash.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """A package that rtx uses.

    Attributes:
        name: of the distribution, normalised.
        needed_for: what does not run without it.
        module: its trial in `TRIALS`; "" where that has the same name.
        rivals: other distributions that install into the same folder and overwrite it.
        needs: what it cannot work without: a fault of these is fixed there, not here.
        core: whether its absence is a fault.
    """

    name: str
    needed_for: str
    module: str = ""
    rivals: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    core: bool = False


_MM = ("numpy", "torch", "opencv", "onedl-mmengine")
_MM_OPS = (*_MM, "onedl-mmcv", "torchvision")
_IC = "imagecorruptions"
_ROWS = (
    Package("numpy", "everything", core=True),
    Package("numba", "corruptions and scores", core=True, needs=("numpy",)),
    Package("torch", "everything but corruptions and metrics", core=True),
    Package("torchvision", "mmdet and mmpretrain", needs=("numpy", "torch")),
    Package("onedl-mmengine", "everything that runs a model", "mmengine", ("mmengine", "mmengine-lite"), _MM[:3], True),
    Package("onedl-mmcv", "train and corrupt_eval", "mmcv", ("mmcv", "mmcv-full", "mmcv-lite"), _MM),
    Package("onedl-mmdetection", "detection", "mmdet", ("mmdet",), (*_MM_OPS, "pycocotools")),
    Package("onedl-mmsegmentation", "segmentation", "mmseg", ("mmsegmentation",), _MM_OPS),
    Package("onedl-mmpretrain", "classification", "mmpretrain", ("mmpretrain", "mmcls"), _MM_OPS),
    Package("imagecorruptions-imaug", "the corrupted pixels", _IC, (_IC,), ("numpy", "numba", "opencv")),
    Package("pycocotools", "COCO box and mask AP"),
    Package("tensorboard", "TensorBoard files; the scalars are in JSON anyway", needs=("numpy", "torch")),
)
PACKAGES: dict[str, Package] = {row.name: row for row in _ROWS}
OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")

TRIALS: dict[str, str] = {
    "numpy": "import numpy",
    "numba": "import numba; numba.njit(lambda a: a + 1)(1)",
    "torch": "import torch",
    "torch-numpy": "import torch; torch.ones(2).numpy()",
    "torchvision": "import torch, torchvision; torchvision.ops.nms(torch.ones(1, 4), torch.ones(1), 0.5)",
    "cv2": "import cv2, numpy; cv2.resize(numpy.zeros((4, 4, 3), 'uint8'), (2, 2))",
    "mmengine": "import mmengine.runner",
    "mmcv": "import mmcv",
    "mmcv._ext": "import mmcv._ext",
    "mmcv.ops": "import torch, mmcv.ops; b = torch.tensor([[0., 0, 2, 2]]); mmcv.ops.nms(b, torch.ones(1), 0.5)",
    "mmdet": "import mmdet.models",
    "mmseg": "import mmseg.models",
    "mmpretrain": "import mmpretrain.models",
    "imagecorruptions": (
        "import numpy, imagecorruptions as i; a = numpy.full((32, 32, 3), 90, 'uint8');"
        "[i.corrupt(a, corruption_name=n, severity=1) for n in ('gaussian_blur', 'fog', 'impulse_noise')]"
    ),
    "pycocotools": "import pycocotools.mask",
    "tensorboard": "import torch.utils.tensorboard",
}
"""Required packages, each with the smallest code that uses it."""

CUDA_TRIALS: dict[str, str] = {
    "torch-cuda": "import torch; (torch.ones(2, 2).cuda() @ torch.ones(2, 2).cuda()).sum().item()",
    "mmcv-cuda": "import torch, mmcv.ops; b = torch.ones(1, 4).cuda(); mmcv.ops.nms(b, b[:, 0].contiguous(), 0.5)",
}
"""The same, where PyTorch sees a GPU."""

_TRY = """
import sys, warnings
warnings.simplefilter("ignore")
try:
    exec(sys.argv[1], {})
except BaseException as error:
    print("\\n@fault " + " ".join(f"{type(error).__name__}: {error}".split()), flush=True)
"""

_CUDA = """
import json, torch
n = torch.cuda.device_count() if torch.cuda.is_available() else 0
print("\\n@cuda " + json.dumps([
    torch.version.cuda or "",
    [torch.cuda.get_device_name(i) for i in range(n)],
    ["%d.%d" % torch.cuda.get_device_capability(i) for i in range(n)],
    torch.cuda.get_arch_list() if n else [],
]))
"""


@dataclass(frozen=True)
class Cuda:
    """CUDA as PyTorch sees it; `build` is empty for a CPU build."""

    build: str = ""
    devices: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    archs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Environment:
    """The facts that `rtx doctor` judges.

    Attributes:
        python: version of the interpreter, e.g. (3, 11, 7).
        packages: version of each installed distribution by its normalised name ("onedl-mmcv").
        wanted: version range that rtx asks of a package, by name; from its own metadata, empty when it has none.
        faults: error text of each trial that was made; empty text when it worked. See `TRIALS`.
        cuda: what PyTorch sees, None when it could not be asked.
        driver: the GPUs' driver answers (a GPU is in the machine, whatever PyTorch thinks).
        free_gb: free disk space where the command runs.
        shm_gb: size of /dev/shm, through which data loader workers pass images; None where there is none.
    """

    python: tuple[int, ...]
    packages: Mapping[str, str]
    wanted: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    cuda: Cuda | None = None
    driver: bool = False
    free_gb: float = 0.0
    shm_gb: float | None = None


def installed() -> dict[str, str]:
    """Versions of all installed distributions by normalised name, from metadata alone."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            # The first one on the path is the one that counts.
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return found


def wanted(distribution: str = "rtx-robustness") -> dict[str, str]:
    """Version ranges that a distribution asks for, extras included, by normalised name; empty if it is absent."""
    try:
        requirements = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return {}
    found = {}
    for requirement in requirements:
        match = re.match(r"([A-Za-z0-9._-]+)\s*([^;\[]*)", requirement)
        if match:
            found[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2].strip()
    return found


def attempt(trials: Mapping[str, str], timeout_s: float = 300.0, python: Sequence[str] = ()) -> dict[str, str]:
    """Run pieces of code, each in a process of its own, a few at a time.

    Args:
        trials: code by name.
        timeout_s: for each process; what runs when it is over is reported so.
        python: the command that starts the interpreter, this one's by default.

    Returns:
        The error text of each trial, empty where it worked; a crash of its process is its error.
    """

    def fault(code: str) -> str:
        try:
            done = _run([_TRY, code], timeout_s, python)
        except subprocess.TimeoutExpired:
            return f"no answer within {timeout_s:.0f} s"
        if done.returncode < 0:
            return f"crashed the interpreter (signal {-done.returncode})"
        if done.returncode:
            return f"ended with status {done.returncode}"
        return next((line[len("@fault ") :] for line in done.stdout.splitlines() if line.startswith("@fault ")), "")

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(trials, pool.map(fault, trials.values()), strict=True))


def _run(words: Sequence[str], timeout_s: float, python: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        # A module in the current folder must not go for an installed one.
        [
            *(python or [sys.executable]),
            "-c",
            "import sys\nsys.path[:] = filter(None, sys.path)\n" + words[0],
            *words[1:],
        ],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
        env=os.environ | {"MPLBACKEND": "agg"},
    )


def safe_torch() -> None:
    """Have `torch.load` run no code of a file, whoever calls it, in this process and those that it starts."""
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"


def ask_cuda(timeout_s: float = 120.0) -> Cuda | None:
    """Ask PyTorch, in another process, what it sees of CUDA; None when it cannot answer."""
    try:
        lines = _run([_CUDA], timeout_s).stdout.splitlines()
    except subprocess.TimeoutExpired:
        return None
    answers = [json.loads(line.removeprefix("@cuda ")) for line in lines if line.startswith("@cuda ")]
    return Cuda(answers[0][0], *map(tuple, answers[0][1:])) if answers else None


def look() -> Environment:
    """Gather everything, in about 20 s when all is installed.

    Trials are made only for what is installed under one of its names: what is absent needs no trial.
    """
    packages = installed()
    owners = {"cv2": OPENCV} | {row.module or row.name: (row.name, *row.rivals) for row in PACKAGES.values()}

    def present(trial: str) -> bool:
        root = re.split(r"[.-]", trial)[0]
        return any(name in packages for name in owners[root])

    cuda = ask_cuda() if "torch" in packages else None
    trials = TRIALS | (CUDA_TRIALS if cuda and cuda.devices else {})
    shm = Path("/dev/shm")
    return Environment(
        python=tuple(sys.version_info[:3]),
        packages=packages,
        wanted=wanted(),
        faults=attempt({name: code for name, code in trials.items() if present(name)}),
        cuda=cuda,
        driver=Path("/proc/driver/nvidia/version").exists(),
        free_gb=shutil.disk_usage(".").free / 1e9,
        shm_gb=shutil.disk_usage(shm).total / 1e9 if shm.is_dir() else None,
    )
