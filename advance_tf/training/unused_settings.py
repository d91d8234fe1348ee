"""Settings that have no effect where frozen towers are not run in every epoch."""

from advance_tf.config import WHOLE_TOWER, Config
from advance_tf.training.activations import trains_on_stored
from advance_tf.training.embeddings import used_towers


def unused_settings(config: Config) -> list[str]:
    """The settings of a run without effect, for warnings.

    Args:
        config: model and training are used.

    Returns:
        A sentence for each setting; none unless the run is trained on stored
        embeddings or activations, see `activations.trains_on_stored`.

    >>> from advance_tf.config import ModelConfig, TrainingConfig
    >>> frozen = ModelConfig(image_frozen_stages=5, audio_frozen_stages=5)
    >>> training = TrainingConfig(precision="mixed_float16")
    >>> unused_settings(Config(model=frozen, training=training))[0][:39]
    'precision=mixed_float16 has no effect: '
    >>> unused_settings(Config(training=training))
    []
    """
    if not trains_on_stored(config):
        return []
    training, model = config.training, config.model
    found = []
    stages = [getattr(model, f"{tower}_frozen_stages") for tower in used_towers(model)]
    if training.tower_learning_rate and set(stages) == {WHOLE_TOWER}:
        found.append(
            f"tower_learning_rate={training.tower_learning_rate:g} has no effect: "
            "every tower in use is frozen. Leave it out, or lower "
            "`image_frozen_stages` or `audio_frozen_stages`."
        )
    what = "what is stored of frozen towers is trained on"
    if training.precision not in ("auto", "float32"):
        found.append(
            f"precision={training.precision} has no effect: {what} in float32. Leave "
            "it out, or set `cached_views=0`."
        )
    if training.strategy == "mirrored":
        found.append(
            f"strategy={training.strategy} has no effect: {what} by one device. Leave "
            "it out, or set `cached_views=0`."
        )
    return found
