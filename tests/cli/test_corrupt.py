"""`rtx corrupt`: the files are what an evaluation sees, broken images do not stop the rest, a second call goes on."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from rtx.cli.main import main
from rtx.corruptions import corrupt
from rtx.datasets.annotated import read_annotated
from rtx.datasets.cityscapes import label_maps
from rtx.datasets.image_files import read_rgb
from rtx.rng import image_rng
from rtx.types import Condition
from tests.corruptions.conftest import made_photo
from tests.datasets.layout_worlds import make_cityscapes, to_yolo

ENGINE = ["--engine", "rtx"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for i, name in enumerate(["a.png", "b.jpg", "deep/c.png"]):
        cv2.imwrite(str(folder / name), made_photo(40 + i, 50, seed=i)[..., ::-1])
    return folder


def manifest(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def test_files_hold_the_pixels_of_an_evaluation(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    names = ["fog", "glass_blur", "impulse_noise"]
    arguments = ["--corruptions", *names, "--severities", "2", "5", "--seed", "3", "--lossless", *ENGINE]
    assert main(["corrupt", str(photos), "--out", str(out), *arguments]) == 0
    for source in ("a.png", "b.jpg", "deep/c.png"):
        image = read_rgb(photos / source)
        for name in names:
            for severity in (2, 5):
                condition = Condition(name, severity)
                expected = corrupt(image, condition, image_rng(3, Path(source).stem, condition), engine="rtx")
                written = read_rgb(out / condition.key / source)
                np.testing.assert_array_equal(written, expected)
    records = manifest(out)
    assert records[0]["settings"]["seed"] == 3 and records[0]["settings"]["engine"] == "rtx"
    assert len(records) == 1 + 3 * 3 * 2
    for record in records[1:]:
        content = (out / record["file"]).read_bytes()
        assert record["sha256"] == hashlib.sha256(content).hexdigest() and record["bytes"] == len(content)
        assert record["pixels_sha256"] == hashlib.sha256(read_rgb(out / record["file"]).tobytes()).hexdigest()


def test_elastic_pixels_of_two_smoothings_are_never_mixed(photos: Path, tmp_path: Path, capsys) -> None:
    """Large images were once smoothed as small ones are; a manifest from then does not state it."""
    cv2.imwrite(str(photos / "large.jpg"), np.tile(made_photo(50, 70), (24, 27, 1)))
    out = tmp_path / "out"
    base = ["corrupt", str(photos), "--out", str(out), "--severities", "1", *ENGINE, "--corruptions"]
    assert main([*base, "elastic_transform"]) == 0
    assert manifest(out)[0]["settings"]["elastic_smoothing"] == "sliding_waves"
    assert main([*base, "elastic_transform"]) == 0
    assert "0 files written, 4 were there" in capsys.readouterr().out

    lines = (out / "manifest.jsonl").read_text().splitlines()
    head = json.loads(lines[0])
    del head["settings"]["elastic_smoothing"]
    old = "\n".join([json.dumps(head), *lines[1:]]) + "\n"
    (out / "manifest.jsonl").write_text(old)
    assert main([*base, "contrast"]) == 2
    said = capsys.readouterr().err
    assert "elastic_transform_1/large.jpg" in said and "another way" in said and "use a new folder" in said
    assert (out / "manifest.jsonl").read_text() == old and not (out / "contrast_1").exists()

    # The remedy; what is not of elastic transform, or small, is kept.
    shutil.rmtree(out / "elastic_transform_1")
    assert main([*base, "elastic_transform", "contrast"]) == 0
    assert "8 files written, 0 were there" in capsys.readouterr().out
    assert manifest(out)[0]["settings"]["elastic_smoothing"] == "sliding_waves"
    (out / "elastic_transform_1" / "large.jpg").unlink()
    (out / "manifest.jsonl").write_text("\n".join([json.dumps(head), *lines[1:]]) + "\n")
    assert main([*base, "elastic_transform"]) == 0
    assert "1 files written, 3 were there" in capsys.readouterr().out


def test_without_a_large_image_no_smoothing_is_stated(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    base = ["corrupt", str(photos), "--out", str(out), "--severities", "1", *ENGINE, "--corruptions"]
    assert main([*base, "elastic_transform"]) == 0
    before = (out / "manifest.jsonl").read_bytes()
    assert "elastic_smoothing" not in manifest(out)[0]["settings"]
    # A large image that comes later is no conflict with small ones.
    cv2.imwrite(str(photos / "large.jpg"), np.tile(made_photo(50, 70), (24, 27, 1)))
    assert main([*base, "elastic_transform"]) == 0
    assert manifest(out)[0]["settings"]["elastic_smoothing"] == "sliding_waves"
    assert (out / "manifest.jsonl").read_bytes().split(b"\n")[1:4] == before.split(b"\n")[1:4]


def test_a_second_call_goes_on_and_other_settings_are_refused(photos: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    base = ["corrupt", str(photos), "--out", str(out), "--corruptions", "contrast", *ENGINE]
    assert main([*base, "--severities", "1"]) == 0
    first = (out / "contrast_1" / "a.png").stat().st_mtime_ns
    (out / "contrast_1" / "b.jpg").unlink()
    # A crash in the middle of a line of the manifest.
    with (out / "manifest.jsonl").open("a") as file:
        file.write('{"file": "contr')
    assert main([*base, "--severities", "1", "2"]) == 0
    assert "4 files written, 2 were there" in capsys.readouterr().out
    assert (out / "contrast_1" / "a.png").stat().st_mtime_ns == first
    assert (out / "contrast_1" / "b.jpg").is_file()
    assert main([*base, "--severities", "1", "2"]) == 0
    assert "0 files written, 6 were there" in capsys.readouterr().out
    assert main([*base, "--seed", "1"]) == 2
    assert "RunConflict" in capsys.readouterr().err


def test_an_image_or_label_that_was_replaced_is_exported_again(made_ade: Path, tmp_path: Path, capsys) -> None:
    data, out = tmp_path / "ade", tmp_path / "out"
    shutil.copytree(made_ade, data)
    base = ["corrupt", str(data), "--out", str(out), "--corruptions", "contrast", "--severities", "1", "2", *ENGINE]
    assert main(base) == 0
    images = sorted(path.relative_to(data) for path in (data / "images" / "validation").iterdir())
    labels = sorted(path.relative_to(data) for path in (data / "annotations" / "validation").iterdir())
    for files in (images, labels):
        # Another file under the name, of the same size: only its content tells.
        a, b = (data / files[0]).read_bytes(), (data / files[1]).read_bytes()
        longest = max(len(a), len(b))
        (data / files[0]).write_bytes(b.ljust(longest, b"\0"))
    capsys.readouterr()
    assert main(base) == 0
    assert f"2 files written, {2 * (len(images) - 1)} were there" in capsys.readouterr().out
    for key in ("contrast_1", "contrast_2"):
        assert (out / key / labels[0]).read_bytes() == (data / labels[0]).read_bytes()
        assert (out / key / labels[1]).read_bytes() == (data / labels[1]).read_bytes()
    image, source = read_rgb(data / images[0]), hashlib.sha256((data / images[0]).read_bytes()).hexdigest()
    rows = [row for row in manifest(out)[1:] if row["file"].endswith(f"contrast_1/{images[0].as_posix()}")]
    assert len(rows) == 2 and rows[1]["source_sha256"] == source != rows[0]["source_sha256"]
    condition = Condition("contrast", 1)
    pixels = corrupt(image, condition, image_rng(0, images[0].stem, condition), engine="rtx")
    assert rows[1]["pixels_sha256"] == hashlib.sha256(pixels.tobytes()).hexdigest()
    assert main(base) == 0
    assert "0 files written" in capsys.readouterr().out


def test_a_broken_file_among_good_ones_is_listed(photos: Path, tmp_path: Path, capsys) -> None:
    whole = (photos / "b.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "empty.png").write_bytes(b"")
    (photos / "text.jpg").write_text("not an image")
    cv2.imwrite(str(photos / "small.png"), np.zeros((31, 60, 3), np.uint8))
    out = tmp_path / "out"
    assert main(["corrupt", str(photos), "--out", str(out), "--corruptions", "fog", "--severities", "3", *ENGINE]) == 1
    err = capsys.readouterr().err
    for name in ("cut.jpg", "empty.png", "text.jpg", "small.png"):
        assert f"failed: {name}" in err
    assert "4 of 7 images failed" in err and "60x31" in err
    assert sorted(p.name for p in (out / "fog_3").rglob("*.*")) == ["a.png", "b.jpg", "c.png"]


@pytest.mark.slow
@pytest.mark.ci
def test_processes_write_the_same_files(photos: Path, tmp_path: Path) -> None:
    hashes = []
    for processes in ("1", "2"):
        out = tmp_path / processes
        arguments = ["--corruptions", "noise", "snow", "--processes", processes, *ENGINE]
        assert main(["corrupt", str(photos), "--out", str(out), *arguments]) == 0
        hashes.append({r["file"]: r["sha256"] for r in manifest(out)[1:]})
    assert hashes[0] == hashes[1] and len(hashes[0]) == 3 * 4 * 5


def test_processes_import_nothing_from_the_current_folder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `PYTHONSAFEPATH`, which Python 3.10 does not know: the processes are started elsewhere and come back."""
    for module in ("pickle", "random", "threading", "numpy", "cv2", "rtx"):
        (photos.parent / f"{module}.py").write_text(f"open({str(photos.parent / 'ran')!r}, 'a').write('{module} ')")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.chdir(photos.parent)
    assert main(["corrupt", "photos", "--out", "out", "--corruptions", "fog", "--processes", "2", *ENGINE]) == 0
    assert len(manifest(photos.parent / "out")) == 1 + 3 * 5
    assert not (photos.parent / "ran").exists(), (photos.parent / "ran").read_text()


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in brackets may hold blanks.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers through /proc")
def test_a_killed_export_leaves_no_process_and_goes_on(tmp_path: Path, capsys) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for i in range(12):
        cv2.imwrite(str(photos / f"{i}.png"), made_photo(200, 300, seed=i)[..., ::-1])
    arguments = ["corrupt", str(photos), "--out", str(out), "--corruptions", "blur", "--processes", "2", *ENGINE]
    process = subprocess.Popen([sys.executable, "-m", "rtx.cli.main", *arguments], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (out / "manifest.jsonl").exists() or len((out / "manifest.jsonl").read_text().splitlines()) < 2:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        workers = children_of(process.pid)
    finally:
        process.kill()
        process.wait()
    assert len(workers) >= 2
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "a worker outlives its export"
        time.sleep(0.05)
    assert main(arguments) == 0
    written, kept = re.search(r"(\d+) files written, (\d+) were there", capsys.readouterr().out).groups()
    assert int(kept) > 0 and int(written) + int(kept) == 12 * 4 * 5
    assert len(manifest(out)) == 1 + 12 * 4 * 5


def test_contact_sheet_of_one_image(photos: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    assert main(["corrupt", str(photos / "a.png"), "--out", str(sheet), *ENGINE]) == 0
    image = read_rgb(sheet)
    assert image.shape[0] > 15 * 40 and image.shape[1] > 5 * 50
    # Not one cell is left blank.
    cells = [image[24 + j * 46 : 64 + j * 46, 140 + i * 56 : 190 + i * 56] for j in range(15) for i in range(5)]
    assert all(len(np.unique(cell)) > 2 for cell in cells)


@pytest.mark.parametrize(
    ("layout", "fixture", "kept"),
    [
        ("coco", "made_coco", "annotations/instances_val2017.json"),
        ("voc", "made_voc", "VOCdevkit/VOC2007/ImageSets/Main/test.txt"),
        ("ade", "made_ade", None),
    ],
)
def test_data_folders_keep_their_layout(
    layout: str, fixture: str, kept: str | None, tmp_path: Path, capsys, request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(fixture)
    out = tmp_path / "out"
    arguments = ["--corruptions", "contrast", "pixelate", "--severities", "3", *ENGINE]
    assert main(["corrupt", str(root), "--out", str(out), *arguments]) == 0
    printed = capsys.readouterr().out
    assert f"layout {layout}" in printed
    for key in ("contrast_3", "pixelate_3"):
        written = [p.relative_to(out / key) for p in (out / key).rglob("*") if p.is_file()]
        assert len(written) > 2
        for file in written:
            assert (root / file).is_file(), file
        if kept:
            assert (out / key / kept).read_bytes() == (root / kept).read_bytes()
        if layout == "ade":
            images = {p.stem for p in written if p.parts[0] == "images"}
            assert images == {p.stem for p in written if p.parts[0] == "annotations"} and images
        assert not [p for p in written if "train" in str(p)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.jpg", "--out", "o"], "missing.jpg: no such file"),
        ([".", "--out", "../o"], "no images"),
        ([".", "--out", "o"], "lies in the data folder"),
        (["fog_3/deep", "--out", ".", "--corruptions", "fog"], "fog_3 is what is read"),
        (["fog_3/deep/a.png", "--out", ".", "--corruptions", "fog"], "fog_3 is what is read"),
        (["a.png", "--out", "o", "--corruptions", "fogg"], "did you mean 'fog'"),
        (["a.png", "--out", "o", "--severities", "0"], "severity 0"),
        (["a.png", "--out", "o", "--severities", "6"], "severity 6"),
        (["a.png", "--out", "o", "--quality", "0"], "--quality 0"),
        (["a.png", "--out", "o", "--processes", "0"], "--processes 0"),
        (["a.png", "--out", "o", "--compare", "rtx"], "contact sheet"),
        ([".", "--out", "o.png"], "a contact sheet is of one image"),
    ],
)
def test_bad_arguments_are_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fog_3" / "deep").mkdir(parents=True)
    cv2.imwrite("fog_3/deep/a.png", made_photo(40, 40))
    if arguments[0] == ".":
        Path("fog_3/deep/a.png").unlink()
    if "a.png" in arguments:
        cv2.imwrite("a.png", made_photo(40, 40))
    assert main(["corrupt", *arguments, *ENGINE]) == 2
    err = capsys.readouterr().err.strip()
    assert said in err and "\n" not in err


def test_yolo_and_cityscapes_go_along_whole(made_coco: Path, tmp_path: Path) -> None:
    """A corrupted copy is read by the same reader: the same objects on other pixels."""
    to_yolo(made_coco, tmp_path / "set")
    text = (tmp_path / "set/data.yaml").read_text()
    (tmp_path / "set/data.yaml").write_text(text.replace("path: .", f"path: {tmp_path / 'set'}"))
    make_cityscapes(tmp_path / "city")
    for layout, home in (("yolo", tmp_path / "set"), ("cityscapes", tmp_path / "city")):
        out = tmp_path / f"{layout}_c"
        words = ["--corruptions", "fog", "gaussian_noise", "--severities", "3", "--lossless"]
        assert main(["corrupt", str(home), "--out", str(out), *words]) == 0
        for key in ("fog_3", "gaussian_noise_3"):
            copy = read_annotated(out / key, layout, "val")
            assert copy.tables == read_annotated(home, layout, "val").tables and not copy.notes
            for row in copy.tables["images"]:
                assert (read_rgb(out / key / row["file_name"]) != read_rgb(home / row["file_name"])).any()
        assert main(["corrupt", str(home), "--out", str(out), *words]) == 0
    assert "path" not in (tmp_path / "yolo_c/fog_3/data.yaml").read_text()
    assert label_maps(tmp_path / "cityscapes_c/fog_3", "val")[0].endswith("labelTrainIds.png")
