"""Which runs train on stored embeddings, and which on stored activations."""

import pytest

from advance_tf.config import Config, ModelConfig
from advance_tf.training import activations
from tests.training import factories


@pytest.mark.parametrize(
    ("settings", "views", "expected"),
    [
        ({"image_frozen_stages": 5, "audio_frozen_stages": 5}, 1, True),
        ({"image_frozen_stages": 5, "audio_frozen_stages": 4}, 1, False),
        ({"image_frozen_stages": 5, "modality": "image"}, 1, True),
        ({"image_frozen_stages": 5, "modality": "sound"}, 1, False),
        ({"image_frozen_stages": 5, "audio_frozen_stages": 5}, 0, False),
    ],
)
def test_when_heads_are_trained_alone(settings, views, expected):
    config = Config(model=ModelConfig(**settings))
    config = factories.with_training(config, cached_views=views)
    assert activations.trains_heads_only(config) == expected
