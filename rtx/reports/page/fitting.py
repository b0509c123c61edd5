"""A page that fits: where it would be too large, strips and then charts are left to their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rtx.errors import BadValue
from rtx.reports.page import page
from rtx.reports.page.views import COMPLETENESS, EVERY, HEAT


def render_within(content: page.Content, most: int) -> str:
    """The page as text of at most so many bytes: where it is larger, strips and then the largest charts are left out.

    Raises:
        BadValue: it is larger without any of them.
    """
    html = page.render(content)
    while (size := len(html.encode())) > most:
        smaller = _smaller(content)
        if smaller is None:
            raise BadValue(
                f"the page of {sum(len(group.runs) for group in content.groups)} runs would have {size / 1e6:.1f} MB "
                f"without a strip and a chart, {most / 1e6:g} is the most; report over fewer runs"
            )
        content = smaller
        html = page.render(content)
    return html


def _smaller(content: page.Content) -> page.Content | None:
    for slug, laid_out in sorted(content.strips.items(), key=lambda item: -len(item[1].strips)):
        if laid_out.strips:
            return replace(content, strips={**content.strips, slug: laid_out.without_last()})
    shown = [stem for stem in content.drawn - content.only_files if _is_chart(stem)]
    if not shown:
        return None
    largest = max(shown, key=lambda stem: (stem.with_name(f"{stem.name}.svg").stat().st_size, stem))
    return replace(content, only_files=content.only_files | {largest})


def _is_chart(stem: Path) -> bool:
    return any(view.name == stem.name for view in EVERY if view not in (HEAT, COMPLETENESS))
