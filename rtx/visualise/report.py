"""Search images for several networks, keep each, and put them side by side on a sheet."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageOps
from torch import Tensor

from rtx.errors import BadValue, DataError, RunConflict
from rtx.files import file_sha256, json_ready, read_json, write_atomic, write_whole
from rtx.reports.figures.style import save, settings
from rtx.reports.figures.visualise import SheetImage, sheet
from rtx.visualise.layers import Layer
from rtx.visualise.parametrisations import mean_magnitude
from rtx.visualise.search import Search, activation, nearness, search
from rtx.visualise.subject import Looked

log = logging.getLogger(__name__)

RECORD, SHEET = "visualise.json", "sheet"
NOISE_MEAN, NOISE_DEVIATION = 0.5, 0.05
"""Of the noise that a search starts from, N(1/2, (1/20)^2) (Utrera et al., 2021, A.1)."""
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


@dataclass(frozen=True)
class Wanted:
    """What is asked of every network.

    Attributes:
        layer: see `rtx.visualise.subject.Looked.layer`.
        units: words, see `Looked.unit`; none when images are inverted.
        starts: files of images to start from; none for noise.
        invert: files of images whose representation is matched, from noise.
        how: see `Search`.
        size: side of the images in pixels.
        fake_relu: see `rtx.visualise.layers`.
        variation: see `rtx.visualise.search.nearness`.
        magnitude: folder of the images whose mean magnitude `maco` keeps; None for 1 / f.
        batch_size: images of a pass.
        device: of the networks.

    Raises:
        BadValue: a number out of range, or options that do not go together.
    """

    layer: str = "features"
    units: tuple[str, ...] = ()
    starts: tuple[Path, ...] = ()
    invert: tuple[Path, ...] = ()
    how: Search = field(default_factory=Search)
    size: int = 224
    fake_relu: bool = True
    variation: float = 0.0
    magnitude: Path | None = None
    batch_size: int = 8
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        if self.size < 32 or self.batch_size < 1 or self.variation < 0:
            raise BadValue(
                f"--image-size {self.size}, --batch-size {self.batch_size}, --tv {self.variation:g}: must be 32, 1 and "
                "0 or more"
            )
        if self.invert and (self.units or self.starts):
            raise BadValue("--invert: starts from noise and matches a whole layer; leave out --units and --start")
        if self.variation and not self.invert:
            raise BadValue("--tv: goes with --invert")
        if self.magnitude is not None and self.how.method != "maco":
            raise BadValue("--magnitude: goes with --method maco")

    @property
    def titles(self) -> list[tuple[str, Path | None]]:
        """(what is looked for, file that it starts from or matches) of each image of a network."""
        if self.invert:
            return [(path.stem, path) for path in self.invert]
        starts: Sequence[Path | None] = self.starts or (None,)
        return [(unit, start) for unit in self.units for start in starts]


def load_image(path: Path, size: int) -> Tensor:
    """An image as (3, size, size), RGB in [0, 1]: its middle, after its short side was brought to `size`.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with PILImage.open(path) as file:
            image = ImageOps.exif_transpose(file).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"image {str(path)!r}: cannot be read ({error}); give a PNG or JPEG file") from error
    fitted = ImageOps.fit(image, (size, size), PILImage.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(fitted).copy()).permute(2, 0, 1).float() / 255


def noise(size: int, seed: int) -> Tensor:
    """The noise that a search starts from, (3, size, size)."""
    drawn = torch.randn(3, size, size, generator=torch.Generator().manual_seed(seed))
    return (NOISE_MEAN + NOISE_DEVIATION * drawn).clamp(0, 1)


def found_in(looked: Looked, wanted: Wanted) -> tuple[Layer, list[int]]:
    """The layer of a network, and the numbers of its units.

    Raises:
        UnknownName, BadValue: no such layer or unit.
    """
    layer = looked.layer(wanted.layer, fake_relu=wanted.fake_relu)
    with torch.no_grad():
        count = layer(noise(wanted.size, 0)[None].to(wanted.device)).shape[1]
    return layer, [looked.unit(layer, word, count) for word in wanted.units]


def make(looked: Looked, wanted: Wanted, out: Path, *, overwrite: bool = False) -> list[dict[str, Any]]:
    """Search the images of one network that its folder lacks; a row for each, with its file.

    Raises:
        UnknownName, BadValue: no such layer or unit.
        DataError: an image cannot be read.
        RunConflict: the folder holds images by other options.
    """
    folder = out / re.sub(r"[^\w.-]+", "-", looked.name)
    layer, units = found_in(looked, wanted)
    card = json_ready(_card(looked, wanted, units))
    there = _there(folder, card, overwrite)
    todo = [n for n in range(len(wanted.titles)) if n not in there]
    magnitude = _magnitude(wanted)
    for place in range(0, len(todo), wanted.batch_size):
        chosen = todo[place : place + wanted.batch_size]
        files = [wanted.titles[n][1] for n in chosen]
        begun = noise(wanted.size, wanted.how.seed)
        given = [begun if file is None or wanted.invert else load_image(file, wanted.size) for file in files]
        start = torch.stack(given).to(wanted.device)
        if wanted.invert:
            targets = torch.stack([load_image(file, wanted.size) for file in wanted.invert]).to(wanted.device)
            with torch.no_grad():
                score = nearness(layer, layer(targets[chosen]), wanted.variation)
        else:
            per_start = len(wanted.starts) or 1
            score = activation(layer, torch.tensor([units[n // per_start] for n in chosen]))

        def say(step: int, mean: float, done: int = place + len(chosen)) -> None:
            where = f"{looked.name}, images {done - len(chosen) + 1} to {done} of {len(todo)}"  # noqa: B023
            log.info("%s: step %d of %s, score %.4g", where, step, wanted.how.steps, mean)

        fresh = wanted.invert or not wanted.starts
        found = search(score, wanted.how, start, from_noise=bool(fresh), magnitude=magnitude, say=say)
        for n, pixels, begin, before, after in zip(chosen, found.pixels, start, found.before, found.after, strict=True):
            there[n] = _keep(folder, wanted, n, pixels, begin, float(before), float(after))
        write_atomic(folder / RECORD, json.dumps(json_ready({"card": card, "images": there}), indent=1) + "\n")
    return [there[n] for n in range(len(wanted.titles))]


def _card(looked: Looked, wanted: Wanted, units: Sequence[int]) -> dict[str, Any]:
    files = {"starts": wanted.starts, "invert": wanted.invert}
    return {
        "name": looked.name,
        "weights_sha256": looked.weights,
        "layer": wanted.layer,
        "units": list(units),
        **{name: [file_sha256(path) for path in paths] for name, paths in files.items()},
        **asdict(wanted.how),
        "size": wanted.size,
        "fake_relu": wanted.fake_relu,
        "total_variation": wanted.variation,
        "magnitude": None if wanted.how.method != "maco" else str(wanted.magnitude or "1/f"),
    }


def _there(folder: Path, card: dict[str, Any], overwrite: bool) -> dict[int, dict[str, Any]]:
    """What an earlier call with the same card has finished."""
    path = folder / RECORD
    if overwrite or not path.is_file():
        return {}
    try:
        content = read_json(path)
        other = [key for key in card if content["card"].get(key) != card[key]]
        rows = {int(n): row for n, row in content["images"].items() if (folder / row["file"]).is_file()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadValue(f"{path}: cannot be read ({error}); give --overwrite, or another --out") from error
    if other:
        key = other[0]
        raise RunConflict(
            f"{path}: is of another network or by other options ({key} {content['card'].get(key)!r}, now {card[key]!r})"
            "; give another --out, or --overwrite"
        )
    return rows


def _magnitude(wanted: Wanted) -> Tensor | None:
    if wanted.magnitude is None:
        return None
    files = sorted(path for path in wanted.magnitude.rglob("*") if path.suffix.lower() in _IMAGES)
    if not files:
        raise DataError(f"--magnitude {str(wanted.magnitude)!r}: holds no images ({', '.join(_IMAGES)})")
    total: Tensor = sum(mean_magnitude(load_image(path, wanted.size)[None]) for path in files)  # type: ignore[assignment]
    return total / len(files)


def _keep(
    folder: Path, wanted: Wanted, n: int, pixels: Tensor, start: Tensor, before: float, after: float
) -> dict[str, Any]:
    what, file = wanted.titles[n]
    begun = "noise" if file is None or wanted.invert else file.stem
    name = re.sub(r"[^\w.-]+", "-", f"{n:02d}_{'inverted' if wanted.invert else wanted.layer}_{what}_{begun}") + ".png"
    stream = io.BytesIO()
    PILImage.fromarray(as_bytes(pixels)).save(stream, "PNG")
    write_whole(folder / name, stream.getvalue())
    sign = -1 if wanted.invert else 1
    key = "distance" if wanted.invert else "activation"
    return {
        "file": name,
        "what": what,
        "start": begun,
        f"{key}_before": sign * before,
        f"{key}_after": sign * after,
        "l2_from_start": float((pixels - start).norm()),
    }


def as_bytes(pixels: Tensor) -> NDArray[np.uint8]:
    """Pixels (3, H, W) in [0, 1] as uint8 (H, W, 3)."""
    found: NDArray[np.uint8] = (255 * pixels.permute(1, 2, 0)).round().clamp(0, 255).byte().cpu().numpy()
    return found


def draw(names: Sequence[str], rows: Sequence[list[dict[str, Any]]], wanted: Wanted, out: Path) -> None:
    """One PNG: a row for each image, a column for each network, in front of them the image it began with or matches."""
    key = "distance" if wanted.invert else "activation"
    table = []
    for n, (what, file) in enumerate(wanted.titles):
        first = None if file is None else SheetImage(as_bytes(load_image(file, wanted.size)), file.stem)
        cells = []
        for name, found in zip(names, rows, strict=True):
            row = found[n]
            path = out / re.sub(r"[^\w.-]+", "-", name) / row["file"]
            with PILImage.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
            cells.append(SheetImage(pixels, f"{row[f'{key}_before']:.3g} to {row[f'{key}_after']:.3g}"))
        table.append((what if wanted.invert else f"unit {what}", first, cells))
    title = (
        f"Images with the {wanted.layer} of another (relative distance below)"
        if wanted.invert
        else f"What units of {wanted.layer} answer to most (activation below)"
    )
    with settings():
        save(sheet(table, names, title), out / SHEET, ("png",))
