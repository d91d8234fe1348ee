"""A small SavedModel with the signatures of an export, and files to ask it about.

It knows nothing of scenes: its probabilities are hashes of the bytes. What it has in
common with a real export are names, shapes, statuses, versions and warm-up requests.
"""

import pathlib

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from advance_tf import labels

TOP = 5
_BUCKETS = 10_007


class _Recognizer(tf.Module):
    """Softmax and sigmoid of an angle per row, in the contract's outputs."""

    def __init__(self):
        super().__init__("small")
        self.scenes = tf.constant(labels.scenes())
        self.events = tf.constant([event.name for event in labels.events()])
        self.rate = tf.Variable(3.0)

    def _outputs(self, angle, status):
        good = tf.cast(status == "ok", tf.float32)[:, None]
        outputs = {"status": status}
        for kind, names, squash in (
            ("scene", self.scenes, tf.nn.softmax),
            ("event", self.events, tf.nn.sigmoid),
        ):
            count = len(names)
            steps = tf.range(1, count + 1, dtype=tf.float32)
            probs = squash(self.rate * tf.sin(angle[:, None] * steps)) * good
            best, order = tf.math.top_k(probs, TOP)
            best_names = tf.where(good > 0, tf.gather(names, order), "")
            rows = tf.shape(status)[0]
            outputs |= {
                f"{kind}_names": tf.tile(names[None], [rows, 1]),
                f"{kind}_probs": probs,
                f"top_{kind}_names": best_names,
                f"top_{kind}_probs": best,
            }
        return outputs

    @staticmethod
    def _angle(encoded):
        hashed = tf.strings.to_hash_bucket_fast(encoded, _BUCKETS)
        return tf.cast(hashed, tf.float32) / _BUCKETS

    @staticmethod
    def _image_status(encoded):
        is_jpeg = tf.strings.substr(encoded, 0, 2) == b"\xff\xd8"
        return tf.where(is_jpeg, "ok", "The image must be a JPEG – it is none.")

    @staticmethod
    def _sound_status(encoded):
        is_wav = tf.strings.substr(encoded, 0, 4) == b"RIFF"
        return tf.where(is_wav, "ok", "The sound must be a WAV file; it is none.")

    def both(self, image_bytes, sound_bytes):
        image, sound = self._image_status(image_bytes), self._sound_status(sound_bytes)
        angle = self._angle(image_bytes) + self._angle(sound_bytes)
        return self._outputs(angle, tf.where(image == "ok", sound, image))

    def image_only(self, image_bytes):
        return self._outputs(self._angle(image_bytes), self._image_status(image_bytes))

    def sound_only(self, sound_bytes):
        return self._outputs(self._angle(sound_bytes), self._sound_status(sound_bytes))

    def features(self, image, waveform):
        angle = tf.reduce_mean(tf.cast(image, tf.float32), [1, 2, 3]) / 255
        angle += tf.reduce_mean(tf.abs(waveform), -1)
        return self._outputs(angle, tf.fill([tf.shape(image)[0]], "ok"))


def export(export_dir: pathlib.Path, image_bytes: bytes, sound_bytes: bytes) -> None:
    """Writes version 1 with its warm-up request below a folder."""
    model = _Recognizer()
    image = tf.TensorSpec([None], tf.string, "image_bytes")
    sound = tf.TensorSpec([None], tf.string, "sound_bytes")
    arrays = (
        tf.TensorSpec([None, None, None, 3], tf.uint8, "image"),
        tf.TensorSpec([None, None], tf.float32, "waveform"),
    )
    signatures = {
        "serving_default": tf.function(model.both).get_concrete_function(image, sound),
        "image_only": tf.function(model.image_only).get_concrete_function(image),
        "sound_only": tf.function(model.sound_only).get_concrete_function(sound),
        "features": tf.function(model.features).get_concrete_function(*arrays),
    }
    version = export_dir / "1"
    tf.saved_model.save(model, str(version), signatures)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "advance"
    request.model_spec.signature_name = "serving_default"
    for key, value in (("image_bytes", image_bytes), ("sound_bytes", sound_bytes)):
        request.inputs[key].CopyFrom(tf.make_tensor_proto([value]))
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(request)
    (version / "assets.extra").mkdir()
    path = version / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(log.SerializeToString())


def write_media(folder: pathlib.Path, count: int) -> None:
    """Writes `count` pairs 0.jpg, 0.wav, … of noise: 64 × 64 pixels, half a second."""
    folder.mkdir()
    for number in range(count):
        rng = np.random.default_rng(number)
        image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        (folder / f"{number}.jpg").write_bytes(tf.io.encode_jpeg(image).numpy())
        waveform = rng.uniform(-0.5, 0.5, (8_000, 1)).astype(np.float32)
        encoded = tf.audio.encode_wav(waveform, 16_000).numpy()
        (folder / f"{number}.wav").write_bytes(encoded)
