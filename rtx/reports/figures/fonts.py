"""The font of figures: Matplotlib's DejaVu Sans, cut once to Latin letters and signs.

Every PDF figure embeds the glyphs that it uses, and cutting them out of the whole font, with its 6000 glyphs and the
rules for Arabic, takes longer than drawing. Letters outside the cut come from the whole font. Kerning is kept as a
plain table: the layout rules that say the same take longer to cut, at every figure, than all the glyphs. The cut is
kept beside Matplotlib's own list of fonts, and made again when either library, or what is cut, changes.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path

import matplotlib as mpl
from matplotlib import font_manager

log = logging.getLogger(__name__)

NAME = "rtx DejaVu Sans"
FAMILY = (NAME, "DejaVu Sans")
_FILES = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
_LETTERS = (*range(0x20, 0x180), *range(0x2010, 0x2040), *range(0x2190, 0x2194), 0x2212, 0x2248, 0x2264, 0x2265)


@cache
def register() -> tuple[str, ...]:
    """Make the cut fonts known to Matplotlib in this process; the names to ask for."""
    folder = cut(Path(mpl.get_cachedir()) / "rtx-fonts")
    for name in _FILES:
        font_manager.fontManager.addfont(str(folder / name))
    return FAMILY


def cut(root: Path) -> Path:
    """The folder below `root` with the cut fonts, which are made where they are not there."""
    import fontTools  # type: ignore[import-untyped]

    made_by = f"{mpl.__version__} {fontTools.version} {hashlib.sha256(Path(__file__).read_bytes()).hexdigest()}"
    folder = root / hashlib.sha256(made_by.encode()).hexdigest()[:16]
    if all((folder / name).is_file() for name in _FILES):
        return folder
    root.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(dir=root))
    try:
        _cut_into(making)
        making.chmod(0o755)
        making.rename(folder)  # in one step: another process sees all of it or nothing
    except OSError:
        if not folder.is_dir():  # else another process was there first
            raise
    finally:
        shutil.rmtree(making, ignore_errors=True)  # of that name only where it was not renamed
    return folder


def _cut_into(folder: Path) -> None:
    from fontTools import subset

    logging.getLogger("fontTools").setLevel(logging.WARNING)
    whole = Path(font_manager.findfont("DejaVu Sans")).parent
    options = subset.Options(layout_features=[], name_IDs=["*"], notdef_outline=True, legacy_kern=True)
    options.drop_tables += ["FFTM", "GDEF", "GPOS", "GSUB", "MATH"]
    for name in _FILES:
        font = subset.load_font(str(whole / name), options)
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=_LETTERS)
        cutter.subset(font)
        for record in font["name"].names:
            if record.nameID in (1, 3, 4, 6, 16):
                text = record.toUnicode().replace("DejaVu Sans", NAME).replace("DejaVuSans", NAME.replace(" ", ""))
                record.string = text.encode("utf_16_be" if record.isUnicode() else "latin-1")
        subset.save_font(font, str(folder / name), options)


def not_drawn(texts: Iterable[str]) -> str:
    """The letters of texts that the font does not have; in a figure they are boxes."""
    known = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
    return "".join(sorted({letter for text in texts for letter in text if letter.isprintable()} - set(map(chr, known))))


@contextmanager
def looked_up_once() -> Iterator[None]:
    """Within it, Matplotlib looks a font up once for each set of properties, not once for each text and format.

    Its own memory asks for eleven settings each time, in case they changed; no figure of a report changes them.
    """
    manager, name = font_manager.fontManager, "_find_fonts_by_props"
    find = getattr(manager, name, None)
    if find is None or name in vars(manager):  # another Matplotlib looks fonts up otherwise; or within another one
        yield
        return
    vars(manager)[name] = lru_cache(maxsize=256)(find)
    try:
        yield
    finally:
        del vars(manager)[name]
