"""Compiled kernels are cached, wherever rtx is installed, and never outlive the code they were made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rtx import compiled


def test_kernels_compile_where_no_cache_can_be_written(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    real = compiled.njit

    def refuse(**options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(compiled, "njit", refuse)
    compiled._warn_uncached.cache_clear()

    @compiled.compiled
    def double(x: int) -> int:
        return 2 * x

    @compiled.compiled
    def triple(x: int) -> int:
        return 3 * x

    assert double(21) == 42 and triple(14) == 42
    assert [r.levelname for r in caplog.records] == ["WARNING"] and "NUMBA_CACHE_DIR" in caplog.text


def counting_process(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """In a new process, compile one kernel of the package in `folder`; print its cache hits, misses and folder."""
    code = (
        "import numpy as np, rtx.corruptions.arithmetic.bits as bits\n"
        "bits.uniforms(np.random.default_rng(0), (4,))\n"
        "stats = bits._fill_uniforms.stats\n"
        "print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), stats.cache_path)\n"
    )
    keep = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=keep | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"} | environment,
        cwd=folder,
        check=True,
    )


@pytest.fixture
def copied_package(tmp_path: Path) -> Path:
    """What `rtx.corruptions.arithmetic.bits` needs of the package, as a copy."""
    source = Path(compiled.__file__).parent
    target = tmp_path / "copy" / "rtx"
    shutil.copytree(source / "corruptions", target / "corruptions", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "compiled.py", "errors.py", "types.py", "rng.py"):
        shutil.copy(source / name, target / name)
    return target.parent


def test_a_change_of_any_file_compiles_anew(copied_package: Path) -> None:
    """A kernel includes what it calls in other files, which numba's own check does not look at."""
    runs = [counting_process(copied_package, {}).stdout.split()[:2] for _ in range(2)]
    assert runs == [["0", "1"], ["1", "0"]]
    with (copied_package / "rtx" / "corruptions" / "arithmetic" / "vector.py").open("a") as file:
        file.write("# changed\n")
    assert counting_process(copied_package, {}).stdout.split()[:2] == ["0", "1"]


@pytest.mark.slow
def test_a_read_only_installation_is_cached_in_the_users_folder_or_not_at_all(
    copied_package: Path, tmp_path: Path
) -> None:
    # A file where the folder should be stands for a folder that cannot be written; it also works for root.
    (copied_package / "rtx" / "corruptions" / "arithmetic" / "__pycache__").write_text("")
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    first, second = (counting_process(copied_package, environment) for _ in range(2))
    assert first.stdout.split()[:2] == ["0", "1"] and second.stdout.split()[:2] == ["1", "0"]
    assert str(home) in second.stdout
    (tmp_path / "file").write_text("")
    nowhere = {"HOME": str(tmp_path / "file"), "XDG_CACHE_HOME": str(tmp_path / "file")}
    done = counting_process(copied_package, nowhere)
    assert done.stdout.split()[2] == "None" and "NUMBA_CACHE_DIR" in done.stderr
    chosen = counting_process(copied_package, nowhere | {"NUMBA_CACHE_DIR": str(tmp_path / "chosen")})
    assert str(tmp_path / "chosen") in chosen.stdout and "NUMBA_CACHE_DIR" not in chosen.stderr


@pytest.mark.slow
def test_a_new_process_compiles_nothing_again() -> None:
    """From the cache, all kernels are ready within seconds; compiling them takes many times as long."""
    code = (
        "import time, numpy as np; start = time.perf_counter()\n"
        "from rtx.corruptions.kernels import KERNELS\n"
        "image = np.zeros((40, 40, 3), np.uint8)\n"
        "for kernel in KERNELS.values(): kernel(image, 3, np.random.default_rng(0))\n"
        "import rtx.corruptions.kernels.gauss as g; print(sum(g._smooth.stats.cache_misses.values()))\n"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.strip() == "0"


def test_importing_the_names_does_not_import_numba() -> None:
    code = "import sys, rtx.corruptions; sys.exit('numba' in sys.modules or 'skimage' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_wait_of_a_first_use_is_explained_and_no_later_one(copied_package: Path, tmp_path: Path) -> None:
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    first, second = (counting_process(copied_package, cache) for _ in range(2))
    assert first.stderr.count("compiling corruption kernels") == 1
    assert "compiling" not in second.stderr


@pytest.mark.parametrize("damage", [b"", b"\x80\x04", b"garbage\xff" * 50], ids=["empty", "cut off", "garbage"])
@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_a_damaged_cache_is_compiled_anew(
    tmp_path: Path, damage: bytes, ending: str, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    import numba

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))

    def double(x: int) -> int:
        return 2 * x

    assert compiled.compiled(double)(21) == 42
    files = sorted((tmp_path / "cache").rglob(f"*.{ending}"))
    assert len(files) == 1
    files[0].write_bytes(damage)
    assert compiled.compiled(double)(4) == 8 and "damaged" in caplog.text
    again: Any = compiled.compiled(double)
    assert again(5) == 10 and sum(again.stats.cache_hits.values()) == 1, "it was written again"


def test_a_cache_that_others_can_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    import numba

    source = tmp_path / "code" / "a.py"
    source.parent.mkdir(mode=0o755)
    source.touch()
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o755)

    def fault() -> str:
        compiled.others_can_write.cache_clear()
        return compiled.others_can_write(cache, source)

    assert fault() == ""
    (cache / "a.nbi").touch()
    (cache / "a.nbi").chmod(0o666)
    assert "others may write" in fault() and "a.nbi" in fault()
    (cache / "a.nbi").chmod(0o644)
    cache.chmod(0o777)
    assert "others may write" in fault()
    compiled._warn_uncached.cache_clear()
    compiled.others_can_write.cache_clear()
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(cache))
    below = tmp_path / "cache"

    @compiled.compiled
    def double(x: int) -> int:
        return 2 * x

    assert double(21) == 42 and not list(below.rglob("*.nbc")), "it compiles in memory"
    assert "others may write" in caplog.text and "a folder of your own" in caplog.text
    cache.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    real = Path.stat

    def of_another(self: Path, **options: Any) -> os.stat_result:
        facts = list(real(self, **options))
        facts[4] = 999 if self == cache else 4321
        return os.stat_result(facts)

    monkeypatch.setattr(Path, "stat", of_another)
    assert "belongs to another user (number 999)" in fault()
