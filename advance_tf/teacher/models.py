"""Teachers: frozen audio networks that score AudioSet's events."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import threading
import zipfile
from typing import TYPE_CHECKING, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from advance_tf import labels
from advance_tf.checksums import file_sha256
from advance_tf.config import IMAGE_SETTINGS, FeatureConfig
from advance_tf.config_io import key_settings
from advance_tf.features.frontend import Frontend
from advance_tf.features.log_mel import LogMelStats
from advance_tf.models.recognizer import sound_input_of

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

RATE_HZ = 16_000
WINDOW_SAMPLES = 15_600
HOP_SAMPLES = 7_680
CLASSES = 521
# The file's scores are multiples of 1/256, and the mean over the 20 windows of a clip
# is a multiple of 1/5120; a mean of 0 is replaced by half of that.
SMALLEST_SCORE = 1e-4


class Teacher(Protocol):
    """A frozen audio network that scores AudioSet's events.

    A teacher with the attribute `sample_rate_hz` scores clips at this rate, whatever
    the rate of the run; one without scores clips at the rate of the run.

    Attributes:
        name: short name, for reports.
        sha256: hash of the weights and of the input settings.
        event_mask: bool [527], True for the events that the network covers.
    """

    name: str
    sha256: str
    event_mask: np.ndarray

    def logits(self, waveforms: np.ndarray) -> np.ndarray:
        """Event logits of clips.

        Args:
            waveforms: float32 [B, samples] in [-1, 1].

        Returns:
            float32 [B, 527].
        """


def features_at(features: FeatureConfig, rate_hz: int) -> FeatureConfig:
    """Settings that decode clips of the same length at another sampling rate.

    Args:
        features: settings of a run.
        rate_hz: the rate in Hz.

    Returns:
        The same settings where they have this rate; else the settings of a waveform,
        without those of the run's log-mel, which need not exist at this rate.

    >>> features_at(FeatureConfig(sample_rate_hz=32_000), 16_000).clip_samples
    160000
    """
    if features.sample_rate_hz == rate_hz:
        return features
    return FeatureConfig(
        sample_rate_hz=rate_hz,
        clip_seconds=features.clip_seconds,
        hop_samples=1,
        mel_max_hz=rate_hz / 2,
    )


def teacher_features(teacher: Teacher, features: FeatureConfig) -> FeatureConfig:
    """The settings that decode the clips of a teacher.

    Args:
        teacher: the teacher.
        features: settings of the run that will use its soft labels.

    Returns:
        Settings with the rate of the teacher and the clip length of the run.
    """
    rate_hz: int = getattr(teacher, "sample_rate_hz", features.sample_rate_hz)
    return features_at(features, rate_hz)


def frame_windows(waveforms: np.ndarray) -> np.ndarray:
    """Splits clips into YAMNet's windows of 0.975 s, one every 0.48 s.

    Args:
        waveforms: float [B, samples] at 16 kHz.

    Returns:
        float32 [B, windows, 15600], 20 windows for 10 s. The last window is padded
        with zeros, as in YAMNet's own code, so that the windows cover the clip.

    Example:
        >>> frame_windows(np.zeros((1, 160_000))).shape
        (1, 20, 15600)
    """
    beyond = max(0, waveforms.shape[1] - WINDOW_SAMPLES)
    padded_samples = WINDOW_SAMPLES + -(-beyond // HOP_SAMPLES) * HOP_SAMPLES
    padding = [(0, 0), (0, padded_samples - waveforms.shape[1])]
    padded = np.pad(np.asarray(waveforms, np.float32), padding)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES, axis=1)
    return windows[:, ::HOP_SAMPLES]  # [B, windows, 15600]


def score_logits(scores: ArrayLike) -> np.ndarray:
    """Logits log(y / (1 − y)) of scores clipped to [1e-4, 1 − 1e-4].

    Args:
        scores: float [...] in [0, 1].

    Returns:
        float32 [...] within ±9.21.

    Example:
        >>> [round(float(logit), 2) for logit in score_logits([0.0, 0.5, 1.0])]
        [-9.21, 0.0, 9.21]
    """
    clipped = np.clip(
        np.asarray(scores, np.float64), SMALLEST_SCORE, 1 - SMALLEST_SCORE
    )
    return (np.log(clipped) - np.log1p(-clipped)).astype(np.float32)


def class_names(path: pathlib.Path) -> list[str]:
    """Display names of the classes, from the archive appended to the model.

    Args:
        path: path of a .tflite file with metadata, which is also a zip archive.

    Returns:
        One name for each class.

    Raises:
        ValueError: the file has no archive with a label list.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            lists = [name for name in archive.namelist() if name.endswith(".txt")]
            return archive.read(lists[0]).decode("utf-8").splitlines()
    except (zipfile.BadZipFile, IndexError, UnicodeDecodeError) as error:
        raise ValueError(
            f"The teacher {path} must be YAMNet with an embedded label list; reading "
            f"the list failed: {error}. Use the .tflite file with metadata."
        ) from error


class Yamnet:
    """YAMNet's scores as logits of AudioSet's 527 events.

    The score of an event is its mean over the windows of a clip; its logit is that of
    `score_logits`. A class is matched to its event and mid by its display name, which
    is unique in AudioSet. The six events that YAMNet does not cover are False in
    `event_mask` and have the logit of the smallest score.

    Args:
        path: path of `yamnet.tflite`, 15,600 samples in, 521 scores out.
        threads: number of parallel interpreters; None for one per core.

    Attributes:
        sample_rate_hz: 16,000, the rate of the clips that it scores.

    Raises:
        ValueError: the file is not YAMNet, or its labels are not 521 different events
            of AudioSet.

    Source: Google's YAMNet, a MobileNet v1 trained on AudioSet (Apache-2.0).
    """

    name = "yamnet"
    sample_rate_hz = RATE_HZ

    def __init__(self, path: str | pathlib.Path, threads: int | None = None) -> None:
        self.path = pathlib.Path(path)
        self.sha256 = file_sha256(self.path)
        self._events = _event_indices(self.path)
        self.event_mask = np.zeros(len(labels.events()), bool)
        self.event_mask[self._events] = True
        self._local = threading.local()
        # Creates one interpreter now, which validates the file.
        self._interpreter()
        self._pool = concurrent.futures.ThreadPoolExecutor(threads or os.cpu_count())

    def _interpreter(self) -> "Interpreter":
        """The interpreter of this thread; an interpreter is not thread-safe."""
        if not hasattr(self._local, "interpreter"):
            # Of the models, only YAMNet needs LiteRT.
            from ai_edge_litert.interpreter import Interpreter

            interpreter = Interpreter(str(self.path), num_threads=1)
            interpreter.allocate_tensors()
            _check_shapes(self.path, interpreter)
            self._local.interpreter = interpreter
        return self._local.interpreter

    def _clip_scores(self, windows: np.ndarray) -> np.ndarray:
        """Mean scores [521] over the windows [windows, 15600] of a clip."""
        interpreter = self._interpreter()
        input_index = interpreter.get_input_details()[0]["index"]
        output_index = interpreter.get_output_details()[0]["index"]
        total = np.zeros(CLASSES)
        for window in windows:
            interpreter.set_tensor(input_index, window)
            interpreter.invoke()
            total += interpreter.get_tensor(output_index)[0]
        return total / len(windows)

    def logits(self, waveforms: np.ndarray) -> np.ndarray:
        """Event logits of clips, computed in parallel.

        Args:
            waveforms: float32 [B, samples] at 16 kHz in [-1, 1].

        Returns:
            float32 [B, 527] within ±9.21.
        """
        scores = np.zeros((len(waveforms), len(self.event_mask)))  # [B, 527]
        # Interpreters release the global interpreter lock during inference.
        clip_scores = self._pool.map(self._clip_scores, frame_windows(waveforms))
        scores[:, self._events] = list(clip_scores)
        return score_logits(scores)


def _event_indices(path: pathlib.Path) -> np.ndarray:
    """Index of each class among AudioSet's 527 events, int [521]."""
    names = class_names(path)
    index = {event.name: event.index for event in labels.events()}
    unknown = [name for name in names if name not in index]
    if unknown or not len(names) == len(set(names)) == CLASSES:
        raise ValueError(
            f"The teacher {path} must have {CLASSES} different events of AudioSet; "
            f"received {len(names)} labels, {len(set(names))} different, unknown: "
            f"{', '.join(unknown[:5]) or 'none'}. Use YAMNet's .tflite file."
        )
    return np.array([index[name] for name in names])


def _check_shapes(path: pathlib.Path, interpreter: "Interpreter") -> None:
    """Raises ValueError unless the model maps [15600] samples to [1, 521] scores."""
    inputs = interpreter.get_input_details()[0]["shape"].tolist()
    outputs = interpreter.get_output_details()[0]["shape"].tolist()
    if inputs != [WINDOW_SAMPLES] or outputs != [1, CLASSES]:
        raise ValueError(
            f"The teacher {path} must map [{WINDOW_SAMPLES}] samples to [1, {CLASSES}] "
            f"scores; received a model that maps {inputs} to {outputs}. Use YAMNet's "
            ".tflite file."
        )


class TowerTeacher:
    """An audio tower with its event head as a teacher: y(a) = σ(f_e(a, N_a^(0))).

    Args:
        tagger: model of `build_audio_tagger`, {"log_mel": [B, frames, mel_bins]} or
            {"waveform": [B, clip_samples]} → {"event_logits": [B, 527]}, with loaded
            weights; it is not trained here.
        features: front-end settings that the tower was trained with.
        weights_sha256: hash of the weights.
        name: name of the teacher.

    Attributes:
        sample_rate_hz: rate of the clips that it scores, that of `features`.
        sha256: hash of the weights and of the front-end settings.
        event_mask: bool [527], True everywhere.
    """

    def __init__(
        self,
        tagger: keras.Model,
        features: FeatureConfig,
        weights_sha256: str,
        name: str = "tower",
    ) -> None:
        sound_input = sound_input_of(tagger)
        frontend = Frontend(features, sound_input=sound_input)
        self.name, self.sample_rate_hz = name, features.sample_rate_hz
        self.sha256 = _tower_sha256(weights_sha256, features, frontend.stats)
        self.event_mask = np.ones(tagger.output["event_logits"].shape[-1], bool)

        @tf.function(input_signature=[tf.TensorSpec([None, features.clip_samples])])
        def event_logits(waveforms: tf.Tensor) -> tf.Tensor:
            # [B, frames, mel_bins] or [B, clip_samples]
            inputs = {sound_input: frontend.encode_sound(waveforms)}
            return tagger(inputs, training=False)["event_logits"]  # [B, 527]

        self._event_logits = event_logits

    def logits(self, waveforms: np.ndarray) -> np.ndarray:
        """Event logits of clips.

        Args:
            waveforms: float32 [B, clip_samples] in [-1, 1].

        Returns:
            float32 [B, 527].
        """
        return self._event_logits(tf.constant(waveforms, tf.float32)).numpy()


def _tower_sha256(
    weights_sha256: str, features: FeatureConfig, stats: LogMelStats
) -> str:
    """A hash of the weights, the front-end settings and the log-mel statistics."""
    settings = key_settings(features)
    # The hash covers the values of the statistics, not the path of their file, and no
    # setting of images.
    for name in ("log_mel_stats", *IMAGE_SETTINGS):
        settings.pop(name, None)
    values = [np.asarray(row, np.float64).tolist() for row in stats]
    text = json.dumps([weights_sha256, settings, values], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
