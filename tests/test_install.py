"""tools/install.sh, run whole with an interpreter that only writes down what it is asked to do; and the pins."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]

# Stands for `python`, and in the environment it "makes" for that environment's python and pip.
FAKE = """#!/usr/bin/env bash
case "$*" in
    -V) echo "Python 3.{minor}.1" ;;
    -VV) echo "Python 3.{minor}.1 (fake)" ;;
    *"sys.version_info[:2] <="*) [ {minor} -ge 10 ] && [ {minor} -le 12 ] ;;
    *'"cp%d%d"'*) echo cp3{minor} ;;
    *"python%d.%d-dev"*) echo python3.{minor}-dev ;;
    *ensurepip*) ;;
    *get_paths*) echo /nowhere ;;
    *getBuildInformation*) echo "GUI:    NONE" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *"import torch"*) exit 1 ;;
    *"pip wheel"*)
        echo "$* [FORCE_CUDA=$FORCE_CUDA MMCV_WITH_OPS=$MMCV_WITH_OPS CFLAGS=$CFLAGS PATH=${PATH%%:*}]" \\
            "[ARCHS=$TORCH_CUDA_ARCH_LIST] [JOBS=$MAX_JOBS]" >>"$ASKED"
        while [ "$1" != -w ]; do shift; done
        mkdir -p "$2" && touch "$2/onedl_mmcv-9-cp3{minor}-none-any.whl" ;;
    "-m pip "*)
        echo "$*" >>"$ASKED"
        case "$*" in *"${FAIL:-no such step}"*) echo "the index is on fire"; exit 1 ;; esac ;;
esac
"""


class World:
    """A copy of what the script reads, a fake interpreter, and what was asked of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "tools").mkdir()
        for name in ("constraints.txt", "setup.py", "tools/install.sh"):
            shutil.copy(ROOT / name, root / name)
        self.interpreter()
        cxx = root / "cxx"
        cxx.write_text("#!/bin/sh\ncat >/dev/null\n")
        cxx.chmod(0o755)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(root / "home"),
            "PYTHON": str(root / "python"),
            "CXX": str(cxx),
            "ASKED": str(root / "asked"),
            "RTX_MIN_GB": "0",
            "RTX_OPS": "cpu",
        }

    def interpreter(self, minor: int = 11) -> None:
        path = self.root / "python"
        path.write_text(FAKE.replace("{minor}", str(minor)))
        path.chmod(0o755)

    def run(self, **env: str) -> subprocess.CompletedProcess[str]:
        (self.root / "asked").write_text("")
        return subprocess.run(
            ["tools/install.sh"], cwd=self.root, env=self.env | env, capture_output=True, text=True, check=False
        )

    @property
    def asked(self) -> list[str]:
        return (self.root / "asked").read_text().splitlines()

    @property
    def compiled_for(self) -> list[str]:
        """GPUs that ops were compiled for in the last run; nothing where kept ones served."""
        return re.findall(r"\[ARCHS=(.*?)\]", "\n".join(self.asked))

    def program(self, name: str, text: str) -> None:
        path = self.root / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        self.env["PATH"] = f"{path.parent}:{os.environ['PATH']}"

    def gpus(self, *capabilities: str) -> None:
        lines = " ".join(f"'{c}'" for c in capabilities)
        self.program("nvidia-smi", f"printf '%s\\n' {lines}" if capabilities else "exit 9")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_whole_install_then_nothing_to_do(world: World) -> None:
    done = world.run()
    assert done.returncode == 0, done.stderr
    titles = re.findall(r"^\[(\d)/7\] ", done.stdout, re.M)
    assert titles == list("1234567")
    install = [line for line in world.asked if " install " in line]
    # Build tools, then torch, then mmcv against it, then the rest; every one under the same pins.
    # pip leaves an installed mmcv as it is when it is given a wheel of the same version, so that it needs telling.
    words = ("setuptools", "torchvision", "onedl_mmcv-9", "--force-reinstall --no-deps", "-e .[all,dev]")
    assert len(install) == len(words)
    assert all(word in line and "-c constraints.txt" in line for word, line in zip(words, install, strict=True))
    assert world.asked[-1].endswith("pip check")

    again = world.run()
    assert again.returncode == 0 and "up to date" in again.stdout and world.asked == []


def test_the_compiled_ops_are_kept_for_the_next_environment(world: World) -> None:
    assert world.run().returncode == 0
    assert sum("pip wheel" in line for line in world.asked) == 1
    # ninja lies in the environment's own bin.
    assert f"[FORCE_CUDA=0 MMCV_WITH_OPS=1 CFLAGS=-g0 PATH={world.root}/.venv/bin]" in "\n".join(world.asked)
    shutil.rmtree(world.root / ".venv")
    world.env["CXX"] = "/no/compiler"  # none is needed now
    assert world.run().returncode == 0
    assert not any("pip wheel" in line for line in world.asked)


@pytest.mark.parametrize("change", ["torch", "python", "ops"])
def test_ops_of_another_torch_python_or_kind_are_not_reused(world: World, change: str) -> None:
    assert world.run().returncode == 0
    shutil.rmtree(world.root / ".venv")
    if change == "torch":
        pins = world.root / "constraints.txt"
        pins.write_text(re.sub(r"^torch==.*$", "torch==2.12.0", pins.read_text(), flags=re.M))
    elif change == "python":
        world.interpreter(12)
    else:
        world.env["RTX_OPS"] = "cuda"
    assert world.run().returncode == 0
    built = [line for line in world.asked if "pip wheel" in line]
    assert len(built) == 1 and (change != "ops" or "FORCE_CUDA=1" in built[0])


ALL_ARCHS = "7.5;8.0;8.6;9.0;10.0;12.0+PTX"


def test_without_a_gpu_the_ops_are_compiled_for_all(world: World) -> None:
    world.gpus()
    assert world.run(RTX_OPS="cuda").returncode == 0
    assert world.compiled_for == [ALL_ARCHS]
    assert f'ARG TORCH_CUDA_ARCH_LIST="{ALL_ARCHS}"' in (ROOT / "docker" / "Dockerfile").read_text()


def test_ops_compiled_for_one_gpu_are_not_reused_on_another(world: World) -> None:
    world.env["RTX_OPS"] = "cuda"
    world.gpus("9.0", "9.0")
    assert world.run().returncode == 0 and world.compiled_for == ["9.0+PTX"]
    world.gpus("8.0")
    again = world.run()
    assert again.returncode == 0 and "up to date" not in again.stdout
    assert world.compiled_for == ["8.0+PTX"]
    assert any("--force-reinstall" in line and "8.0_PTX" in line.replace("+", "_") for line in world.asked)
    # Both are kept for the next environment, and what is given decides.
    shutil.rmtree(world.root / ".venv")
    world.gpus("9.0")
    assert world.run().returncode == 0 and world.compiled_for == []
    assert world.run(TORCH_CUDA_ARCH_LIST="8.0;9.0").returncode == 0 and world.compiled_for == ["8.0;9.0"]


def test_an_environment_that_serves_every_node_is_left_alone(world: World) -> None:
    world.env["RTX_OPS"] = "cuda"
    world.gpus()
    assert world.run().returncode == 0
    for capabilities in (["8.0"], ["9.0"], ["8.9", "7.5"], []):
        world.gpus(*capabilities)
        assert "up to date" in world.run().stdout, capabilities
    world.gpus("11.0")
    assert world.run().returncode == 0 and world.compiled_for == ["11.0+PTX"]


def test_nvcc_gets_twice_the_memory(world: World) -> None:
    world.gpus()
    world.program("nproc", "echo 100000")
    jobs = {}
    for ops in ("cpu", "cuda"):
        assert world.run(RTX_OPS=ops).returncode == 0
        jobs[ops] = int(re.findall(r"\[JOBS=(\d+)\]", "\n".join(world.asked))[0])
    assert 1 <= jobs["cuda"] <= jobs["cpu"] * 0.75 or jobs["cpu"] <= 2
    assert world.run(RTX_OPS="cuda", MAX_JOBS="7", TORCH_CUDA_ARCH_LIST="8.6").returncode == 0
    assert any("[JOBS=7]" in line for line in world.asked)


def test_changed_pins_install_again(world: World) -> None:
    assert world.run().returncode == 0
    with (world.root / "constraints.txt").open("a") as pins:
        pins.write("# a newer pin\n")
    assert world.run().returncode == 0
    assert any("-e .[all,dev]" in line for line in world.asked)


def test_a_failed_step_shows_the_log_and_is_taken_up_again(world: World) -> None:
    done = world.run(FAIL="torchvision")
    assert done.returncode == 1
    assert "the index is on fire" in done.stderr and "step 3" in done.stderr and "install.log" in done.stderr
    assert not any("-e ." in line for line in world.asked)
    assert world.run().returncode == 0


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"PYTHON": "/no/python"}, "no such program"),
        ({"CXX": "/no/compiler"}, r"no C\+\+ compiler \(/no/compiler\).*build-essential"),
        ({"CXX": "false"}, "Python headers in /nowhere.*python3.11-dev"),
        ({"RTX_MIN_GB": "99999999"}, "GB free under .*, need 99999999"),
        ({"RTX_OPS": "tpu"}, "RTX_OPS=tpu: must be cpu or cuda"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_done(world: World, env: dict[str, str], message: str) -> None:
    done = world.run(**env)
    assert done.returncode == 1 and world.asked == []
    assert re.search(message, done.stderr)


@pytest.mark.parametrize("minor", [9, 13])
def test_other_pythons_are_refused(world: World, minor: int) -> None:
    world.interpreter(minor)
    done = world.run()
    assert done.returncode == 1 and f"is Python 3.{minor}.1: need Python 3.10, 3.11 or 3.12" in done.stderr


def test_an_environment_of_another_python_is_not_mixed(world: World) -> None:
    assert world.run().returncode == 0
    world.interpreter(12)
    done = world.run()
    assert done.returncode == 1 and "was made with Python 3.11.1" in done.stderr
    # Without a wish, the environment that stands keeps its version.
    del world.env["PYTHON"]
    assert world.run().returncode == 0


def pins() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def test_every_pin_is_exact_and_alone_for_each_python() -> None:
    for name, requirements in pins().items():
        for python in ("3.10", "3.11", "3.12"):
            fitting = [r for r in requirements if r.marker is None or r.marker.evaluate({"python_version": python})]
            assert len(fitting) <= 1, (name, python)
        assert all(re.fullmatch(r"==[\w.]+", str(r.specifier)) for r in requirements), name


def test_the_pins_fit_what_setup_asks_for() -> None:
    pinned = pins()
    for text in metadata.requires("rtx-robustness") or []:
        wanted = Requirement(text)
        for pin in pinned[canonicalize_name(wanted.name)]:
            assert wanted.specifier.contains(str(pin.specifier).removeprefix("=="), prereleases=True), (text, str(pin))


def test_no_package_is_pinned_that_overwrites_another() -> None:
    assert set(pins()).isdisjoint(
        {"imagecorruptions", "mmcv", "mmcv-lite", "mmcv-full", "mmdet", "mmengine", "mmsegmentation", "mmpretrain"}
    )


def test_what_is_installed_is_what_is_pinned() -> None:
    """Holds in the environment of the project; another one (a GPU machine's own) has other versions."""
    if Path(sys.prefix).resolve() != (ROOT / ".venv").resolve() and not os.environ.get("CI"):
        pytest.skip("not running in the project's .venv")
    for name, requirements in pins().items():
        for pin in requirements:
            try:
                version = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
            if name != "pip" and (pin.marker is None or pin.marker.evaluate()):
                assert pin.specifier.contains(version, prereleases=True), f"{name} {version}, pinned {pin}"


def test_no_file_names_a_registry_or_a_machine() -> None:
    files = [
        "constraints.txt",
        "setup.py",
        "pyproject.toml",
        "Makefile",
        "tools/install.sh",
        "docker/Dockerfile",
        ".ci/run",
    ]
    for name in files:
        text = (ROOT / name).read_text()
        assert not re.search(r"https?://|--(extra-)?index-url|/opt/(pypi|wheels)|/work/", text), name


def run_launcher(script: str, *arguments: str, tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """With programs in the place of python and srun that print what they are given."""
    for name in ("python", "srun"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        program.chmod(0o755)
    return subprocess.run(
        [ROOT / "tools" / script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": "python"} | env,
    )


def test_dist_train_hands_over_to_torchrun(tmp_path: Path) -> None:
    env = {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1", "PORT": "29501"}
    done = run_launcher("dist_train.sh", "c.py", "8", "--amp", "--work-dir", "a b", tmp_path=tmp_path, **env)
    assert done.stdout.startswith(
        "python -m torch.distributed.run --nnodes=2 --node_rank=1 --master_addr=10.0.0.1 --master_port=29501 "
        "--nproc_per_node=8 "
    )
    assert done.stdout.endswith("tools/train.py c.py --launcher pytorch --amp --work-dir a b\n")


def test_dist_train_on_one_node_takes_a_free_port(tmp_path: Path) -> None:
    done = run_launcher("dist_train.sh", "c.py", "2", tmp_path=tmp_path)
    assert done.stdout.startswith("python -m torch.distributed.run --standalone --nproc_per_node=2 ")


def test_slurm_train_hands_over_to_srun(tmp_path: Path) -> None:
    env = {"GPUS": "16", "SRUN_ARGS": "--time=1:00:00 --qos=low"}
    done = run_launcher("slurm_train.sh", "gpu", "job", "c.py", "--amp", tmp_path=tmp_path, **env)
    assert done.stdout.startswith("srun -p gpu --job-name=job --gres=gpu:8 --ntasks=16 --ntasks-per-node=8 ")
    assert "--time=1:00:00 --qos=low python -u" in done.stdout
    assert done.stdout.endswith("tools/train.py c.py --launcher slurm --amp\n")


@pytest.mark.parametrize(
    ("script", "arguments"),
    [("dist_train.sh", ["c.py"]), ("dist_train.sh", ["c.py", "--amp"]), ("slurm_train.sh", ["gpu", "job"])],
)
def test_launchers_say_how_they_are_used(script: str, arguments: list[str], tmp_path: Path) -> None:
    done = run_launcher(script, *arguments, tmp_path=tmp_path)
    assert done.returncode == 2 and script in done.stderr and done.stdout == ""
