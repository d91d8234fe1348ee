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
_WINDOW_SAMPLES = 15_600
_HOP_SAMPLES = 7_680
_CLASSES = 521
# A mean score of exactly 0 or 1 has no logit.
_SMALLEST_SCORE = 1e-7


def frame_windows(waveforms: np.ndarray) -> np.ndarray:
    """The windows of 0.975 s that YAMNet hears, every 0.48 s.

    Args:
        waveforms: float32 [B, samples] at 16 kHz.

    Returns:
        float32 [B, windows, 15600]; a shorter clip is padded with zeros to one
        window, what does not fill a last window is left out.
    """
    missing = max(0, _WINDOW_SAMPLES - waveforms.shape[1])
    padded = np.pad(waveforms, [(0, 0), (0, missing)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW_SAMPLES, 1)
    return windows[:, ::_HOP_SAMPLES]


def _class_names(path: pathlib.Path) -> list[str]:
    """The label list inside the file, a zip archive behind the model."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            return archive.read(names[0]).decode("utf-8").splitlines()
    except (zipfile.BadZipFile, IndexError, UnicodeDecodeError) as error:
        raise ValueError(
            f"The teacher {path} must be YAMNet with its label list inside; reading "
            f"the list failed: {error}. Use the .tflite with metadata."
        ) from error


class Yamnet:
    """YAMNet's scores as logits of AudioSet's 527 events.

    The score of an event is its mean over the windows of a clip; its logit is
    log(y / (1 − y)) with y kept within [1e-7, 1 − 1e-7]. The six events that
    YAMNet lacks are not in `event_mask` and have the logit of 1e-7.

    Args:
        path: of `yamnet.tflite`, 15,600 samples in, 521 scores out.
        threads: interpreters that work at a time.

    Raises:
        ValueError: the file is no YAMNet, or a label is no event of AudioSet.

    Source: Google's YAMNet, a MobileNet v1 trained on AudioSet (Apache-2.0).
    """

    name = "yamnet"

    def __init__(self, path: str | pathlib.Path, threads: int | None = None):
        self.path = pathlib.Path(path)
        names = _class_names(self.path)
        index = {event.name: event.index for event in labels.events()}
        unknown = [name for name in names if name not in index]
        if len(names) != _CLASSES or unknown or len(set(names)) != _CLASSES:
            raise ValueError(
                f"The teacher {path} must have {_CLASSES} different labels of "
                f"AudioSet; received {len(names)}, unknown: {unknown[:5]}."
            )
        self._events = np.array([index[name] for name in names])
        self.event_mask = np.zeros(len(index), bool)
        self.event_mask[self._events] = True
        self.sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
        self._threads = threads or os.cpu_count() or 1
        self._local = threading.local()
        self._pool = concurrent.futures.ThreadPoolExecutor(self._threads)

    def _interpreter(self) -> Interpreter:
        """One interpreter for each thread: they are not to be shared."""
        if not hasattr(self._local, "interpreter"):
            interpreter = Interpreter(str(self.path), num_threads=1)
            interpreter.allocate_tensors()
            self._local.interpreter = interpreter
        return self._local.interpreter

    def _clip_scores(self, windows: np.ndarray) -> np.ndarray:
        interpreter = self._interpreter()
        source = interpreter.get_input_details()[0]["index"]
        result = interpreter.get_output_details()[0]["index"]
        total = np.zeros(_CLASSES, np.float64)
        for window in windows:
            interpreter.set_tensor(source, np.ascontiguousarray(window, np.float32))
            interpreter.invoke()
            total += interpreter.get_tensor(result)[0]
        return total / len(windows)

    def logits(self, waveforms: np.ndarray) -> np.ndarray:
        """The event logits of clips.

        Args:
            waveforms: float32 [B, samples] at 16 kHz in [-1, 1].

        Returns:
            float32 [B, 527].
        """
        windows = frame_windows(np.asarray(waveforms, np.float32))
        scores = np.stack(list(self._pool.map(self._clip_scores, windows)))
        events = np.full((len(scores), len(self.event_mask)), _SMALLEST_SCORE)
        events[:, self._events] = scores
        events = np.clip(events, _SMALLEST_SCORE, 1 - _SMALLEST_SCORE)
        return (np.log(events) - np.log1p(-events)).astype(np.float32)
