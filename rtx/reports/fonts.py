"""The font of figures: Matplotlib's DejaVu Sans, cut once to Latin, Greek and signs.

Every PDF figure embeds the glyphs that it uses, and cutting them out of the whole font, with its 6000 glyphs and the
rules for Arabic, takes longer than drawing. Letters outside the cut come from the whole font. Kerning is kept as a
plain table: the layout rules that say the same take longer to cut, at every figure, than all the glyphs.
"""

from __future__ import annotations

import atexit
import logging
import shutil
import tempfile
from functools import cache
from pathlib import Path

from matplotlib import font_manager

log = logging.getLogger(__name__)

NAME = "rtx DejaVu Sans"
FAMILY = (NAME, "DejaVu Sans")
_FILES = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
_LETTERS = (*range(0x20, 0x180), *range(0x370, 0x400), *range(0x2010, 0x2070), *range(0x2190, 0x2270))


@cache
def register() -> tuple[str, ...]:
    """Make the cut fonts known to Matplotlib in this process; the names to ask for."""
    from fontTools import subset  # type: ignore[import-untyped]

    logging.getLogger("fontTools").setLevel(logging.WARNING)
    folder = Path(tempfile.mkdtemp(prefix="rtx-fonts-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
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
        font_manager.fontManager.addfont(str(folder / name))
    return FAMILY
