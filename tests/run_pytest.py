"""Runs pytest on the paths given as arguments: the `main` of Bazel's tests."""

import os
import pathlib
import sys

import pytest


def options(environment: dict[str, str]) -> list[str]:
    """Pytest's options for the folders and files that Bazel names.

    A test may write nothing beside the sources, so pytest keeps no cache there.
    """
    given = ["-q", "-p", "no:cacheprovider"]
    if folder := environment.get("TEST_TMPDIR"):
        given.append(f"--basetemp={pathlib.Path(folder) / 'pytest'}")
    if report := environment.get("XML_OUTPUT_FILE"):
        given.append(f"--junitxml={report}")
    return given


if __name__ == "__main__":
    sys.exit(pytest.main([*options(dict(os.environ)), *sys.argv[1:]]))
