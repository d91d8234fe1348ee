"""The map and the review of a data set, and the map of an evaluation."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from advance_tf import labels
from advance_tf.data.pairing import Pair
from advance_tf.geo.corrections import read_corrections
from advance_tf.geo.provenance import PROVENANCE_COLUMNS
from advance_tf.reporting.dataset_pages import (
    evaluation_map,
    write_dataset_map,
    write_review,
)
from tests.cli.test_report_page import WIDTHS, set_width
from tests.geo.factories import write_table
from tests.reporting.media import write_media


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A data set of three pairs with their provenance."""
    folder = tmp_path_factory.mktemp("pages")
    write_media(folder)
    root = folder / "built"
    evidence = {
        "features": [
            {
                "id": "w7",
                "scene": "lake",
                "tags": {"natural": "water"},
                "metres": 0.0,
            }
        ],
        "shares": {"lake": 0.8},
    }
    rows = []
    for number, shift in enumerate(("", "north", "")):
        stem = f"{number + 1:05d}_1"
        for kind, name in (("vision", "a.jpg"), ("sound", "a.wav")):
            path = root / kind / "lake" / f"{stem}{name[1:]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((folder / name).read_bytes())
        row = dict.fromkeys(PROVENANCE_COLUMNS, "")
        row |= {"stem": stem, "scene": "lake", "site": stem[:5], "shift": shift}
        row |= {"recording": f"{number // 2}, a.wav", "label_rule": "inside"}
        row |= {"latitude": 47 + number / 10, "longitude": 9.5}
        row |= {"evidence": json.dumps(evidence)}
        rows.append([row[name] for name in PROVENANCE_COLUMNS])
    write_table(root / "provenance.csv", rows, PROVENANCE_COLUMNS)
    return root


@pytest.mark.parametrize("width", WIDTHS)
def test_the_review_writes_corrections_that_are_read_back(
    browser, data_dir, tmp_path, width
):
    assert write_review(data_dir) == 3
    set_width(browser, width)
    browser.get((data_dir / "review.html").as_uri())
    browser.execute_script("localStorage.clear()")
    browser.refresh()
    total = browser.execute_script("return document.documentElement.scrollWidth")
    assert total <= width
    features = browser.find_element(By.CLASS_NAME, "features")
    assert "natural=water" in features.text
    links = [
        link.get_attribute("href")
        for link in browser.find_elements(By.CSS_SELECTOR, ".facts a")
    ]
    assert links == [
        "https://www.openstreetmap.org/?mlat=47.00000&mlon=9.50000"
        "#map=16/47.00000/9.50000",
        "https://www.openstreetmap.org/way/7",
    ]
    # The evidence is readable without scrolling.
    hidden = "const box = arguments[0].closest('.scroll');"
    hidden += "return box.scrollWidth - box.clientWidth"
    assert browser.execute_script(hidden, features) == 0
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys("a")
    assert browser.find_element(By.CLASS_NAME, "position").text.upper() == (
        "PAIR 2 OF 3"
    )
    body.send_keys("r")
    browser.execute_script(
        "const choice = document.querySelector('select');"
        "choice.value = 'harbour'; choice.dispatchEvent(new Event('change'))"
    )
    text = browser.execute_script("return review.table()")
    (tmp_path / "corrections.csv").write_text(text)
    found = read_corrections(tmp_path / "corrections.csv")
    assert {key: (one.decision, one.scene) for key, one in found.items()} == {
        ("0, a.wav", ""): ("accept", ""),
        ("0, a.wav", "north"): ("reject", ""),
        ("1, a.wav", ""): ("correct", "harbour"),
    }
    wait_for_done(browser, 3)
    assert browser.get_log("browser") == []


def wait_for_done(browser, count):
    """Reloads the page until it states `count` decisions; fails after 10 seconds."""

    def states_count(_):
        browser.execute_script("window.old = true")
        browser.refresh()
        # `refresh` may return while the old document is shown, or the new one loads.
        new = "return !window.old && document.readyState === 'complete'"
        WebDriverWait(browser, 10).until(lambda _: browser.execute_script(new))
        return browser.find_element(By.CLASS_NAME, "done").text == str(count)

    WebDriverWait(browser, 10).until(states_count)


def test_a_review_in_two_tabs_keeps_the_decisions_of_both(browser, data_dir):
    write_review(data_dir)
    browser.get((data_dir / "review.html").as_uri())
    browser.execute_script("localStorage.clear()")
    wait_for_done(browser, 0)
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get((data_dir / "review.html").as_uri())
    browser.execute_script("review.show(2)")
    browser.find_element(By.TAG_NAME, "body").send_keys("r")
    second = browser.current_window_handle
    browser.switch_to.window(first)
    done = browser.find_element(By.CLASS_NAME, "done")
    WebDriverWait(browser, 10).until(lambda _: done.text == "1")
    browser.find_element(By.TAG_NAME, "body").send_keys("a")
    assert done.text == "2"
    assert browser.execute_script("return review.table()").splitlines() == [
        "recording,shift,decision,scene,remark",
        '"0, a.wav",,accept,,',
        '"1, a.wav",,reject,,',
    ]
    browser.switch_to.window(second)
    browser.close()
    browser.switch_to.window(first)


def test_a_large_review_refers_to_the_files(data_dir):
    write_review(data_dir, media_limit=2)
    text = (data_dir / "review.html").read_text(encoding="utf-8")
    assert '"image":"vision/lake/00001_1.jpg"' in text
    with pytest.raises(ValueError, match=r"must have provenance\.csv"):
        write_review(data_dir / "vision")


def test_a_large_review_in_another_folder_refers_to_the_files(data_dir, tmp_path):
    page = tmp_path / "pages" / "review.html"
    folder = tmp_path / "data #1"
    page.parent.mkdir()
    shutil.copytree(data_dir, folder)
    write_review(folder, page, media_limit=2)
    text = page.read_text(encoding="utf-8")
    base = "../data%20%231"
    assert f'"image":"{base}/vision/lake/00001_1.jpg"' in text
    assert f'"sound":"{base}/sound/lake/00001_1.wav"' in text
    assert (folder / "vision/lake/00001_1.jpg").is_file()


def test_the_map_of_a_data_set_names_recordings_and_sites(data_dir):
    shown = write_dataset_map(data_dir)
    assert [place["notes"] for place in shown.places] == [
        ["0, a.wav", "site 00001"],
        ["0, a.wav, shifted to the north", "site 00002"],
        ["1, a.wav", "site 00003"],
    ]
    assert shown.places[0]["confidence"] is None
    assert (data_dir / "map.html").is_file()


def test_an_evaluation_without_coordinates_has_no_map(tmp_path):
    from types import SimpleNamespace

    evaluation = SimpleNamespace(stems=("00001", "00002"), scenes=labels.scenes())
    evaluation.scene_probs = np.full((2, 13), 1 / 13)
    evaluation.predicted, evaluation.true = np.array([7, 7]), np.array([7, 1])
    evaluation.event_probs = None
    assert evaluation_map(tmp_path, evaluation) is None
    (tmp_path / "sites.csv").write_text("stem,latitude,longitude\n00002,47.1,9.5\n")
    shown = evaluation_map(tmp_path, evaluation)
    assert [place["name"] for place in shown.places] == ["00002"]
    assert shown.places[0]["notes"] == ["wrong, the label is beach; site 00002"]
    assert not shown.places[0]["image"]
    # The files of a pair have the names that its manifest has.
    picture = tf.io.encode_png(np.full((8, 8, 3), 90, np.uint8)).numpy()
    (tmp_path / "a.png").write_bytes(picture)
    pair = Pair("00002", "beach", "00002", "a.png", "a.wav")
    shown = evaluation_map(tmp_path, evaluation, [pair])
    assert shown.places[0]["image"]


@pytest.mark.parametrize("changed", [("9.5", "east"), ("9.5", "nan"), ("{", "[")])
def test_a_damaged_row_of_the_provenance_is_named(data_dir, tmp_path, changed):
    text = (data_dir / "provenance.csv").read_text()
    (tmp_path / "provenance.csv").write_text(text.replace(*changed))
    rule = r"provenance\.csv, line 2: must have numbers as .* Restore the file"
    with pytest.raises(ValueError, match=rule):
        write_review(tmp_path)
