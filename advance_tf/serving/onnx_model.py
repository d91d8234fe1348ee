"""The recognizer as ONNX, through Keras' own exporter, for other ecosystems."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from advance_tf.models.folding import fold_batch_norms
from advance_tf.serving.answers import (
    EncodedPair,
    check_skew,
    decode,
    recognizer_inputs,
)
from advance_tf.serving.event_probs import sigmoid, softmax
from advance_tf.serving.quiet import quiet
from advance_tf.serving.served import Source

TOLERANCE = 1e-4
_WAY_OUT = "Install it with `pip install 'advance_tf[onnx]'`."


def write_onnx(path: pathlib.Path, source: Source) -> None:
    """Writes the folded recognizer: {"image", "log_mel"} → logits.

    Files are neither decoded nor heard inside: `image` is float32 [B, S, S, 3]
    with levels 0..255, `log_mel` float32 [B, frames, mel_bins] normalized.

    Args:
        path: of the `.onnx` file.
        source: the model.

    Raises:
        ValueError: tf2onnx is not installed.
    """
    folded = fold_batch_norms(source.recognizer, source.outputs)
    # Keras exports models that have been called.
    blank = {name: (1, *x.shape[1:]) for name, x in folded.input.items()}
    folded({name: np.zeros(shape, np.float32) for name, shape in blank.items()})
    try:
        with quiet():
            folded.export(str(path), format="onnx", verbose=False)
    except ImportError as error:
        raise ValueError(f"--format=onnx needs tf2onnx. {_WAY_OUT}") from error


def onnx_skew(
    path: pathlib.Path, source: Source, pairs: Sequence[EncodedPair]
) -> Mapping[str, float]:
    """How far ONNX Runtime is from the model in memory, in probabilities.

    Args:
        path: of the `.onnx` file.
        source: what it was made from.
        pairs: real ones.

    Returns:
        Name of the output → largest difference.

    Raises:
        ValueError: one exceeds 1e-4, or ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(f"--format=onnx needs onnxruntime. {_WAY_OUT}") from error
    inputs = recognizer_inputs(source, decode(source, pairs))
    expected = source.recognizer.predict(inputs, batch_size=8, verbose=0)
    session = onnxruntime.InferenceSession(path.read_bytes())
    used = {node.name: inputs[node.name] for node in session.get_inputs()}
    names = [node.name for node in session.get_outputs()]
    found = dict(zip(names, session.run(names, used), strict=True))
    skew = {}
    for name in names:
        squash = softmax if name == "scene_logits" else sigmoid
        difference = squash(expected[name]) - squash(found[name])
        skew[name] = float(np.abs(difference).max())
    check_skew("ONNX model", skew, TOLERANCE)
    return skew
