"""The losses of p(e): masked columns and invalid event knowledge."""

import numpy as np
import pytest

from advance_tf.losses.compound import CompoundEventKL, RelevanceAlignment
from tests.losses.cases import (
    MASK,
    POSTERIORS,
    RELEVANCE,
    SCENE,
    SCENE_LOGITS,
    SOFT_LABELS,
)


def test_masked_columns_of_posteriors_and_relevance_are_ignored():
    posteriors, relevance = (
        np.where(MASK, rows, np.nan) for rows in (POSTERIORS, RELEVANCE)
    )
    np.testing.assert_array_equal(
        CompoundEventKL(posteriors, MASK).call(SOFT_LABELS, SCENE_LOGITS),
        CompoundEventKL(POSTERIORS, MASK).call(SOFT_LABELS, SCENE_LOGITS),
    )
    np.testing.assert_array_equal(
        RelevanceAlignment(posteriors, relevance, MASK).call(SCENE, SCENE_LOGITS),
        RelevanceAlignment(POSTERIORS, RELEVANCE, MASK).call(SCENE, SCENE_LOGITS),
    )


@pytest.mark.parametrize(
    ("posteriors", "message"),
    [
        (np.full((13, 527), 1.5), r"must be in \[0, 1\]; received .* to 1.5"),
        (np.full((13, 521), 0.5), r"posteriors must be \[scenes, 527\]"),
        (np.full((13, 527), np.nan), "posteriors must be finite"),
    ],
)
def test_invalid_posteriors_raise(posteriors, message):
    with pytest.raises(ValueError, match=rf"{message}.*`advance teach`"):
        CompoundEventKL(posteriors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: np.full(rows.shape, np.nan), "relevance must be finite"),
        (
            lambda rows: rows * (np.arange(13) != 2)[:, None],
            r"only zeros in scenes \[2\]",
        ),
        (lambda rows: rows[:12], "same scenes; received 13 and 12"),
    ],
)
def test_invalid_relevance_raises(change, message):
    mask = np.ones(RELEVANCE.shape[1], bool)
    with pytest.raises(ValueError, match=rf"{message}.*`advance teach`"):
        RelevanceAlignment(POSTERIORS, change(RELEVANCE), mask)
