# ruff: noqa: E501
"""The page in headless Chromium: it is clicked, sorted, switched, printed, and its numbers are read back."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtx.reports.build import build
from rtx.reports.runs.runs import load_runs
from tests.reports.made import HOSTILE, make_family, make_mixed
from tests.reports.page.browser import Browser, absent

pytestmark = [pytest.mark.slow, pytest.mark.ci, pytest.mark.skipif(bool(absent()), reason=absent())]
HEAT = "document.querySelector('table.heat')"
TAB, ENTER, SPACE = "\ue004", "\ue007", " "


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pages")
    found = {}
    for name, paths in (("four", make_family(root / "four", resamples=50)), ("mixed", make_mixed(root / "mixed"))):
        found[name] = build(load_runs(paths), root / f"report_{name}", formats=("svg",)).page
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.mark.parametrize("name", ["four", "mixed"])
@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "laptop"])
def test_no_error_and_nothing_wider_than_the_screen(
    browser: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    browser.emulate(width)
    browser.open(pages[name])
    assert browser.console() == []
    assert browser.run("return document.documentElement.scrollWidth") <= width
    cut = browser.run(
        "return [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1"
        " && !e.closest('.scroll') && !e.closest('svg') && getComputedStyle(e).position !== 'absolute').map(e => e.tagName)"
    )
    assert cut == []


def test_tables_fit_a_laptop_and_leave_a_phone_room_for_numbers(browser: Browser, pages: dict[str, Path]) -> None:
    browser.emulate(1280)
    browser.open(pages["four"])
    wide = "return [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.ariaLabel)"
    assert browser.run(wide) == []
    browser.emulate(390)
    browser.open(pages["four"])
    heads = browser.run(
        "return [...document.querySelectorAll('.scroll tbody tr:first-child th')].map(e => e.getBoundingClientRect().width)"
    )
    assert heads and max(heads) <= 0.4 * 390


def test_a_hostile_name_runs_nothing(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["mixed"])
    assert browser.run("return document.scripts.length") == 1
    assert browser.run("return [...document.querySelectorAll('img')].every(e => e.src.startsWith('data:image/jpeg'))")
    names = browser.run("return [...document.querySelectorAll('.verdicts strong')].map(e => e.textContent)")
    assert HOSTILE in names


def test_the_heat_map_sorts_by_click_and_by_key(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["four"])
    read = f"return [...{HEAT}.tBodies[0].rows].map(r => Number(r.cells[5].dataset.v))"
    before = browser.run(read)
    browser.run(f"{HEAT}.querySelectorAll('thead tr:last-child button')[5].focus()")
    browser.press(ENTER)
    down = browser.run(read)
    assert down == sorted(before, reverse=True)
    assert browser.run(f"return {HEAT}.querySelectorAll('thead tr:last-child th')[5].ariaSort") == "descending"
    browser.press(SPACE)
    assert browser.run(read) == sorted(before)
    assert browser.run(f"return {HEAT}.querySelectorAll('[aria-sort=ascending],[aria-sort=descending]').length") == 1
    assert len(set(before)) == 4


def test_the_numbers_on_the_page_are_the_numbers_of_the_summary(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["four"])
    summary = json.loads((pages["four"].parent / "summary.json").read_text())
    models = {model["name"]: model for model in summary["groups"][0]["models"]}
    shown = browser.run(
        f"return [...{HEAT}.tBodies[0].rows].map(r => [r.cells[0].textContent, r.cells[16].dataset.v, r.cells[16].textContent])"
    )
    assert len(shown) == 4
    for name, value, text in shown:
        assert float(value) == pytest.approx(models[name]["rPC"], abs=1e-15)
        assert text == f"{100 * models[name]['rPC']:.0f}"
    verdicts = browser.run("return [...document.querySelectorAll('.verdicts li')].map(e => e.textContent)")
    for text, model in zip(verdicts, models.values(), strict=True):
        assert f"{100 * model['mPC']:.1f}" in text and model["verdict"] in re.sub(r"\s+", " ", text)


def test_themes(browser: Browser, pages: dict[str, Path]) -> None:
    paper = "return getComputedStyle(document.body).backgroundColor"
    chart = "return getComputedStyle(document.querySelector('.chart svg')).backgroundColor"
    browser.emulate(1280, prefers_color_scheme="light")
    browser.open(pages["four"])
    assert browser.run(paper) == "rgb(255, 255, 255)"
    browser.click("#theme")
    assert browser.run(paper) == "rgb(23, 24, 26)"
    assert browser.run(chart) == "rgb(255, 255, 255)", "charts are drawn for white paper"
    assert browser.run("return document.getElementById('theme').ariaPressed") == "true"
    browser.click("#theme")
    browser.emulate(1280, prefers_color_scheme="dark")
    browser.run("localStorage.clear()")
    browser.open(pages["four"])
    assert browser.run(paper) == "rgb(23, 24, 26)"
    browser.emulate(1280, prefers_color_scheme="light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(browser: Browser, pages: dict[str, Path], scheme: str) -> None:
    browser.emulate(1280, prefers_color_scheme=scheme)
    browser.open(pages["mixed"])
    worst = browser.run(
        """
        const rgb = c => c.match(/[\\d.]+/g).map(Number);
        const lum = c => { const [r, g, b] = rgb(c).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
                           return .2126 * r + .7152 * g + .0722 * b; };
        const back = e => { while (e) { const c = getComputedStyle(e).backgroundColor;
                            if (rgb(c).length < 4 || rgb(c)[3] > 0) return c; e = e.parentElement; } return 'rgb(255,255,255)'; };
        return [...document.querySelectorAll('body *')].filter(e => !e.closest('svg') && !e.closest('.skip') &&
            [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && e.getClientRects().length)
          .map(e => { const a = lum(getComputedStyle(e).color), b = lum(back(e));
                      return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.tagName + '.' + e.className, e.textContent.slice(0, 40)]; })
          .sort((a, b) => a[0] - b[0])[0];
        """
    )
    browser.emulate(1280, prefers_color_scheme="light")
    assert worst[0] >= 4.5, worst


def test_keyboard_and_screen_reader(browser: Browser, pages: dict[str, Path]) -> None:
    browser.emulate(1280)
    browser.open(pages["four"])
    browser.press(TAB)
    assert browser.run("return document.activeElement.className") == "skip"
    nameless = browser.run(
        "return [...document.querySelectorAll('button,a,.chart svg,[role=region]')]"
        ".filter(e => !(e.ariaLabel || e.textContent.trim())).length"
    )
    assert nameless == 0
    assert browser.run("return document.documentElement.lang") == "en"
    levels = browser.run("return [...document.querySelectorAll('h1,h2,h3,h4')].map(e => Number(e.tagName[1]))")
    assert levels[0] == 1 and all(b - a <= 1 for a, b in itertools.pairwise(levels))
    ids = browser.run("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert browser.run("return [...document.querySelectorAll('table')].every(t => t.querySelector('th[scope]'))")


def test_copy_and_fold(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["four"])
    assert browser.run("return [...document.querySelectorAll('#cards details')].every(d => !d.open)")
    browser.run("document.querySelector('#cards summary').focus()")
    browser.press(ENTER)
    assert browser.run("return document.querySelector('#cards details').open")
    assert '"corruption_seed"' in browser.run("return document.querySelector('#cards pre').textContent")
    browser.run("document.querySelector('details.source').open = true")
    browser.click("button.copy")
    for _ in range(20):  # the clipboard answers when it likes
        if browser.run("return document.querySelector('button.copy').textContent") != "Copy LaTeX":
            break
        time.sleep(0.1)
    else:
        pytest.fail("the button says nothing after a click")


def test_prints_on_light_paper(browser: Browser, pages: dict[str, Path]) -> None:
    browser.emulate(1280, prefers_color_scheme="dark")
    browser.open(pages["four"])
    document = browser.pdf()
    assert document.startswith(b"%PDF") and document.count(b"/Type /Page\n") + document.count(b"/Type/Page") >= 3
    browser.command("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.run("return getComputedStyle(document.querySelector('h1')).color") == "rgb(28, 28, 30)"
    width = browser.run("return document.documentElement.scrollWidth - innerWidth")
    browser.command("Emulation.setEmulatedMedia", {"media": ""})
    assert width <= 0


def test_it_loads_nothing_from_anywhere(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["mixed"])
    loaded = browser.run("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []
