"""The signatures of the SavedModel: files or tensors → names and probabilities."""

from collections.abc import Callable, Mapping

import tensorflow as tf

from advance_tf.features.clip import fit_clip
from advance_tf.features.image import resize_image
from advance_tf.serving.rows import OK, decode_images, decode_sounds, status_of
from advance_tf.serving.served import Answering, label_names

DEFAULT = "serving_default"
BYTES = {"image": "image_bytes", "sound": "sound_bytes"}
_EMPTY = "A request must hold at least one row; received none."
_NOT_FINITE = "the waveform must be finite and hold at least one sample"


class Signatures:
    """Functions of named tensors, one for each way to ask.

    Args:
        answering: the model.
        top: number of scenes and events that are named best first.
        bad_rows: "status": a row that cannot be read comes back with what is
            wrong, zeros and no names; "error": it fails the request.
    """

    def __init__(self, answering: Answering, *, top: int = 5, bad_rows: str = "status"):
        scenes, events = label_names()
        if not 1 <= top <= len(scenes):
            raise ValueError(f"--top must be 1 to {len(scenes)}; received {top}.")
        self._answering = answering
        self._top = top
        self._fails = bad_rows == "error"
        self._names = {"scene": scenes, "event": events}

    def functions(self) -> Mapping[str, Callable]:
        """Name of the signature → tf.function with its input signature."""
        kinds, made = self._answering.source.kinds, {}
        made[DEFAULT] = self._of_bytes(("image", "sound"))
        made["features"] = self._of_features()
        for kind in kinds:
            made[f"{kind}_only"] = self._of_bytes((kind,))
        return made

    def _of_bytes(self, kinds) -> Callable:
        features = self._answering.features
        decoders = {"image": decode_images, "sound": decode_sounds}
        used = [kind for kind in kinds if kind in self._answering.source.kinds]
        specs = [tf.TensorSpec([None], tf.string, BYTES[kind]) for kind in kinds]

        @tf.function(input_signature=specs)
        def answer(*contents):
            given = dict(zip(kinds, contents, strict=True))
            read = {kind: decoders[kind](given[kind], features) for kind in used}
            status = status_of(*(problem for _, problem in read.values()))
            return self._answer({kind: read[kind][0] for kind in used}, status)

        return answer

    def _of_features(self) -> Callable:
        features = self._answering.features
        specs = [
            tf.TensorSpec([None, None, None, 3], tf.uint8, "image"),
            tf.TensorSpec([None, None], tf.float32, "waveform"),
        ]

        @tf.function(input_signature=specs)
        def answer(image, waveform):
            finite = tf.reduce_all(tf.math.is_finite(waveform), axis=1)
            finite &= tf.shape(waveform)[1] > 0
            clips = tf.map_fn(
                lambda row: fit_clip(row, features.clip_samples),
                tf.pad(
                    waveform,
                    [[0, 0], [0, tf.cast(tf.shape(waveform)[1] < 1, tf.int32)]],
                ),
            )
            clips = tf.where(finite[:, None], clips, tf.zeros_like(clips))
            status = status_of(tf.where(finite, "", _NOT_FINITE))
            read = {"image": resize_image(image, features.image_size), "sound": clips}
            used = self._answering.source.kinds
            return self._answer({kind: read[kind] for kind in used}, status)

        return answer

    def _answer(self, read, status) -> dict[str, tf.Tensor]:
        ok = tf.equal(status, OK)
        checks = [tf.debugging.Assert(tf.size(status) > 0, [_EMPTY])]
        if self._fails:
            message = tf.strings.reduce_join(status, separator="; ")
            checks.append(tf.debugging.Assert(tf.reduce_all(ok), [message]))
        with tf.control_dependencies(checks):
            # The model must not run, and fail in its own words, before them.
            read = {kind: tf.identity(value) for kind, value in read.items()}
        probs = self._answering.probs(read.get("image"), read.get("sound"))
        outputs = {"status": status}
        for label in ("scene", "event"):
            if f"{label}_probs" in probs:
                outputs |= self._named(label, probs[f"{label}_probs"], ok)
        return outputs

    def _named(self, label: str, probs, ok) -> dict[str, tf.Tensor]:
        names = tf.constant(self._names[label])
        # A broken model must not answer for a broken row with NaN.
        probs = tf.where(ok[:, None], probs, tf.zeros_like(probs))
        best, places = tf.math.top_k(probs, self._top)
        best_names = tf.where(ok[:, None], tf.gather(names, places), "")
        return {
            f"{label}_names": tf.tile(names[None], [tf.shape(probs)[0], 1]),
            f"{label}_probs": probs,
            f"top_{label}_names": best_names,
            f"top_{label}_probs": best,
        }
