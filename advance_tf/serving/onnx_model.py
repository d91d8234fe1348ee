"""ONNX: the folded recognizer, written by the exporter of Keras."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from advance_tf.extras import check_extra
from advance_tf.log_silencing import silence_logs
from advance_tf.models.folding import fold_batch_norms
from advance_tf.serving.inference_model import Source
from advance_tf.serving.parity import EncodedPair, check_skew, decode

TOLERANCE = 1e-4


def write_onnx(path: pathlib.Path, source: Source) -> None:
    """Writes the folded recognizer: {"image", "log_mel"} → logits.

    The model does not decode files: `image` is float32 [B, S, S, 3] with levels
    0..255, `log_mel` is float32 [B, frames, mel_bins], normalized.

    Args:
        path: path of the `.onnx` file.
        source: the model.

    Raises:
        ImportError: onnx or tf2onnx is not installed.
    """
    with silence_logs():
        check_extra("onnx", "onnx", "tf2onnx")
    folded = fold_batch_norms(source.recognizer, source.outputs)
    # Keras exports only models that have been called.
    blank = {name: (1, *x.shape[1:]) for name, x in folded.input.items()}
    folded({name: np.zeros(shape, np.float32) for name, shape in blank.items()})
    with silence_logs():
        folded.export(str(path), format="onnx", verbose=False)


def onnx_skew(
    path: pathlib.Path, source: Source, pairs: Sequence[EncodedPair]
) -> Mapping[str, float]:
    """Differences of ONNX Runtime from the model in memory.

    Args:
        path: path of the `.onnx` file.
        source: what it was built from.
        pairs: encoded pairs of the data set.

    Returns:
        Name of the output → largest difference of a probability.

    Raises:
        ImportError: ONNX Runtime is not installed.
        ValueError: a difference exceeds 1e-4.
    """
    check_extra("onnx", "onnxruntime")
    import onnxruntime

    predictor = source.predictor()
    inputs = predictor.inputs(*decode(source, pairs))
    expected = predictor.predict(inputs, batch_size=8)
    session = onnxruntime.InferenceSession(path.read_bytes())
    used = {node.name: inputs[node.name] for node in session.get_inputs()}
    names = [node.name for node in session.get_outputs()]
    logits = dict(zip(names, session.run(names, used), strict=True))
    found = predictor.probabilities(logits)
    skew = {"scene_logits": _largest(expected.scene_probs - found.scene_probs)}
    if source.event_output:
        # Both have probabilities: an event head is among the outputs.
        assert expected.events.probs is not None
        assert found.events.probs is not None
        difference = expected.events.probs - found.events.probs
        skew[source.event_output] = _largest(difference)
    check_skew("ONNX model", skew, TOLERANCE)
    return skew


def _largest(difference: np.ndarray) -> float:
    return float(np.abs(difference).max())
