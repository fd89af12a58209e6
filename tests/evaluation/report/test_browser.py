"""The page in a real browser: nothing on the console, pictures there, everything by keyboard, in light and dark, on a phone.

Screenshots are kept where the test says. `make browser` installs what it takes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from viewmill import train
from viewmill.evaluation.report.page import write

from .folders import write_pictures, write_result, write_run, write_shard

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one.html, of a run with everything, and two.html, of two runs."""
    folder = tmp_path_factory.mktemp("report")
    data = str(write_shard(folder / "a.tar"))
    one, two = write_run(folder / "one", data), write_run(folder / "two", data, "optimizer.lr=0.7", knn=0.6)
    for run, top1 in ((one, 0.5), (two, 0.61)):
        write_result(run, top1)
        write_result(run, top1 - 0.1, "nearest.json", nmi=0.25)
    write_pictures(one, [0, 30, 60])
    write([one], folder / "one.html", train.read)
    write([one, two], folder / "two.html", train.read)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    driver = pytest.importorskip("playwright.sync_api", reason="no playwright: make browser")
    path = os.environ.get("VIEWMILL_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(CHROMIUM)} is installed: make browser, or set VIEWMILL_CHROMIUM")
    with driver.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def show(browser: Any, pages: Path) -> Iterator[Open]:
    """`show("one.html", color_scheme="dark", ...)`: the page, loaded. Whatever a page says on the console is an error."""
    contexts, said = [], []

    def opened(name: str, width: int = 1280, height: int = 900, **more: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.extend([request.url] if request.url.startswith("http") else []))
        page.goto((pages / name).as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


def column(page: Any, table: str, place: int) -> list[str]:
    return [row.strip() for row in page.locator(f"{table} tbody tr > :nth-child({place})").all_inner_texts()]


@pytest.mark.parametrize("name", ["one.html", "two.html"])
def test_the_page_is_whole(name: str, show: Open) -> None:
    page = show(name)
    broken = page.evaluate("[...document.querySelectorAll('main img')].filter(i => !(i.complete && i.naturalWidth > 0)).length")
    assert broken == 0 and page.locator("main img").count() >= (16 if name == "one.html" else 24)
    assert page.evaluate("[...document.querySelectorAll('main img')].every(i => i.alt)")
    ids = page.eval_on_selector_all("[id]", "all => all.map(each => each.id)")
    assert len(set(ids)) == len(ids)
    links = page.eval_on_selector_all("a[href^='#']", "all => all.filter(a => !document.getElementById(a.hash.slice(1))).length")
    assert links == 0 and page.locator("h1").count() == 1
    assert page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") < 5000  # a machine may be busy


def test_tables_sort_by_keyboard_and_say_how(show: Open) -> None:
    page = show("one.html")
    before = column(page, "#results table", 3)
    assert before == ["50.00 %", "50.00 %", "40.00 %", "40.00 %", "0.2500"]
    header = page.locator("#results thead th").nth(2)
    header.locator("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending" and column(page, "#results table", 3) == before
    page.keyboard.press("Space")
    assert header.get_attribute("aria-sort") == "ascending"
    assert column(page, "#results table", 3) == ["0.2500", "40.00 %", "40.00 %", "50.00 %", "50.00 %"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "none" and column(page, "#results table", 1)[0] == "kNN"


def test_configuration_shows_what_differs_until_something_is_looked_for(show: Open) -> None:
    page = show("two.html")
    rows = page.locator("#configuration tbody tr:visible")
    assert rows.count() == 1 and "optimizer.lr" in rows.inner_text()
    page.locator(".find").focus()
    page.keyboard.type("flip")
    assert rows.count() > 0 and all("flip" in text for text in rows.all_inner_texts())
    page.locator(".find").fill("")
    page.locator("[data-only]").focus()
    page.keyboard.press("Space")
    assert rows.count() > 50


def test_arrow_keys_read_a_chart(show: Open) -> None:
    page = show("one.html")
    page.locator(".chart[data-names='loss'] .plot").focus()
    page.keyboard.press("End")
    assert page.locator(".tip:visible").inner_text().split("\n") == ["epoch 3.00, step 60", "2"]
    page.keyboard.press("Home")
    assert page.locator(".tip:visible").inner_text().split("\n") == ["epoch 0.10, step 2", "4.9"]
    page.keyboard.press("ArrowRight")
    assert "step 4" in page.locator(".tip:visible").inner_text()
    page.keyboard.press("Escape")
    assert page.locator(".tip:visible").count() == 0


def test_a_run_can_be_hidden_and_a_gallery_gone_through(show: Open) -> None:
    page = show("two.html")
    page.locator("[data-shows='1']").focus()
    page.keyboard.press("Enter")
    assert page.locator("svg g[data-run='1']:visible").count() == 0 and page.locator("svg g[data-run='0']").count() > 5
    page = show("one.html")
    assert page.locator(".sheet:visible").get_attribute("data-step") == "60"
    page.locator(".slider input").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator(".sheet:visible").get_attribute("data-step") == "30"
    assert page.locator(".slider output").inner_text() == "30"
    page.locator(".enlarge").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog img").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


def test_light_dark_and_phone(show: Open, pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grounds = []
    looks = [("two", "light", 1280), ("two", "phone-light", 390), ("one", "dark", 1280), ("one", "phone-dark", 390)]
    for name, look, width in looks:
        scheme = look.removeprefix("phone-")
        page = show(f"{name}.html", width, 844, color_scheme=scheme)
        # Nothing but tables, in frames of their own, is wider than the screen.
        assert page.evaluate("document.documentElement.scrollWidth") == width, (name, look)
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.screenshot(path=pages / f"{name}-{look}.png", full_page=True)
    light, dark = "rgb(252, 251, 249)", "rgb(19, 20, 22)"
    assert grounds == [light, light, dark, dark]
    page.locator(".theme").click()
    assert page.locator(".theme").inner_text() == "Light"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light
    with capsys.disabled():
        print(f"\nscreenshots of the report: {pages}/*.png")
