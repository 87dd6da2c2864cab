"""The report and the spot check's page as a person meets them: in a browser, without a network."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

WIDTHS = {"narrow": 360, "wide": 1280}
PAGES = ("passing", "failing", "spot-check")
REPORTS = ("passing", "failing")

ColorScheme = Literal["light", "dark"]
OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, folder: Path) -> Iterator[OpenPage]:
    """Opens a page by name, offline; what it logs, or asks the network for, fails the test at its end."""
    faults: list[str] = []
    opened = []

    def open_(name: str, width: str = "wide", scheme: ColorScheme = "light") -> Page:
        context = browser.new_context(
            viewport={"width": WIDTHS[width], "height": 900}, color_scheme=scheme, offline=True, accept_downloads=False
        )
        opened.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: faults.append(f"dialog: {dialog.message}"))
        address = (folder / f"{name}.html").as_uri()
        page.on("request", lambda request: None if request.url == address else faults.append(f"request: {request.url}"))
        page.goto(address)
        return page

    yield open_
    for context in opened:
        context.close()
    assert faults == []


def column(page: Page, table: int, name: str) -> list[str]:
    """The texts of the column with this name, from top to bottom."""
    found: list[str] = page.evaluate(
        """([table, name]) => {
            const found = document.querySelectorAll("table:has(th button)")[table];
            const index = [...found.tHead.rows[0].cells].findIndex((cell) => cell.textContent === name);
            return [...found.tBodies[0].rows].map((row) => row.cells[index].textContent.trim());
        }""",
        [table, name],
    )
    return found


def numbers(texts: list[str]) -> list[int]:
    return [int(text.replace(",", "")) for text in texts]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window_in_either_theme(
    open_page: OpenPage, folder: Path, name: str, width: str, scheme: ColorScheme
) -> None:
    page = open_page(name, width, scheme)
    page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)

    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width]
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = (int(part) for part in background.removeprefix("rgb(").removesuffix(")").split(","))
    assert (red + green + blue > 384) is (scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", REPORTS)
def test_text_stands_out_from_what_is_behind_it(open_page: OpenPage, name: str, scheme: ColorScheme) -> None:
    page = open_page(name, scheme=scheme)
    faint = page.evaluate(
        """() => {
            const rgb = (color) => color.match(/[\\d.]+/g).map(Number);
            const behind = (element) => {
                for (let at = element; at; at = at.parentElement) {
                    const color = rgb(getComputedStyle(at).backgroundColor);
                    if (color[3] !== 0) return color;
                }
                return [255, 255, 255];
            };
            const luminance = (color) => {
                const [r, g, b] = color.slice(0, 3).map((part) => {
                    const share = part / 255;
                    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const contrast = (element) => {
                const style = getComputedStyle(element);
                const color = element.closest("svg") ? style.fill : style.color;
                const [light, dark] = [luminance(rgb(color)), luminance(behind(element))].sort((a, b) => b - a);
                return (light + 0.05) / (dark + 0.05);
            };
            const hasText = (element) => [...element.childNodes].some((node) => /\\S/.test(node.nodeValue ?? ""));
            const shown = [...document.body.querySelectorAll("*:not(script, style, title)")].filter(hasText);
            return shown.filter((element) => contrast(element) < 4.5).map((element) => element.outerHTML.slice(0, 200));
        }"""
    )
    assert faint == []


@pytest.mark.parametrize(("name", "verdict"), [("passing", "PASS"), ("failing", "FAIL")])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_verdict_is_seen_first(open_page: OpenPage, name: str, verdict: str, width: str) -> None:
    page = open_page(name, width)
    banner = page.get_by_label("Verdict", exact=True)
    box = banner.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 900
    assert banner.locator("strong").inner_text() == verdict
    headings = page.locator("h2")
    assert all(found["y"] > box["y"] for found in (each.bounding_box() for each in headings.all()) if found)


def test_a_click_sorts_numbers_as_numbers_and_a_second_one_turns_them_around(open_page: OpenPage) -> None:
    page = open_page("passing")
    assert numbers(column(page, 0, "Rows")) != sorted(numbers(column(page, 0, "Rows")))
    button = page.locator("th", has_text="Rows").get_by_role("button", name="Rows", exact=True)

    button.click()
    assert numbers(column(page, 0, "Rows")) == sorted(numbers(column(page, 0, "Rows")))
    button.click()
    assert numbers(column(page, 0, "Rows")) == sorted(numbers(column(page, 0, "Rows")), reverse=True)
    assert page.locator("th[aria-sort]").count() == 1
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Rows")


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_keyboard_sorts_too_and_the_focus_is_seen(open_page: OpenPage, key: str) -> None:
    page = open_page("failing")
    button = page.locator("th button", has_text="Row id").nth(1)
    for _ in range(200):
        page.keyboard.press("Tab")
        if button.evaluate("element => element === document.activeElement"):
            break
    assert button.evaluate("element => getComputedStyle(element).outlineStyle") != "none"

    page.keyboard.press(key)
    ids = column(page, 2, "Row id")
    assert [each for each in ids if each in ("id-9", "id-10", "id-101")] == ["id-9", "id-10", "id-101"]
    assert button.evaluate("element => element === document.activeElement")


@pytest.mark.parametrize("name", ["failing", "spot-check"])
def test_hostile_names_are_text_and_nothing_else(open_page: OpenPage, name: str) -> None:
    page = open_page(name)
    page.wait_for_load_state("networkidle")
    assert "owned" not in page.title()
    assert page.locator("img, iframe, object, embed, a[href^=javascript]").count() == 0
    assert page.locator("style").count() == 1
    text = page.locator("body").inner_text()
    assert "<img src=x onerror=\"document.title='owned'\">.jpg" in text
    assert "abc\\u202Egpj.exe" in text
    assert "\u202e" not in text


def test_the_policy_refuses_every_script_but_the_pages_own(browser: Browser, folder: Path, tmp_path: Path) -> None:
    """What the tests above rely on holds also where an escape should be forgotten."""
    source = (folder / "failing.html").read_text(encoding="utf-8")
    unescaped = tmp_path / "unescaped.html"
    hole = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    unescaped.write_text(source.replace("<h1>", f"{hole}<h1>", 1), encoding="utf-8")
    page = browser.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(unescaped.as_uri())
    page.wait_for_load_state("networkidle")
    title = page.title()
    page.close()
    assert title.startswith("FAIL")
    assert len([text for text in refused if "Content Security Policy" in text]) >= 2


def test_every_chart_is_drawn_and_named(open_page: OpenPage) -> None:
    charts = open_page("failing").locator("svg[role=img]")
    labels = [each.get_attribute("aria-label") or "" for each in charts.all()]
    assert [label.split(" ")[0] for label in labels] == ["Rows", "Outcomes", "Mismatches", "Read", "Throttled"]
    assert all(
        box and box["width"] > 300 and box["height"] > 80 for box in (each.bounding_box() for each in charts.all())
    )


def test_a_reviewer_marks_images_by_keyboard(open_page: OpenPage) -> None:
    page = open_page("spot-check")
    for key in "nfnx":
        page.keyboard.press(key)
    assert page.locator("#review-status").inner_text() == "2 of 7 marked, 1 with an issue"


def test_one_key_marks_a_record_and_goes_to_the_next(open_page: OpenPage) -> None:
    page = open_page("spot-check")
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.locator(".keys").is_visible()
    for _ in range(8):  # the first one begins
        page.keyboard.press("f")
    assert page.locator("#review-status").inner_text() == "7 of 7 marked, 0 with an issue"
