"""Loads the teacher of a file, or the one that an audio tower starts from."""

import pathlib

from advance_tf.checksums import file_sha256
from advance_tf.config import RANDOM_WEIGHTS, Config, FeatureConfig
from advance_tf.models.recognizer import dtype_policy
from advance_tf.models.weights import load_audio_tagger, read_weights
from advance_tf.teacher.models import Teacher, TowerTeacher, Yamnet
from advance_tf.teacher.yamnet_tower import YamnetTowerTeacher


@dtype_policy("float32")
def load_teacher(
    path: str | pathlib.Path, features: FeatureConfig | None = None
) -> Teacher:
    """Loads a teacher from a file.

    Args:
        path: YAMNet as `.tflite`, which LiteRT runs, as `.h5` or as the folder of a
            SavedModel, which Keras runs; or the weights of an audio tower with its
            event head (`.npz`).
        features: front-end settings of the tower, and the length of a clip; the
            defaults when None. YAMNet scores clips at 16 kHz whatever their rate.

    Returns:
        A frozen teacher.

    Raises:
        ValueError: the file is none of these.
    """
    path, features = pathlib.Path(path), features or FeatureConfig()
    if path.suffix == ".tflite":
        return Yamnet(path)
    if path.suffix == ".h5" or path.is_dir():
        return YamnetTowerTeacher(path, features)
    tagger = load_audio_tagger(str(path), features)
    return TowerTeacher(tagger, features, file_sha256(path))


@dtype_policy("float32")
def find_teacher(config: Config) -> Teacher | None:
    """Finds the teacher N_a^(0) that the audio tower of a run starts from.

    Args:
        config: features, `audio_backbone` and `audio_weights` are used.

    Returns:
        YAMNet, or the tower of a `.npz` file with its event head; None when the
        audio weights have no event head.

    Raises:
        ValueError: the weights cannot be read.
    """
    path, backbone = config.model.audio_weights, config.model.audio_backbone
    if path in ("", RANDOM_WEIGHTS):
        return None
    if pathlib.Path(path).suffix != ".npz" and backbone != "resnet":
        is_yamnet = backbone.partition(":")[0] == "yamnet"
        return YamnetTowerTeacher(path, config.features) if is_yamnet else None
    if read_weights(path)[1].outputs:
        return load_teacher(path, config.features)
    return None
