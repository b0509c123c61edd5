"""Laws of the kernels themselves: tables, variants, order of severity, oddities that are kept, compilation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rtx.corruptions import CORRUPTIONS, compiled, corrupt, frost
from rtx.corruptions.elastic import ElasticField, ElasticLevel
from rtx.corruptions.frost import FILES, FrostField, scaled_size, textures
from rtx.corruptions.glass import glass_blur
from rtx.corruptions.kernels import KERNELS
from rtx.corruptions.motion import trail
from rtx.corruptions.registry import corruption
from rtx.errors import MissingDependency
from rtx.rng import image_rng
from rtx.types import Condition
from tests.corruptions.conftest import made_photo

Image = NDArray[np.uint8]


def out(image: Image, name: str, severity: int, engine: str = "rtx") -> Image:
    condition = Condition(name, severity)
    return corrupt(image, condition, image_rng(0, "k", condition), engine=engine)


def test_every_corruption_has_a_kernel_with_both_tables() -> None:
    assert set(KERNELS) == set(CORRUPTIONS)
    for name, kernel in KERNELS.items():
        assert kernel.name == name and kernel.family == CORRUPTIONS[name]
        assert len(set(kernel.levels)) == 5 and len(set(kernel.cifar10c)) == 5


def test_constants_are_those_of_imagenet_c() -> None:
    """The scalar tables, written out again from the publication's code."""
    expected: dict[str, tuple[Any, ...]] = {
        "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
        "shot_noise": (60, 25, 12, 5, 3),
        "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
        "speckle_noise": (0.15, 0.2, 0.35, 0.45, 0.6),
        "gaussian_blur": (1, 2, 3, 4, 6),
        "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
        "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
        "pixelate": (0.6, 0.5, 0.4, 0.3, 0.25),
        "jpeg_compression": (25, 18, 15, 10, 7),
        "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    }
    cifar: dict[str, tuple[Any, ...]] = {
        "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
        "shot_noise": (500, 250, 100, 75, 50),
        "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
        "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
        "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
        "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
        "jpeg_compression": (80, 65, 58, 50, 40),
    }
    for name, levels in expected.items():
        assert KERNELS[name].levels == levels, name
    for name, levels in cifar.items():
        assert KERNELS[name].cifar10c == levels, name


def test_a_corruption_of_another_family_cannot_be_registered() -> None:
    with pytest.raises(AssertionError, match="fog is not of family noise"):

        @corruption("noise", levels=(1, 2, 3, 4, 5), cifar10c=(1, 2, 3, 4, 5))
        def fog(image: Image, level: int, field: None, fixed: bool) -> Image:
            return image


@pytest.mark.parametrize("name", [n for n in CORRUPTIONS if n not in {"saturate", "spatter"}])
def test_severity_5_is_further_from_the_original_than_severity_1(name: str) -> None:
    image = made_photo(128, 160)
    distance = [np.abs(out(image, name, s).astype(int) - image).mean() for s in (1, 5)]
    assert 0 < distance[0] < distance[1]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_constants_of_cifar10c_are_milder(name: str) -> None:
    image = made_photo(32, 32)
    mild, strong = (
        np.mean([np.abs(out(image, name, s, e).astype(int) - image).mean() for s in (1, 2, 3, 4, 5)])
        for e in ("rtx-cifar10c", "rtx")
    )
    assert mild < strong * (1.3 if name == "spatter" else 1)


def test_jpeg_after_is_a_jpeg_of_the_corrupted_image() -> None:
    from io import BytesIO

    from PIL import Image as Pillow

    image = made_photo(64, 80)
    buffer = BytesIO()
    Pillow.fromarray(out(image, "fog", 3)).save(buffer, "JPEG", quality=85, optimize=True)
    np.testing.assert_array_equal(out(image, "fog", 3, "rtx-jpeg85"), np.asarray(Pillow.open(buffer)))


def test_faithful_rounds_down_and_fixed_to_nearest() -> None:
    grey = np.full((40, 40, 3), 100, np.uint8)
    # Contrast leaves a plain image as it is; brightness adds 25.5 levels.
    assert set(np.unique(out(grey, "brightness", 1))) == {125}
    assert set(np.unique(out(grey, "brightness", 1, "rtx-fixed"))) == {126}


def test_faithful_glass_copies_pixels_and_fixed_swaps_them() -> None:
    image = np.arange(40 * 40, dtype=np.uint16).view(np.uint8)[: 40 * 40].reshape(40, 40)
    image = np.stack([image, image, image], axis=-1)
    level = (1e-9, 2, 3)  # no smoothing: what is left is the shuffle
    rng = np.random.default_rng(0)
    kept = glass_blur.apply(image, level, glass_blur.draw(image, level, rng, False), False)
    swapped = glass_blur.apply(image, level, glass_blur.draw(image, level, rng, True), True)
    assert sorted(swapped[..., 0].ravel()) == sorted(image[..., 0].ravel())
    assert sorted(kept[..., 0].ravel()) != sorted(image[..., 0].ravel())


def test_fixed_zoom_keeps_the_centre() -> None:
    """A picture that is the same left and right stays so under the fixed variant only."""
    half = made_photo(64, 48)
    image = np.concatenate([half, half[:, ::-1]], axis=1)
    fixed = out(image, "zoom_blur", 5, "rtx-fixed").astype(int)
    faithful = out(image, "zoom_blur", 5).astype(int)
    assert np.abs(fixed - fixed[:, ::-1]).mean() < np.abs(faithful - faithful[:, ::-1]).mean()


def test_a_trail_that_leaves_the_image_loses_weight_unless_fixed() -> None:
    for fixed, total in ((False, 0.97), (True, 1.0)):
        shifts, weights = trail(20, 15, angle=0.0, height=32, width=32, fixed=fixed)
        assert np.abs(shifts).max() == 31
        assert float(weights.sum()) == pytest.approx(total, abs=0.02 if not fixed else 1e-6)


@pytest.mark.parametrize("share", [-2.3, -1.2, -0.4, -0.1, 0.1, 0.4, 1.2, 2.3])
def test_elastic_mirrors_however_far_a_pixel_looks(share: float) -> None:
    """All pixels look by the same share of the height up or down, over several strips of rows and beyond both edges."""
    from scipy.ndimage import map_coordinates

    image = made_photo(150, 40)
    height, width = image.shape[:2]
    level = ElasticLevel(alpha=1.0, reach=abs(share))
    moves = np.full((height, 2, width), np.sign(share), np.float32)
    moves[:, 0] = 0
    ours = KERNELS["elastic_transform"].apply(image, level, ElasticField(moves, np.zeros((3, 2))), False)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    expected = [
        map_coordinates(image[..., c].astype(np.float64), [y + share * height, x], order=1, mode="reflect")
        for c in range(3)
    ]
    assert np.abs(ours - np.stack(expected, axis=-1)).max() < 1.1


@pytest.mark.parametrize("shape", [(700, 1000), (2100, 64), (64, 2100), (32, 32)])
def test_frost_is_scaled_to_images_larger_than_its_textures(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    kernel = KERNELS["frost"]
    for texture in range(len(textures())):
        width, height = scaled_size(texture, *shape, None)
        assert height > shape[0] and width > shape[1]
        last = FrostField(texture, height - shape[0] - 1, width - shape[1] - 1)
        assert kernel.apply(image, kernel.levels[2], last, False).shape == image.shape


@pytest.fixture
def unread_textures() -> Iterator[None]:
    """Textures are read again in the test and after it."""
    textures.cache_clear()
    yield
    textures.cache_clear()


def test_textures_are_read_once_a_process(unread_textures: None, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    real = frost.cv2.imread
    monkeypatch.setattr(frost.cv2, "imread", lambda path, *rest: read.append(path) or real(path, *rest))
    for i in range(12):
        condition = Condition("frost", 1 + i % 5)
        corrupt(made_photo(40 + i, 50), condition, image_rng(0, str(i), condition), engine="rtx")
    assert [Path(path).name for path in read] == list(FILES)


def test_frost_without_its_package_or_with_a_damaged_texture_says_what_to_install(
    unread_textures: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(frost.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MissingDependency, match=r"'frost' needs the textures.*pip install imagecorruptions-imaug"):
            out(made_photo(40, 50), "frost", 3)
    (tmp_path / "frost").mkdir()
    (tmp_path / "frost" / "frost1.png").write_bytes(b"no image")
    found = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(frost.importlib.util, "find_spec", lambda name: found)
    with pytest.raises(MissingDependency, match=r"cannot read .*frost1\.png; run: pip uninstall"):
        out(made_photo(40, 50), "frost", 3)


def test_spatter_without_a_drop_leaves_the_image() -> None:
    image = made_photo(32, 32)
    kernel = KERNELS["spatter"]
    np.testing.assert_array_equal(kernel.apply(image, kernel.levels[0], np.full((32, 32), -5.0), False), image)


def test_kernels_compile_where_no_cache_can_be_written(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    real = compiled.njit

    def refuse(**options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(compiled, "njit", refuse)
    monkeypatch.setattr(compiled, "_said", False)

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
        "import numpy as np, rtx.corruptions.bits as bits\n"
        "bits.uniforms(np.random.default_rng(0), (4,))\n"
        "stats = bits._fill_uniform.stats\n"
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
    """What `rtx.corruptions.bits` needs of the package, as a copy."""
    source = Path(compiled.__file__).parents[1]
    target = tmp_path / "copy" / "rtx"
    shutil.copytree(source / "corruptions", target / "corruptions", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "errors.py", "types.py", "rng.py"):
        shutil.copy(source / name, target / name)
    return target.parent


def test_a_change_of_any_file_compiles_anew(copied_package: Path) -> None:
    """A kernel includes what it calls in other files, which numba's own check does not look at."""
    runs = [counting_process(copied_package, {}).stdout.split()[:2] for _ in range(2)]
    assert runs == [["0", "1"], ["1", "0"]]
    with (copied_package / "rtx" / "corruptions" / "vector.py").open("a") as file:
        file.write("# changed\n")
    assert counting_process(copied_package, {}).stdout.split()[:2] == ["0", "1"]


@pytest.mark.slow
@pytest.mark.ci
def test_a_read_only_installation_is_cached_in_the_users_folder_or_not_at_all(
    copied_package: Path, tmp_path: Path
) -> None:
    # A file where the folder should be stands for a folder that cannot be written; it also works for root.
    (copied_package / "rtx" / "corruptions" / "__pycache__").write_text("")
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
@pytest.mark.ci
def test_a_new_process_compiles_nothing_again() -> None:
    """From the cache, all kernels are ready within seconds; compiling them takes many times as long."""
    code = (
        "import time, numpy as np; start = time.perf_counter()\n"
        "from rtx.corruptions.kernels import KERNELS\n"
        "image = np.zeros((40, 40, 3), np.uint8)\n"
        "for kernel in KERNELS.values(): kernel(image, 3, np.random.default_rng(0))\n"
        "import rtx.corruptions.gauss as g; print(sum(g._smooth.stats.cache_misses.values()))\n"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.strip() == "0"


def test_importing_the_names_does_not_import_numba() -> None:
    code = "import sys, rtx.corruptions; sys.exit('numba' in sys.modules or 'skimage' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
