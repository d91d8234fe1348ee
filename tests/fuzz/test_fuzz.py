"""A thousand mutants of all readers; `python -m tests.fuzz` reads 10,000 of each."""

import pytest

from tests.fuzz.fuzz import fuzz, mutant_of, report
from tests.fuzz.seed_files import Target
from tests.fuzz.targets import targets

MUTANTS = 35


@pytest.fixture(scope="module")
def known():
    return targets()


# The names are listed before TensorFlow is loaded.
NAMES = (
    *("wav", "jpeg", "png", "bmp", "webp", "other image", "prepared image"),
    *("prepared sound", "tags", "classes", "events of classes", "coordinates"),
    *("manifest.csv", "log.csv", "predictions.csv", "statistics", "config.json"),
    *("configuration", "checksums.json", "pretrain.json", "study.json", "heads.json"),
    *("metadata.json", "recipe", "checkpoint.npz", "tower.npz", "best.weights.h5"),
    *("soft labels", "embeddings", "cache", "sites", "corrections", "provenance"),
    *("results", "parameters of results", "shards.json"),
)


def test_every_reader_is_named(known):
    assert sorted(NAMES) == sorted(known)


@pytest.mark.parametrize("name", NAMES)
def test_mutants_are_read_or_refused_by_name(known, name, tmp_path):
    found = fuzz(name, known[name](), MUTANTS, 0, tmp_path)
    assert not found.failures, report(found)
    assert found.read + found.refused == MUTANTS
    assert found.refused
    # Formats that a decoder refuses by name.
    assert found.valid or name == "other image"


def test_mutants_are_the_same_for_a_seed_and_differ_by_number(known):
    wav = known["wav"]()
    first, again, other = (mutant_of("wav", wav, n, 0) for n in (7, 7, 19))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (KeyError("config"), "KeyError"),
        (ValueError("no name"), "no path"),
        (float("nan"), "not finite"),
    ],
)
def test_a_wrong_answer_is_a_failure(answer, problem, tmp_path):
    import numpy as np

    def read(path):
        if path.read_bytes() == b"valid":
            return None
        if isinstance(answer, Exception):
            raise answer
        return np.array(answer)

    found = fuzz("a", Target("a.txt", [b"valid"], read), 5, 0, tmp_path)
    assert found.failures
    assert all(problem in failure for failure in found.failures)
