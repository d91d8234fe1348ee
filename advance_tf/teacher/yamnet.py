"""YAMNet as a teacher: 521 of the 527 events from a LiteRT file."""

import concurrent.futures
import hashlib
import os
import pathlib
import threading
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from advance_tf import labels

RATE_HZ = 16_000
WINDOW_SAMPLES = 15_600
HOP_SAMPLES = 7_680
CLASSES = 521
# The file's scores are multiples of 1/256, and the mean over the 20 windows of a
# clip one of 1/5120: half of that is as little as a mean of 0 can tell.
SMALLEST_SCORE = 1e-4


def frame_windows(waveforms: np.ndarray) -> np.ndarray:
    """The windows of 0.975 s that YAMNet hears, one every 0.48 s.

    Args:
        waveforms: float [B, samples] at 16 kHz.

    Returns:
        float32 [B, windows, 15600], 20 windows for 10 s. Zeros fill up the last
        one, as YAMNet's own code does, so that all of the clip is heard.
    """
    beyond = max(0, waveforms.shape[1] - WINDOW_SAMPLES)
    whole = WINDOW_SAMPLES + -(-beyond // HOP_SAMPLES) * HOP_SAMPLES
    padded = np.pad(
        np.asarray(waveforms, np.float32), [(0, 0), (0, whole - waveforms.shape[1])]
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES, axis=1)
    return windows[:, ::HOP_SAMPLES]


def score_logits(scores: np.ndarray) -> np.ndarray:
    """Logits log(y / (1 − y)) of scores kept within [1e-4, 1 − 1e-4].

    Args:
        scores: float [...] in [0, 1].

    Returns:
        float32 [...] within ±9.21.
    """
    kept = np.clip(np.asarray(scores, np.float64), SMALLEST_SCORE, 1 - SMALLEST_SCORE)
    return (np.log(kept) - np.log1p(-kept)).astype(np.float32)


def class_names(path: pathlib.Path) -> list[str]:
    """The display names of the classes, from the archive behind the model.

    Args:
        path: of a .tflite file with metadata, which is a zip archive too.

    Returns:
        One name for each class.

    Raises:
        ValueError: there is no archive with a list in it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            lists = [name for name in archive.namelist() if name.endswith(".txt")]
            return archive.read(lists[0]).decode("utf-8").splitlines()
    except (zipfile.BadZipFile, IndexError, UnicodeDecodeError) as error:
        raise ValueError(
            f"The teacher {path} must be YAMNet with its label list inside; reading "
            f"the list failed: {error}. Use the .tflite file with metadata."
        ) from error


class Yamnet:
    """YAMNet's scores as logits of AudioSet's 527 events.

    The score of an event is its mean over the windows of a clip, its logit that
    of `score_logits`. A class is matched by its display name, unique in AudioSet,
    to the event and its mid. The six events that YAMNet lacks are False in
    `event_mask` and have the logit of the smallest score.

    Args:
        path: of `yamnet.tflite`, 15,600 samples in, 521 scores out.
        rate_hz: rate of the waveforms it will get.
        threads: interpreters that work at a time; None for one on each core.

    Raises:
        ValueError: the rate is not 16 kHz, the file is no YAMNet, or its labels
            are not 521 different events of AudioSet.

    Source: Google's YAMNet, a MobileNet v1 trained on AudioSet (Apache-2.0).
    """

    name = "yamnet"

    def __init__(
        self,
        path: str | pathlib.Path,
        rate_hz: int = RATE_HZ,
        threads: int | None = None,
    ):
        if rate_hz != RATE_HZ:
            raise ValueError(
                f"YAMNet hears {RATE_HZ} Hz; received --sample_rate_hz={rate_hz}. "
                "Leave it out or use another teacher."
            )
        self.path = pathlib.Path(path)
        self.sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
        self._events = _event_indices(self.path)
        self.event_mask = np.zeros(len(labels.events()), bool)
        self.event_mask[self._events] = True
        self._local = threading.local()
        self._interpreter()
        self._pool = concurrent.futures.ThreadPoolExecutor(threads or os.cpu_count())

    def _interpreter(self) -> Interpreter:
        """This thread's interpreter: one may not serve two threads."""
        if not hasattr(self._local, "interpreter"):
            interpreter = Interpreter(str(self.path), num_threads=1)
            interpreter.allocate_tensors()
            _check_shapes(self.path, interpreter)
            self._local.interpreter = interpreter
        return self._local.interpreter

    def _clip_scores(self, windows: np.ndarray) -> np.ndarray:
        """Mean score over the windows [windows, 15600] of a clip, [521]."""
        interpreter = self._interpreter()
        source = interpreter.get_input_details()[0]["index"]
        result = interpreter.get_output_details()[0]["index"]
        total = np.zeros(CLASSES)
        for window in windows:
            interpreter.set_tensor(source, window)
            interpreter.invoke()
            total += interpreter.get_tensor(result)[0]
        return total / len(windows)

    def logits(self, waveforms: np.ndarray) -> np.ndarray:
        """The event logits of clips, on all cores.

        Args:
            waveforms: float32 [B, samples] at 16 kHz in [-1, 1].

        Returns:
            float32 [B, 527] within ±9.21.
        """
        scores = np.zeros((len(waveforms), len(self.event_mask)))
        # Interpreters release Python's lock while they work.
        heard = self._pool.map(self._clip_scores, frame_windows(waveforms))
        scores[:, self._events] = list(heard)
        return score_logits(scores)


def _event_indices(path: pathlib.Path) -> np.ndarray:
    """The index in AudioSet's 527 events of each class, int [521]."""
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


def _check_shapes(path: pathlib.Path, interpreter: Interpreter) -> None:
    source = interpreter.get_input_details()[0]["shape"].tolist()
    result = interpreter.get_output_details()[0]["shape"].tolist()
    if source != [WINDOW_SAMPLES] or result != [1, CLASSES]:
        raise ValueError(
            f"The teacher {path} must turn [{WINDOW_SAMPLES}] samples into [1, "
            f"{CLASSES}] scores; it turns {source} into {result}. Use YAMNet's "
            ".tflite file."
        )
