"""The objective of a configuration: what it needs of the event knowledge."""

import dataclasses

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.config import Config, TransferConfig
from advance_tf.data.manifest import Manifest
from advance_tf.data.pairing import Pair
from advance_tf.training.terms import build_terms
from tests.training.factories import build_scene_knowledge


@pytest.fixture(scope="module")
def knowledge():
    """Event knowledge whose principal component is undefined in one scene."""
    pairs = tuple(Pair(name, name, name, "", "") for name in labels.scenes())
    manifest = Manifest(pairs, ("training",) * len(pairs), "site", 0)
    known = build_scene_knowledge(manifest)
    relevance = known.relevances["gram"].copy()
    relevance[4] = np.nan
    return dataclasses.replace(
        known, relevances=known.relevances | {"centered_pca": relevance}
    )


@pytest.mark.parametrize(
    ("transfer", "names"),
    [
        ({"transfer": "kl_audio"}, ["scene", "transfer"]),
        ({"transfer": "sq_audiovisual"}, ["scene", "transfer"]),
        ({"transfer": "event", "beta": 0.0}, ["scene", "event_kl"]),
        ({"transfer": "event", "alpha": 0.0}, ["scene"]),
    ],
)
def test_objectives_without_relevance_do_not_need_it(knowledge, transfer, names):
    config = Config(transfer=TransferConfig(relevance="centered_pca", **transfer))
    assert list(build_terms(config, knowledge)) == names


def test_relevance_that_is_undefined_is_refused_where_it_is_used(knowledge):
    transfer = TransferConfig(transfer="event", relevance="centered_pca")
    with pytest.raises(ValueError, match=f"soft labels of {labels.scenes()[4]} are"):
        build_terms(Config(transfer=transfer), knowledge)
    gram = dataclasses.replace(transfer, relevance="gram")
    names = ["scene", "event_kl", "relevance"]
    assert list(build_terms(Config(transfer=gram), knowledge)) == names
