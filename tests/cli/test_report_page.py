"""The report in a browser: layout, images and sounds, and no requests."""

import itertools
import json
import os
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from advance_tf.reporting.html_report import write_html_report
from advance_tf.runs.workdir import load_run
from tests.untrained_run import copy_run, with_validation

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
WIDTHS = (1280, 400)
_LOADED = """
const done = arguments[arguments.length - 1];
const waiting = [...document.querySelectorAll("audio")].map(audio =>
  audio.readyState >= 1 || audio.error ? null : new Promise(resolve => {
    audio.addEventListener("loadedmetadata", resolve);
    audio.addEventListener("error", resolve);
  }));
Promise.all(waiting).then(() => done(
  [...document.querySelectorAll("audio")].map(audio => audio.duration)));
"""
_ELEMENTS_TOO_WIDE = """
const inside = element => element.closest(".scroll") !== null;
return [...document.querySelectorAll("body *")]
  .filter(e => !inside(e) && e.getBoundingClientRect().right > innerWidth + 0.5)
  .map(e => e.tagName + "." + e.className);
"""


def _require_browser():
    if not (CHROMIUM and DRIVER):
        reason = "chromium or chromedriver is missing (apt-get install chromium-driver)"
        if os.environ.get("CI"):
            pytest.fail(f"CI must open the page in a browser; {reason}.")
        pytest.skip(reason)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    _require_browser()
    folder = copy_run(tmp_path_factory)
    output = folder / "report.html"
    run = with_validation(load_run(folder))
    write_html_report(run, "test", output, mistakes=2)
    return output


@pytest.fixture(scope="module")
def pages(page, tmp_path_factory):
    """Pages of runs of both modalities, of image only and of sound only."""
    found = {"both": page}
    for modality in ("image", "sound"):
        folder = copy_run(tmp_path_factory, modality)
        found[modality] = folder / "report.html"
        write_html_report(load_run(folder), "test", found[modality], mistakes=1)
    return found


@pytest.fixture(scope="module")
def browser(page, tmp_path_factory):
    """One session that has opened the page."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability(
        "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.set_script_timeout(20)
        driver.get(page.as_uri())
        yield driver
    finally:
        driver.quit()


def set_width(browser, width):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )


@pytest.mark.parametrize("modality", ["image", "sound", "both"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(browser, pages, width, modality):
    set_width(browser, width)
    browser.get(pages[modality].as_uri())
    # The collapsed settings must fit too.
    browser.execute_script("document.querySelector('details').open = true")
    assert browser.execute_script("return innerWidth") == width
    total = browser.execute_script("return document.documentElement.scrollWidth")
    assert total <= width
    assert browser.execute_script(_ELEMENTS_TOO_WIDE) == []


def test_the_first_column_keeps_its_lines(browser, page):
    """Sticky cells are painted above the others and have their own border."""
    browser.get(page.as_uri())
    lines = browser.execute_script(
        "return [...document.querySelectorAll('.scenes tbody .pin')].map(cell =>"
        " getComputedStyle(cell).borderBottomWidth)"
    )
    assert lines == ["1px"] * 12 + ["0px"]
    models = browser.execute_script(
        "return [...document.querySelectorAll('table')].map(table =>"
        " getComputedStyle(table).borderCollapse)"
    )
    assert set(models) == {"separate"}


def test_the_key_is_on_one_line(browser, page):
    set_width(browser, 1280)
    browser.get(page.as_uri())
    places = browser.execute_script(
        "return [...document.querySelectorAll('.key')].map(key => {"
        "  const range = document.createRange();"
        "  range.selectNodeContents(key.lastChild);"
        "  const after = document.createRange();"
        "  const rest = key.parentElement.lastChild;"
        "  after.setStart(rest, 1); after.setEnd(rest, 3);"
        "  return [range, after].map(r => r.getBoundingClientRect().bottom);"
        "})"
    )
    assert len(places) == 2
    for key, rest in places:
        assert key == pytest.approx(rest, abs=0.6)


def test_pictures_and_sounds_load(browser, page):
    browser.get(page.as_uri())
    sizes = browser.execute_script(
        "return [...document.images].map(image => image.naturalWidth)"
    )
    assert len(sizes) == 2 + 2 * 6
    assert min(sizes) > 0
    durations = browser.execute_async_script(_LOADED)
    assert durations == [pytest.approx(1.0, abs=0.08)] * 2


def test_headings_and_links_are_complete(browser, page):
    browser.get(page.as_uri())
    titles = browser.execute_script(
        "return [...document.querySelectorAll('h2')].map(h => h.textContent)"
    )
    assert titles == [
        *("Scores", "Learning curves", "Scenes", "Confusion matrix", "Calibration"),
        *("Rejection", "Most confident mistakes", "Configuration", "Origin"),
    ]
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])"
    )
    assert levels[0] == 1
    steps = [after - before for before, after in itertools.pairwise(levels)]
    assert max(steps) <= 1
    links = browser.execute_script(
        "return [...document.querySelectorAll('nav a')].map(a =>"
        " document.querySelector(a.getAttribute('href')) !== null)"
    )
    assert len(links) == 9
    assert all(links)


def test_nothing_is_fetched_and_nothing_is_logged(browser, page):
    entries = [json.loads(entry["message"]) for entry in browser.get_log("performance")]
    requests = [
        entry["message"]["params"]
        for entry in entries
        if entry["message"]["method"] == "Network.requestWillBeSent"
    ]
    every = {request["request"]["url"] for request in requests}
    assert not [address for address in every if address.startswith(("http", "ws"))]
    # The browser opens its own page first.
    schemes = {
        request["request"]["url"].split(":")[0]
        for request in requests
        if request["documentURL"] == page.as_uri()
    }
    assert schemes == {"file", "data"}
    assert page.as_uri() in every
    assert browser.get_log("browser") == []
