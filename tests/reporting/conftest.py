"""A browser for the tests of pages."""

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from advance_tf.reporting.activation_maps import display_frontend
from tests.cli.test_report_page import CHROMIUM, DRIVER, FLAGS, _require_browser

# A microphone that beeps, and the consent to record it.
MICROPHONE = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")


@pytest.fixture
def display_limits(monkeypatch):
    """Records the settings with which a module displays images."""

    def record(module):
        limits = []

        def display(**settings):
            limits.append(settings)
            return display_frontend(**settings)

        monkeypatch.setattr(module, "display_frontend", display)
        return limits

    return record


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    _require_browser()
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = f"--user-data-dir={tmp_path_factory.mktemp('browser')}"
    for flag in (*FLAGS, *MICROPHONE, profile):
        options.add_argument(flag)
    downloads = str(tmp_path_factory.mktemp("downloads"))
    options.add_experimental_option("prefs", {"download.default_directory": downloads})
    options.set_capability(
        "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.set_script_timeout(20)
        yield driver
    finally:
        driver.quit()
