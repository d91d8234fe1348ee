"""The page of `advance app`: its text, its server, and the page in a browser."""

import http.client
import json
import pathlib
import re
import time
import urllib.request

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from advance_tf.cli.main import main
from advance_tf.reporting.answers import AnswerExplainer
from advance_tf.reporting.app import AppServer, answer_uploads
from tests.cli.test_report_page import WIDTHS, set_width
from tests.untrained_run import copy_run

SECONDS = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return copy_run(tmp_path_factory)


@pytest.fixture(scope="module")
def explainer(folder):
    return AnswerExplainer(folder)


@pytest.fixture(scope="module")
def files(folder):
    image = min((folder / "data").glob("vision/beach/*.jpg"))
    sound = folder / "data" / "sound" / "beach" / f"{image.stem}.wav"
    return {"image": image, "sound": sound}


def upload(path, name=None):
    return {"path": str(path), "orig_name": name or path.name}


def words(html):
    """The text of HTML without its elements."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_the_text_is_that_of_the_prediction(explainer, files):
    html = answer_uploads(explainer, *(upload(path) for path in files.values()))
    prediction = explainer.explain(**files).prediction
    text = words(html)
    assert f"{prediction.scene} Confidence {100 * prediction.confidence:.1f} %" in text
    for name, share in prediction.scenes:
        assert f"{name} {100 * share:.1f} %" in text
    assert f"Model trained on {prediction.label}" in text
    assert html.count("data:image/jpeg;base64,") == 2
    assert "p(e|x) p(e|s) mean" in text


def test_reasons_and_notes_are_in_the_text(explainer, files, monkeypatch):
    monkeypatch.setattr(explainer.model, "min_confidence", 1.0)
    text = words(answer_uploads(explainer, upload(files["image"]), None))
    assert "unknown Reason: low confidence. The most probable scene is" in text
    assert "Note: no sound given" in text


def test_messages_name_the_file_of_the_user(explainer, tmp_path):
    text = words(answer_uploads(explainer, None, None))
    assert text.startswith("The page needs an image, a sound or both; received neither")
    path = tmp_path / "0" / "bad.jpg"
    path.parent.mkdir()
    path.write_bytes(b"\xff\xd8\xff")
    html = answer_uploads(explainer, upload(path, "<b>{{7}}${8}.jpg"), None)
    assert "&lt;b&gt;{{7}}${8}.jpg" in html
    assert str(tmp_path) not in html
    assert 'role="alert"' in html
    missing = answer_uploads(explainer, None, upload(tmp_path / "a.wav"))
    assert "a.wav" in missing
    assert "Confidence" not in missing


@pytest.fixture(scope="module")
def server(explainer):
    with AppServer(explainer, port=0) as server:
        yield server


def request(server, host):
    """Status and headers of the page, requested under the name of a host."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    try:
        connection.request("GET", "/", headers={"Host": host})
        response = connection.getresponse()
        response.read()
        return response.status, response.headers
    finally:
        connection.close()


def test_the_server_is_of_this_computer(server):
    assert server.url.startswith("http://127.0.0.1:")
    address = server.url.removeprefix("http://")
    status, headers = request(server, address)
    assert status == 200
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    # A site whose name leads to this address.
    assert request(server, "evil.example")[0] == 400
    with urllib.request.urlopen(f"{server.url}/config") as response:
        config = json.load(response)
    assert config["analytics_enabled"] is False
    assert config["max_file_size"] == 200_000_000


def test_an_address_in_use_is_refused(server, explainer):
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(ValueError, match=f"received 127.0.0.1:{port}: Address already"):
        with AppServer(explainer, port=port):
            pytest.fail("The address must be refused.")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--workdir must name the folder of a run"),
        (["--workdir=nowhere"], "--workdir must be the folder of a run"),
        (["--workdir={}", "--max_megabytes=-1"], "--max_megabytes must be"),
        (["--workdir={}", "--host=192.0.2.1"], "received 192.0.2.1:7860"),
    ],
)
def test_errors_of_the_command(folder, flags, message, capsys):
    assert main(["app", *(flag.format(folder) for flag in flags)]) == 1
    assert message in capsys.readouterr().err


class Page:
    """The page in a browser."""

    def __init__(self, driver, url):
        self.driver, self.wait = driver, WebDriverWait(driver, SECONDS)
        driver.get(url)
        self.find("#predict")

    def find(self, selector):
        return self.wait.until(lambda d: d.find_element(By.CSS_SELECTOR, selector))

    def upload(self, kind, path, shown):
        """Gives a file to an input and waits until the page has it."""
        self.find(f"#{kind} input[type=file]").send_keys(str(path))
        self.find(f"#{kind} {shown}")

    def predict(self, selector):
        self.find("#predict").click()
        return self.find(selector)


@pytest.mark.parametrize("width", WIDTHS)
def test_files_are_answered(browser, server, explainer, files, width):
    set_width(browser, width)
    browser.get_log("performance")
    browser.get_log("browser")
    page = Page(browser, server.url)
    page.upload("image", files["image"], "img")
    page.upload("sound", files["sound"], "audio")
    scene = page.predict(".answer-scene").text
    prediction = explainer.explain(**files).prediction
    assert scene == prediction.scene
    shown = page.find("#answer").text
    assert f"Confidence {100 * prediction.confidence:.1f} %" in shown
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('.answer img')].map(i => i.naturalWidth)"
    )
    assert sizes == [320, 320]
    assert (
        browser.execute_script("return document.documentElement.scrollWidth") <= width
    )
    addresses = {
        entry["params"]["request"]["url"]
        for entry in (
            json.loads(line["message"])["message"]
            for line in browser.get_log("performance")
        )
        if entry["method"] == "Network.requestWillBeSent"
    }
    outside = [
        address
        for address in addresses
        if not address.startswith((f"{server.url}/", "data:", "blob:"))
    ]
    assert not outside
    assert f"{server.url}/" in addresses
    assert not [e for e in browser.get_log("browser") if e["level"] == "SEVERE"]


def test_a_recorded_sound_is_answered(browser, server):
    page = Page(browser, server.url)
    page.find("#sound [aria-label='Record audio']").click()
    page.find("#sound .record-button").click()
    stop = page.find("#sound .stop-button")
    page.wait.until(lambda _: stop.is_displayed())
    time.sleep(1)
    stop.click()
    page.find("#sound audio")
    page.predict(".answer-scene")
    assert "Note: no image given" in page.find("#answer").text


def test_a_broken_file_has_its_message(browser, server, tmp_path):
    broken = tmp_path / "broken ${1+1} {{2}}.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 not an image")
    page = Page(browser, server.url)
    page.upload("image", broken, "img")
    message = page.predict(".answer-error").text
    assert message.startswith("The image broken ${1+1} {{2}}.jpg ")


def test_uploaded_files_are_removed(explainer, files):
    with AppServer(explainer, port=0) as own:
        boundary = "limit"
        body = (
            (
                f'--{boundary}\r\nContent-Disposition: form-data; name="files"; '
                'filename="a.jpg"\r\n\r\n'
            ).encode()
            + files["image"].read_bytes()
            + f"\r\n--{boundary}--\r\n".encode()
        )
        sent = urllib.request.Request(
            f"{own.url}/gradio_api/upload",
            body,
            {"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )
        with urllib.request.urlopen(sent) as response:
            (path,) = json.load(response)
        assert pathlib.Path(path).read_bytes() == files["image"].read_bytes()
    assert not pathlib.Path(path).exists()
    assert "advance-app-" in path
