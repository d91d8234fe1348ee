"""A teacher from its file, and the knowledge of a run from its teacher."""

import pathlib

from advance_tf.config import Config, FeatureConfig
from advance_tf.data.manifest import Manifest
from advance_tf.models import weights
from advance_tf.teacher.knowledge import POSTERIORS, EventKnowledge, load_knowledge
from advance_tf.teacher.lesson import teach
from advance_tf.teacher.soft_labels import Teacher
from advance_tf.teacher.tower import TowerTeacher
from advance_tf.teacher.yamnet import Yamnet


def build_teacher(path: str, features: FeatureConfig) -> Teacher:
    """The teacher in a file.

    Args:
        path: YAMNet as `.tflite`, or an audio tower with its event head.
        features: how the tower hears.

    Returns:
        A frozen teacher.

    Raises:
        ValueError: the file is neither.
    """
    if path.endswith(".tflite"):
        return Yamnet(path, features.sample_rate_hz)
    tagger = weights.load_audio_tagger(path, features)
    return TowerTeacher(tagger, features, weights.file_sha256(path))


def knowledge_of_run(
    knowledge_dir: str | pathlib.Path, manifest: Manifest, config: Config
) -> EventKnowledge:
    """What a run's teacher knows; its audio weights teach if nobody has yet.

    N_a^(0), the teacher, is the network that the audio tower starts from, so
    weights with an event head need no lesson of their own.

    Args:
        knowledge_dir: folder of the event knowledge.
        manifest: pairs and splits.
        config: data, features and model.audio_weights are read.

    Returns:
        The event knowledge.

    Raises:
        ValueError: there is none and the audio weights have no event head, or
            it is damaged or of another manifest.
    """
    path, audio_weights = pathlib.Path(knowledge_dir), config.model.audio_weights
    untaught = not (path / POSTERIORS).exists()
    if untaught and audio_weights and weights.read_weights(audio_weights)[1].outputs:
        teacher = build_teacher(audio_weights, config.features)
        return teach(teacher, manifest, config.data.data_dir, config.features, path)
    return load_knowledge(path, manifest)
