"""What can be known of the image without building it: its entry point, and what NCCL and runtimes look for."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

DOCKER = Path(__file__).resolve().parents[1] / "docker"


def caches(tmp_path: Path, **env: str) -> tuple[Path, Path]:
    """Folders of numba and Matplotlib that a command is given, which also gets its words as they are."""
    words = ["sh", "-c", 'printf "%s\\n" "$NUMBA_CACHE_DIR" "$MPLCONFIGDIR" "$1"; exit 5', "-", "two words"]
    done = subprocess.run(
        [DOCKER / "bin" / "entrypoint", *words],
        env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)} | env,
        capture_output=True,
        text=True,
        check=False,
    )
    numba, matplotlib, word = done.stdout.splitlines()
    assert done.returncode == 5 and word == "two words" and done.stderr == ""
    return Path(numba), Path(matplotlib)


def test_the_caches_belong_to_the_user_alone_and_are_found_again(tmp_path: Path) -> None:
    numba, matplotlib = caches(tmp_path)
    home = numba.parent
    assert home == matplotlib.parent == tmp_path / f"rtx-{os.getuid()}"
    assert home.stat().st_mode & 0o777 == 0o700 and home.stat().st_uid == os.getuid()
    assert caches(tmp_path) == (numba, matplotlib)
    assert caches(tmp_path, NUMBA_CACHE_DIR="/mine")[0] == Path("/mine")


@pytest.mark.parametrize("trap", ["open to all", "a link", "a file"])
def test_a_folder_that_another_user_could_fill_is_not_used(tmp_path: Path, trap: str) -> None:
    usual = tmp_path / f"rtx-{os.getuid()}"
    if trap == "open to all":
        usual.mkdir()
        usual.chmod(0o777)
    elif trap == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        usual.symlink_to("elsewhere")
    else:
        usual.write_text("")
    numba, _ = caches(tmp_path)
    assert numba.parent != usual and numba.parent.stat().st_mode & 0o777 == 0o700


def test_a_container_that_can_write_nothing_starts_too() -> None:
    env = {"PATH": os.environ["PATH"], "TMPDIR": "/nowhere/at/all"}
    done = subprocess.run([DOCKER / "bin" / "entrypoint", "echo", "here"], env=env, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"here\n", b"")


def test_the_image_starts_there_and_has_what_nccl_and_enroot_look_for() -> None:
    text = (DOCKER / "Dockerfile").read_text().partition("FROM ${BASE_RUNTIME}")[2]
    assert re.search(r'^ENTRYPOINT \["/opt/rtx/docker/bin/entrypoint"\]$', text, re.M)
    assert "NUMBA_CACHE_DIR" not in text and "ibverbs-providers libibverbs1" in text
    assert "NVIDIA_VISIBLE_DEVICES=all" in text and "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in text
