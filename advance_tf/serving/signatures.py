"""The signatures of the SavedModel: files or tensors → names and probabilities."""

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from advance_tf.config import MAX_SAMPLE
from advance_tf.inference.backends import EMBED
from advance_tf.inference.prediction import OK, UNKNOWN
from advance_tf.inference.rejection import REASONS
from advance_tf.serving.inference_model import InferenceModel, label_names

DEFAULT = "serving_default"
BYTES = {"image": "image_bytes", "sound": "sound_bytes"}
BAD_ROWS = ("status", "error")
Tensors = dict[str, tf.Tensor]
# Files [B] → values [B, …] and problems [B], see `Frontend.decode_images`.
_Decoder = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
_EMPTY = "A request must hold at least one row; received none."
_NOT_FINITE = (
    f"the waveform must be finite, within ±{MAX_SAMPLE:.0f} and hold at least one "
    "sample"
)


def status_of(*problems: tf.Tensor) -> tf.Tensor:
    """The status of each row: "ok", or its problems.

    Args:
        *problems: string [B] each, "" for no problem.

    Returns:
        string [B]; several problems of a row are joined by "; ".

    >>> image, sound = tf.constant(["", "a", "a"]), tf.constant(["", "", "b"])
    >>> status_of(image, sound).numpy().tolist()
    [b'ok', b'a', b'a; b']
    """
    joined = join_texts(problems)
    return tf.where(tf.equal(joined, ""), OK, joined)


def join_texts(texts: Sequence[tf.Tensor]) -> tf.Tensor:
    """Joins the texts of each row that are not empty by "; ".

    Args:
        texts: string [B] each.

    Returns:
        string [B].

    >>> rows = [tf.constant(["", "a"]), tf.constant(["", ""]), tf.constant(["b", "c"])]
    >>> join_texts(rows).numpy().tolist()
    [b'b', b'a; c']
    """
    ends = [tf.where(tf.equal(text, ""), "", text + "; ") for text in texts]
    joined = tf.strings.reduce_join(tf.stack(ends, 1), axis=1)
    return tf.strings.regex_replace(joined, "; $", "")


class Signatures:
    """Builds the signatures of a SavedModel as functions of named tensors.

    Args:
        model: the model.
        top: number of scenes and events to rank, 1 to 13.
        bad_rows: "status": a row that cannot be read has its problem in `status`,
            zeros and empty names; "error": it fails the request.

    Raises:
        ValueError: an argument is outside what is allowed.
    """

    def __init__(
        self, model: InferenceModel, *, top: int = 5, bad_rows: str = "status"
    ) -> None:
        scenes, events = label_names()
        if not 1 <= top <= len(scenes):
            raise ValueError(
                f"top must be 1 to {len(scenes)}; received {top}. `scene_probs` and "
                "`event_probs` hold the probabilities of all names."
            )
        if bad_rows not in BAD_ROWS:
            raise ValueError(
                f"bad_rows must be one of {', '.join(BAD_ROWS)}; received {bad_rows!r}."
            )
        self._model = model
        self._top = top
        self._fails = bad_rows == "error"
        self._names = {"scene": scenes, "event": events}

    def functions(self) -> Mapping[str, Callable[..., Tensors]]:
        """The signatures by name.

        Returns:
            Name → tf.function with an input signature: `serving_default` (both
            files), `features` (decoded tensors), `image_only` and `sound_only` (of
            the inputs in use), and `embed` (the files in use).
        """
        kinds = self._model.source.kinds
        functions: dict[str, Callable[..., Tensors]] = {}
        functions[DEFAULT] = self._predict_files(("image", "sound"))
        functions["features"] = self._predict_features()
        for kind in kinds:
            functions[f"{kind}_only"] = self._predict_files((kind,))
        functions[EMBED] = self._embed_files()
        return functions

    def _predict_files(self, kinds: Sequence[str]) -> Callable[..., Tensors]:
        decoders = self._decoders()
        used = [kind for kind in kinds if kind in self._model.source.kinds]
        specs = [tf.TensorSpec([None], tf.string, BYTES[kind]) for kind in kinds]

        @tf.function(input_signature=specs)
        def predict(*contents: tf.Tensor) -> Tensors:
            given = dict(zip(kinds, contents, strict=True))
            read = {kind: decoders[kind](given[kind]) for kind in used}
            status = status_of(*(problem for _, problem in read.values()))
            return self._outputs({kind: read[kind][0] for kind in used}, status)

        return predict

    def _embed_files(self) -> Callable[..., Tensors]:
        decoders = self._decoders()
        kinds = self._model.source.kinds
        specs = [tf.TensorSpec([None], tf.string, BYTES[kind]) for kind in kinds]

        @tf.function(input_signature=specs)
        def embed(*contents: tf.Tensor) -> Tensors:
            read = {k: decoders[k](c) for k, c in zip(kinds, contents, strict=True)}
            status = status_of(*(problem for _, problem in read.values()))
            values = {kind: value for kind, (value, _) in read.items()}
            found = self._model.embed(values.get("image"), values.get("sound"))
            embeddings = {f"{kind}_embedding": found[kind] for kind in kinds}
            return {"status": status, **embeddings}

        return embed

    def _decoders(self) -> dict[str, _Decoder]:
        frontend = self._model.frontend
        return {"image": frontend.decode_images, "sound": frontend.decode_waveforms}

    def _predict_features(self) -> Callable[..., Tensors]:
        frontend = self._model.frontend
        specs = [
            tf.TensorSpec([None, None, None, 3], tf.uint8, "image"),
            tf.TensorSpec([None, None], tf.float32, "waveform"),
        ]

        @tf.function(input_signature=specs)
        def predict(image: tf.Tensor, waveform: tf.Tensor) -> Tensors:
            samples = tf.shape(waveform)[1]
            # Comparisons with NaN are False.
            within = tf.reduce_all(tf.abs(waveform) <= MAX_SAMPLE, axis=1)
            finite = within & (samples > 0)
            # A waveform without samples is padded to one: `fit_clip` needs it.
            padding = [[0, 0], [0, tf.cast(samples < 1, tf.int32)]]
            clips = tf.map_fn(frontend.fit_clip, tf.pad(waveform, padding))
            clips = tf.where(finite[:, None], clips, tf.zeros_like(clips))  # [B, n]
            used = self._model.source.kinds
            problem = tf.fill(tf.shape(image)[:1], "")
            if "sound" in used:
                problem = tf.where(finite, "", _NOT_FINITE)
            status = status_of(problem)
            read = {"image": frontend.resize_image(image), "sound": clips}
            return self._outputs({kind: read[kind] for kind in used}, status)

        return predict

    def _outputs(self, read: Mapping[str, tf.Tensor], status: tf.Tensor) -> Tensors:
        ok = tf.equal(status, OK)
        checks = [tf.debugging.Assert(tf.size(status) > 0, [_EMPTY])]
        if self._fails:
            message = tf.strings.reduce_join(status, separator="; ")
            checks.append(tf.debugging.Assert(tf.reduce_all(ok), [message]))
        with tf.control_dependencies(checks):
            # The model runs after the checks, so that its own errors, such as that
            # of an empty batch, do not come first.
            read = {kind: tf.identity(value) for kind, value in read.items()}
        probs = self._model.probs(read.get("image"), read.get("sound"))
        outputs = {"status": status}
        for label in ("scene", "event"):
            if f"{label}_probs" in probs:
                outputs |= self._rank(label, probs[f"{label}_probs"], ok)
        return outputs | self._answers(probs, outputs["top_scene_names"][:, 0], ok)

    def _answers(self, probs: Tensors, best: tf.Tensor, ok: tf.Tensor) -> Tensors:
        """Scene or "unknown", its confidence and the reasons."""
        flags = tf.where(ok[:, None], probs["reason_flags"], 0.0)  # [B, reasons]
        names = tf.where(flags > 0, tf.constant(REASONS), "")
        return {
            "scene": tf.where(tf.reduce_any(flags > 0, axis=1), UNKNOWN, best),
            "confidence": tf.where(ok, probs["confidence"], 0.0),
            "reason": join_texts(tf.unstack(names, axis=1)),
            "reason_flags": flags,
        }

    def _rank(self, label: str, probs: tf.Tensor, ok: tf.Tensor) -> Tensors:
        names = tf.constant(self._names[label])  # [names]
        # Zeros for a row that cannot be read, even where the model returns NaN.
        probs = tf.where(ok[:, None], probs, tf.zeros_like(probs))  # [B, names]
        best, places = tf.math.top_k(probs, self._top)  # [B, top]
        best_names = tf.where(ok[:, None], tf.gather(names, places), "")
        return {
            f"{label}_names": tf.tile(names[None], [tf.shape(probs)[0], 1]),
            f"{label}_probs": probs,
            f"top_{label}_names": best_names,
            f"top_{label}_probs": best,
        }
