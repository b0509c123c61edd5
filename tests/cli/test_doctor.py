from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rtx import diagnosis
from rtx.cli import doctor
from rtx.cli.main import main
from rtx.environment import PACKAGES, TRIALS, Cuda, Environment, attempt, installed, wanted

GOOD = Environment(
    python=(3, 12, 1),
    packages={
        "setuptools": "81.0.0",
        "numba": "0.68.1",
        "numpy": "2.2.6",
        "torch": "2.11.0",
        "torchvision": "0.26.0",
        "opencv-python": "4.12.0.88",
        "opencv-python-headless": "4.12.0.88",
        "onedl-mmengine": "0.10.12",
        "onedl-mmcv": "2.3.6",
        "onedl-mmdetection": "3.5.1",
        "onedl-mmsegmentation": "1.4.2",
        "onedl-mmpretrain": "1.3.6",
        "imagecorruptions-imaug": "1.1.5",
        "pycocotools": "2.0.11",
        "tensorboard": "2.21.0",
    },
    wanted={"torch": ">=2.4,<2.13", "onedl-mmcv": ">=2.3.6,<2.4"},
    faults=dict.fromkeys(TRIALS, ""),
    cuda=Cuda("13.0", ("NVIDIA H200",), ("9.0",), ("sm_80", "sm_90")),
    driver=True,
    free_gb=100.0,
    shm_gb=8.0,
)


def having(*, without: tuple[str, ...] = (), **packages: str) -> Environment:
    kept = {name: version for name, version in GOOD.packages.items() if name not in without}
    return replace(GOOD, packages=kept | {name.replace("_", "-"): version for name, version in packages.items()})


def failing(**faults: str) -> Environment:
    return replace(GOOD, faults=GOOD.faults | {name.replace("__", "."): text for name, text in faults.items()})


def bad_rows(env: Environment) -> dict[str, diagnosis.Row]:
    return {row.name: row for row in diagnosis.diagnose(env) if row.status == "bad"}


def test_nothing_is_bad_where_all_is_well() -> None:
    assert bad_rows(GOOD) == {}
    assert all(row.status == "ok" for row in diagnosis.diagnose(GOOD))


CLASHES = [
    pytest.param(replace(GOOD, python=(3, 13, 0)), "Python", "3.13", "python3.12", id="python"),
    pytest.param(having(setuptools="82.0.1"), "setuptools", "pkg_resources", "<82", id="setuptools"),
    pytest.param(having(mmcv="2.2.0"), "onedl-mmcv", "share one folder", "pip uninstall -y mmcv &&", id="two mmcv"),
    pytest.param(having(mmcv_lite="2.2.0"), "onedl-mmcv", "mmcv-lite 2.2.0", "uninstall -y mmcv-lite", id="mmcv-lite"),
    pytest.param(
        having(without=("onedl-mmcv",), mmcv="2.1.0"), "onedl-mmcv", "needs onedl-mmcv in its place",
        "uninstall -y mmcv", id="mmcv alone",
    ),
    pytest.param(having(mmdet="3.3.0"), "onedl-mmdetection", "mmdet 3.3.0", "uninstall -y mmdet &&", id="two mmdet"),
    pytest.param(having(mmengine="0.10.7"), "onedl-mmengine", "share one folder", "uninstall -y mmengine", id="engine"),
    pytest.param(
        having(imagecorruptions="1.1.2"), "imagecorruptions-imaug", "share one folder",
        'uninstall -y imagecorruptions && pip install "imagecorruptions-imaug"', id="two imagecorruptions",
    ),
    pytest.param(
        failing(mmcv___ext="ModuleNotFoundError: No module named 'mmcv._ext'"), "onedl-mmcv", "compiled operators",
        "MMCV_WITH_OPS=1", id="no ops",
    ),
    pytest.param(
        failing(mmcv__ops="ImportError: undefined symbol: _ZN3c10"), "onedl-mmcv", "undefined symbol",
        "--no-cache-dir", id="ops of another torch",
    ),
    pytest.param(
        failing(**{"mmcv-cuda": "RuntimeError: nms is not compiled with GPU support"}), "onedl-mmcv", "not on the GPU",
        "FORCE_CUDA=1 ", id="ops for the CPU only",
    ),
    pytest.param(
        failing(torchvision="RuntimeError: operator torchvision::nms does not exist"), "torchvision",
        "nms does not exist", "torchvision==0.26.*", id="torchvision of another torch",
    ),
    pytest.param(having(torch="2.13.0"), "torch", "asks for >=2.4,<2.13", "torch>=2.4,<2.13", id="torch too new"),
    pytest.param(
        failing(**{"torch-numpy": "RuntimeError: Numpy is not available"}), "numpy", "Numpy is not available",
        "pip install", id="numpy of another generation",
    ),
    pytest.param(having(opencv_python="5.0.0.93"), "opencv", "overwrote", "opencv-python==4.12.0.88", id="two opencv"),
    pytest.param(
        failing(cv2="ImportError: libGL.so.1: cannot open shared object file"), "opencv", "libGL",
        "headless==4.12.0.88", id="opencv without libGL",
    ),
    pytest.param(failing(pycocotools="ValueError: size changed"), "pycocotools", "size changed", "--force", id="coco"),
    pytest.param(
        replace(GOOD, cuda=Cuda("13.0")), "CUDA", "does not see it", "CUDA_VISIBLE_DEVICES", id="GPU not seen"
    ),
    pytest.param(replace(GOOD, cuda=Cuda("")), "CUDA", "CPU only, yet there is a GPU", "torch", id="torch for the CPU"),
    pytest.param(
        replace(GOOD, cuda=Cuda("13.0", ("Tesla V100",), ("7.0",), ("sm_80", "compute_90"))), "CUDA", "sm_70",
        "built for this GPU", id="GPU too old",
    ),
    pytest.param(replace(GOOD, free_gb=0.4), "disk", "0 GB", "--work-dir", id="disk full"),
]  # fmt: skip


@pytest.mark.parametrize(("env", "name", "found", "remedy"), CLASHES)
def test_each_clash_is_one_bad_row_with_its_remedy(env: Environment, name: str, found: str, remedy: str) -> None:
    rows = bad_rows(env)
    assert set(rows) == {name}
    assert found in rows[name].found
    assert remedy in rows[name].remedy and "\n" not in rows[name].remedy


def test_what_a_broken_package_breaks_is_mended_there() -> None:
    rows = bad_rows(failing(mmcv="ImportError: boom", mmdet="ImportError: boom", mmseg="KeyError: 'x'"))
    assert set(rows) == {"onedl-mmcv", "onedl-mmdetection", "onedl-mmsegmentation"}
    assert rows["onedl-mmcv"].remedy.startswith("pip install")
    assert rows["onedl-mmdetection"].remedy == "fix onedl-mmcv first, then run `rtx doctor` again"
    alone = bad_rows(failing(mmdet="ImportError: boom"))
    assert "pip install" in alone["onedl-mmdetection"].remedy


def test_what_is_optional_may_be_absent() -> None:
    optional = {name for name, package in PACKAGES.items() if not package.core}
    env = having(without=tuple(optional))
    assert bad_rows(env) == {}
    absent = {row.name for row in diagnosis.diagnose(env) if row.found.startswith("absent")}
    assert absent == optional


@pytest.mark.parametrize("name", ["numpy", "numba", "torch", "onedl-mmengine"])
def test_what_is_not_optional_may_not(name: str) -> None:
    assert set(bad_rows(having(without=(name,)))) == {name}


def test_a_machine_without_gpu_is_no_fault() -> None:
    env = replace(GOOD, driver=False, cuda=Cuda("13.0"))
    assert bad_rows(env) == {}


@pytest.mark.parametrize(
    ("capability", "archs", "runs"),
    [
        ("9.0", ("sm_90",), True),
        ("8.6", ("sm_80",), True),
        ("8.0", ("sm_86",), False),
        ("12.0", ("sm_90",), False),
        ("12.0", ("compute_90",), True),
        ("10.3", ("sm_100",), True),
        ("9.0", ("sm_90a",), True),
        ("7.5", (), False),
    ],
)
def test_cuda_architectures(capability: str, archs: tuple[str, ...], runs: bool) -> None:
    assert diagnosis._runs_on(capability, archs) is runs


def test_a_crash_is_noted_and_the_rest_is_tried() -> None:
    faults = attempt(
        {
            "fine": "import json",
            "wrong": "import no_such_module",
            "crash": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            "loud": "print('try fine'); import os; os._exit(3)",
            "after": "pass",
        }
    )
    assert faults["fine"] == "" and faults["after"] == ""
    assert "no_such_module" in faults["wrong"]
    assert "signal 11" in faults["crash"]
    assert list(faults) == ["fine", "wrong", "crash", "loud", "after"]


def test_a_hang_is_noted() -> None:
    faults = attempt({"hang": "import time; time.sleep(60)", "after": "pass"}, timeout_s=1.0)
    assert faults == {"hang": "no answer within 1 s", "after": ""}


def test_an_interpreter_that_does_not_start_ends_the_search() -> None:
    faults = attempt({"a": "pass", "b": "pass"}, python=["false"])
    assert faults == {"a": "ended with status 1", "b": "ended with status 1"}


def test_names_are_normalised() -> None:
    assert "pytest" in installed() and all(name == name.lower() and "_" not in name for name in installed())
    assert wanted("no-such-distribution") == {}


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "look", lambda: GOOD)
    assert main(["doctor"]) == 0
    assert "no bad row" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "look", lambda: failing(torchvision="[bold]broken"))
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "[bold]broken" in out and "\ntorchvision: pip install" in out
    assert main(["doctor", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False and len(told["rows"]) == len(diagnosis.CHECKS)
    assert told["environment"]["packages"]["torch"] == "2.11.0"
